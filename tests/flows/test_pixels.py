"""Coupling of pixels: laws on cells, exact log-determinants and inverses, in every image shape."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.datasets import load_digits

from skinvert.flows.pixels import CellMixture, PixelCoupling
from skinvert.flows.preprocessing import log_normal
from skinvert.invertible import InvertibleFlowClassifier

N_LEVELS = 17


def law(n=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(n, 15, generator=generator, dtype=torch.float64)
    raw[:, 10:] -= 2
    return CellMixture(raw, N_LEVELS)


def flow(shape=(1, 6, 5), seed=0):
    made = PixelCoupling(shape, -0.5, 1.0, N_LEVELS, n_classes=3, hidden=8, seed=seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.requires_grad_(False).eval()


def rows(shape=(1, 6, 5), n=4):
    rng = np.random.default_rng(0)
    return torch.from_numpy(N_LEVELS * rng.random((n, math.prod(shape))) - 0.5)


def test_the_masses_of_all_cells_are_one():
    cells = torch.arange(N_LEVELS).double()
    masses = law().log_mass(cells).exp()
    torch.testing.assert_close(masses.sum(), torch.tensor(1.0).double())
    torch.testing.assert_close(law().log_below(cells + 1).exp(), masses.cumsum(0))
    torch.testing.assert_close(law().log_above(cells).exp(), masses.flip(0).cumsum(0).flip(0))


def test_the_map_is_monotone_and_makes_its_law_normal():
    places = torch.linspace(0.01, N_LEVELS - 0.01, 500).double()
    z, log_density = law().forward(places)
    assert bool((z.diff() > 0).all())
    slopes = (torch.special.ndtr(z).diff() / places.diff()).log()
    same_cell = places.floor()[1:] == places.floor()[:-1]
    torch.testing.assert_close(slopes[same_cell], log_density[1:][same_cell], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(law().inverse(z), places, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 6, 5), (2, 4, 4), (1, 2, 3)])
def test_log_dets_are_those_of_autograd_jacobians(shape):
    made, x = flow(shape), rows(shape, 2)
    z, log_det = made(x, 1)
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: made(r[None], 1)[0][0], row)
        truth = torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(value, truth, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(made.log_density(x, 1), log_normal(z) + log_det)


@pytest.mark.parametrize("shape", [(1, 6, 5), (2, 4, 4), (1, 2, 3)])
def test_the_inverse_undoes_the_flow(shape):
    made, x = flow(shape), rows(shape, 30)
    torch.testing.assert_close(made.inverse(made(x, 2)[0], 2), x, rtol=1e-8, atol=1e-8)


def test_every_row_can_have_its_own_class():
    made, x = flow(), rows()
    columns = torch.tensor([0, 2, 1, 1])
    own = torch.stack([made.log_density(x, k) for k in range(3)], 1)
    torch.testing.assert_close(made.log_density(x, columns), own[torch.arange(4), columns])


def test_values_out_of_range_have_no_density():
    with pytest.raises(ValueError, match="outside the range"):
        flow().log_density(rows() + 5, 0)


# As a classifier


@pytest.fixture(scope="module")
def fitted():
    X, y = load_digits(return_X_y=True)
    settings = {"coupled": "pixels", "max_epochs": 15, "hidden_size": 32, "random_state": 0}
    made = InvertibleFlowClassifier("coupling", learning_rate=0.01, device="cpu", **settings)
    return made.fit(X[:600], y[:600])


@pytest.fixture(scope="module")
def held_out():
    X, y = load_digits(return_X_y=True)
    return X[600:800], y[600:800]


def test_pixels_classify_and_code_digits(fitted, held_out):
    X, y = held_out
    assert fitted.score(X, y) > 0.8
    bits = fitted.bits_per_dim(X)
    # Within a cell the density is even: spreading the values changes nothing of substance.
    assert bits.mean() < 2.6
    whole = -fitted.score_samples(X) / 64 / np.log(2)
    assert bits.mean() == pytest.approx(whole.mean(), abs=0.05)


def test_latents_of_held_out_rows_are_normal(fitted, held_out):
    X, _ = held_out
    rng = np.random.default_rng(0)
    spread = X + rng.random(X.shape) - 0.5
    z = fitted.transform(spread) - fitted.class_means_[fitted.predict(spread)]
    assert kstest(z.ravel(), "norm").statistic < 0.05


def test_images_and_latents_go_both_ways(fitted, held_out):
    X = held_out[0]
    np.testing.assert_allclose(fitted.reconstruct(X), X, atol=1e-6)
    images = fitted.generate(np.tile(np.arange(10), 4))
    assert 0 <= images.min() < images.max() <= 16
    assert fitted.score(images.round(), np.tile(np.arange(10), 4)) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": 0.1}, "neither noise nor logit"),
        ({"logit": 0.1}, "neither noise nor logit"),
        ({"dequantize": False}, "dequantised values"),
    ],
)
def test_bad_parameters_are_refused(arguments, message, held_out):
    with pytest.raises(ValueError, match=message):
        InvertibleFlowClassifier("coupling", coupled="pixels", **arguments).fit(*held_out)


def test_bad_data_are_refused():
    rng, y = np.random.default_rng(0), np.arange(30) % 2
    made = InvertibleFlowClassifier("coupling", coupled="pixels", max_epochs=1)
    with pytest.raises(ValueError, match="quantised values"):
        made.fit(rng.normal(size=(30, 16)), y)
    with pytest.raises(ValueError, match="two by two"):
        made.fit(rng.integers(0, 5, size=(30, 7)), y)

"""Linear layers: their log-determinants, their inverses, and the bound that cannot be crossed."""

import numpy as np
import pytest
import torch

from skinvert.flows.linear import (
    BoundedLinear,
    SquareLinear,
    random_rotation,
    reorthogonalized,
    whitening,
)

N_FEATURES = 6


def free():
    return SquareLinear.default(N_FEATURES, torch.Generator().manual_seed(0)).double()


def bounded(max_condition=100.0):
    generator = torch.Generator().manual_seed(0)
    layer = BoundedLinear(
        random_rotation(N_FEATURES, generator),
        torch.linspace(0.5, 3, N_FEATURES),
        n_reflections=4,
        max_condition=max_condition,
        generator=generator,
    ).double()
    with torch.no_grad():
        # Away from the start, where the reflections cancel.
        layer.reflections.add_(torch.randn(layer.reflections.shape, generator=generator))
        layer.bias.add_(1.0)
    layer.rotation = reorthogonalized(layer.rotation)
    return layer


@pytest.fixture(params=[free, bounded], ids=["free", "bounded"])
def layer(request):
    return request.param()


def test_log_det_is_that_of_the_matrix(layer):
    _, log_det = layer(torch.randn(2, N_FEATURES).double())
    expected = torch.linalg.slogdet(layer.matrix())[1]
    torch.testing.assert_close(log_det, expected, rtol=1e-10, atol=1e-10)


def test_training_linearises_the_log_det_of_a_free_matrix():
    layer, x = free().train(), torch.zeros(1, N_FEATURES).double()
    exact = layer(x)[1]
    (gradient,) = torch.autograd.grad(exact, layer.weight)
    torch.testing.assert_close(gradient, torch.linalg.inv(layer.weight.detach()).T)
    step = 1e-4 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.weight.add_(step)
    torch.testing.assert_close(layer(x)[1], exact + (gradient * step).sum())
    truth = torch.linalg.slogdet(layer.weight)[1]
    assert abs((layer(x)[1] - truth).item()) < 1e-5
    layer.forget()
    torch.testing.assert_close(layer(x)[1], truth)
    torch.testing.assert_close(layer.eval()(x)[1], truth)


def test_the_matrix_is_what_the_layer_does(layer):
    x = torch.randn(5, N_FEATURES).double()
    torch.testing.assert_close(layer(x)[0], x @ layer.matrix() + layer.bias)


def test_the_inverse_undoes_the_layer(layer):
    x = torch.randn(20, N_FEATURES).double()
    torch.testing.assert_close(layer.inverse(layer(x)[0]), x, rtol=1e-11, atol=1e-11)


def test_the_condition_number_is_that_of_the_matrix(layer):
    expected = float(torch.linalg.cond(layer.matrix().detach()))
    assert layer.condition_number() == pytest.approx(expected, rel=1e-8)


def test_no_scales_can_cross_the_bound():
    layer = bounded(max_condition=10.0)
    with torch.no_grad():
        layer.log_scales.copy_(torch.tensor([-1e6, 1e6, 0, 0, 0, 0]))
    assert float(torch.linalg.cond(layer.matrix().detach())) <= 10.0 * (1 + 1e-9)


def test_reflections_start_as_the_identity():
    generator = torch.Generator().manual_seed(0)
    layer = BoundedLinear(
        torch.eye(5), torch.ones(5), n_reflections=4, max_condition=10.0, generator=generator
    )
    torch.testing.assert_close(layer.matrix(), torch.eye(5), rtol=1e-5, atol=1e-5)


def test_the_free_inverse_is_refined_beyond_the_plain_one():
    weight = torch.diag(torch.logspace(0, -7, N_FEATURES).double())
    weight = random_rotation(N_FEATURES, torch.Generator().manual_seed(1)) @ weight
    layer = SquareLinear(weight)
    x = torch.randn(50, N_FEATURES).double()
    back = layer.inverse(layer(x)[0]).detach()
    assert float((back - x).abs().max()) < 1e-7


def test_a_collapsed_matrix_still_has_an_answer():
    layer = free()
    with torch.no_grad():
        layer.weight.zero_()
    assert torch.isfinite(layer.inverse(torch.ones(2, N_FEATURES).double())).all()


@pytest.mark.parametrize("shape", [(3, 4), (3,)])
def test_a_matrix_that_is_not_square_is_refused(shape):
    with pytest.raises(ValueError, match="square weight matrix"):
        SquareLinear(torch.ones(shape))


def test_singular_initial_weights_are_refused():
    with pytest.raises(ValueError, match="singular"):
        SquareLinear(torch.ones(3, 3))


def test_whitening_makes_the_spread_within_classes_spherical():
    rng = np.random.default_rng(0)
    columns = rng.integers(3, size=500)
    rows = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 10 * columns[:, None]
    axes, variances = whitening(rows, columns, 0.0)
    centred = rows - np.stack([rows[columns == c].mean(0) for c in range(3)])[columns]
    white = centred @ axes / np.sqrt(variances)
    np.testing.assert_allclose(white.T @ white / 500, np.eye(4), atol=1e-10)


def test_a_direction_without_spread_is_refused():
    rows = np.ones((10, 2)) * np.arange(10)[:, None]
    with pytest.raises(ValueError, match="no spread"):
        whitening(rows, np.zeros(10, dtype=int), 0.0)


def test_float32_rotations_become_orthogonal_to_rounding():
    rotation = random_rotation(30, torch.Generator().manual_seed(0)).float()
    polished = reorthogonalized(rotation)
    error = (polished.T @ polished - torch.eye(30).double()).abs().max()
    assert float(error) < 1e-14
    assert float((polished - rotation).abs().max()) < 1e-6

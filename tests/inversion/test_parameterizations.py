"""Laws of the parameterizations: round trips, ranges, row independence, exact gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skinvert.inversion.parameterizations import Fourier, Phase, Pixels, Pyramid
from skinvert.inversion.randomness import RowNoise

ALL = [Pixels(), Pyramid(), Pyramid(n_levels=2), Fourier(), Fourier(decay_power=0.5), Phase()]
SHAPES = [(1, 7, 5), (3, 7, 5), (1, 8, 8), (3, 28, 28), (2, 1, 9)]
RANGES = [(0.0, 1.0), (0.0, 255.0), (-2.0, 0.3), None]


def natural_images(n, image_shape, value_range, seed=0):
    """Random walks along both axes: strong low frequencies, and colours that correlate."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n, *image_shape)) + rng.normal(size=(n, 1, *image_shape[1:]))
    images = steps.cumsum(-1).cumsum(-2)
    images = images - images.mean((2, 3), keepdims=True)
    images = 1 / (1 + np.exp(-images / (images.std() + 1e-9)))
    low, high = value_range or (0.0, 1.0)
    return torch.tensor(low + (high - low) * images, dtype=torch.float32)


def fitted(parameterization, image_shape, value_range, with_images=True):
    images = natural_images(20, image_shape, value_range) if with_images else None
    return clone(parameterization).fit(images, image_shape=image_shape, value_range=value_range)


@pytest.mark.parametrize("with_images", [True, False])
@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("parameterization", ALL)
def test_renders_inside_the_value_range_wherever_the_parameters_go(
    parameterization, image_shape, value_range, with_images
):
    fit = fitted(parameterization, image_shape, value_range, with_images)
    parameters = fit.start(RowNoise([1, 2, 3]))
    for scale in (1.0, 1e3):
        for tensor in parameters:
            tensor.mul_(scale)
        fit.project(parameters)
        images = fit.render(parameters)
        assert images.shape == (3, *image_shape)
        assert images.dtype == torch.float32
        assert images.isfinite().all()
        if value_range is not None:
            low, high = torch.tensor(value_range)
            assert images.min() >= low
            assert images.max() <= high


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("parameterization", [p for p in ALL if not isinstance(p, Phase)])
def test_images_come_back_from_their_parameters(parameterization, image_shape, value_range):
    fit = fitted(parameterization, image_shape, value_range)
    images = natural_images(3, image_shape, value_range, seed=1)
    low, high = value_range or (0.0, 1.0)
    margin = (high - low) / 100
    images = images.clamp(low + margin, high - margin)
    rendered = fit.render(fit.from_images(images))
    exact = isinstance(parameterization, Pixels)
    assert torch.allclose(rendered, images, rtol=0, atol=0.0 if exact else 1e-4 * (high - low))


@pytest.mark.parametrize("parameterization", [Pyramid(), Fourier()])
def test_images_at_the_ends_of_the_range_come_back_to_one_grey_level(parameterization):
    images = torch.randint(0, 2, (2, 3, 9, 6)).float() * 255
    fit = clone(parameterization).fit(image_shape=(3, 9, 6), value_range=(0.0, 255.0))
    assert (fit.render(fit.from_images(images)) - images).abs().max() < 1.01


@pytest.mark.parametrize("value_range", [(0.0, 1.0), None])
@pytest.mark.parametrize("image_shape", [(1, 7, 5), (3, 8, 6), (3, 6, 7)])
def test_phase_of_the_only_training_image_renders_that_image(image_shape, value_range):
    image = natural_images(1, image_shape, value_range).clamp(0.02, 0.98)
    fit = Phase().fit(image, image_shape=image_shape, value_range=value_range)
    assert torch.allclose(fit.render(fit.from_images(image)), image, atol=1e-4)


@pytest.mark.parametrize("image_shape", [(1, 7, 5), (1, 8, 6), (3, 8, 8)])
def test_phase_keeps_the_magnitude_whatever_the_phases(image_shape):
    images = natural_images(20, image_shape, None)
    fit = Phase().fit(images, image_shape=image_shape, value_range=None)
    canvas = fit.render(fit.start(RowNoise([1, 2])))
    centred = torch.linalg.solve(fit.color_matrix_, (canvas - fit.color_mean_).flatten(2))
    magnitude = torch.fft.rfft2(centred.reshape(canvas.shape), norm="ortho").abs()
    _, height, width = image_shape
    free = torch.ones(height, width // 2 + 1, dtype=torch.bool)
    own_mirror_rows = [0, height // 2] if height % 2 == 0 else [0]
    for column in [0, width // 2] if width % 2 == 0 else [0]:
        free[own_mirror_rows, column] = False
    expected = fit.magnitude_.expand_as(magnitude)
    assert torch.allclose(magnitude[..., free], expected[..., free], rtol=1e-3, atol=1e-5)
    assert (magnitude[..., ~free] <= expected[..., ~free] + 1e-5).all()


@pytest.mark.parametrize("image_shape", [(1, 5, 4), (3, 4, 5)])
@pytest.mark.parametrize("value_range", [(-1.0, 2.0), None])
@pytest.mark.parametrize("parameterization", ALL)
def test_gradients_agree_with_finite_differences(parameterization, image_shape, value_range):
    fit = fitted(parameterization, image_shape, value_range)
    parameters = tuple(p.double().requires_grad_() for p in fit.start(RowNoise([5, 6])))
    assert torch.autograd.gradcheck(lambda *p: fit.render(p), parameters)


@pytest.mark.parametrize("parameterization", ALL)
def test_a_row_depends_on_its_own_seed_and_parameters_alone(parameterization):
    fit = fitted(parameterization, (3, 9, 7), (0.0, 1.0))
    together, others = fit.start(RowNoise([1, 2, 3])), fit.start(RowNoise([7, 2, 9]))
    for a, b in zip(together, others, strict=True):
        assert torch.equal(a[1], b[1])
        assert not torch.equal(a[0], b[0])
    assert torch.equal(fit.render(together)[1], fit.render(others)[1])
    watched = tuple(tensor.requires_grad_() for tensor in together)
    gradients = torch.autograd.grad(fit.render(watched)[1].sum(), watched)
    assert all((gradient[[0, 2]] == 0).all() for gradient in gradients)


def test_unit_coefficients_give_a_canvas_of_about_unit_variance():
    for image_shape in [(1, 15, 15), (3, 64, 48)]:
        for decay_power in (0.0, 0.5, 1.0):
            fit = Fourier(decay_power=decay_power, init_scale=1.0)
            fit.fit(image_shape=image_shape, value_range=None)
            canvas = fit.render(fit.start(RowNoise(range(200))))
            assert canvas.square().mean() == pytest.approx(1.0, abs=0.12)


def test_fourier_learns_colours_that_are_uncorrelated_in_its_coordinates():
    images = natural_images(200, (3, 8, 8), None)
    fit = Fourier().fit(images, image_shape=(3, 8, 8), value_range=None)
    pixels = images.transpose(0, 1).flatten(1)
    decorrelated = torch.linalg.solve(fit.color_matrix_, pixels - pixels.mean(1, keepdim=True))
    assert torch.allclose(torch.cov(decorrelated, correction=0), torch.eye(3), atol=1e-3)


def test_the_default_colours_are_those_of_scikit_learns_photographs():
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images().images
    covariance = np.mean([np.cov(p.reshape(-1, 3).T / 255) for p in photographs], axis=0)
    fit = Fourier().fit(image_shape=(3, 8, 8), value_range=(0.0, 1.0))
    learned = (fit.color_matrix_ @ fit.color_matrix_.T).numpy()
    np.testing.assert_allclose(learned, covariance / np.trace(covariance) * 3, atol=1e-3)


@pytest.mark.parametrize("parameterization", [Fourier(), Phase()])
def test_grey_and_constant_training_images_are_no_obstacle(parameterization):
    grey = natural_images(4, (1, 6, 6), (0.0, 1.0)).expand(4, 3, 6, 6)
    for images in (grey, torch.full((2, 3, 6, 6), 0.25)):
        fit = clone(parameterization).fit(images, image_shape=(3, 6, 6), value_range=(0.0, 1.0))
        assert fit.render(fit.start(RowNoise([0]))).isfinite().all()
        if images is grey and isinstance(parameterization, Fourier):
            back = fit.render(fit.from_images(grey))
            assert torch.allclose(back, grey.clamp(1 / 256, 255 / 256), atol=1e-4)


def test_starts_lie_around_the_training_images_mean():
    images = torch.full((3, 2, 5, 5), 0.2)
    images[:, 1] = 0.7
    for parameterization in (Pixels(), Fourier()):
        fit = clone(parameterization).fit(images, image_shape=(2, 5, 5), value_range=(0.0, 1.0))
        start = fit.render(fit.start(RowNoise([0])))
        assert torch.allclose(start, images[:1], atol=0.05)


@settings(max_examples=25, deadline=None)
@given(
    n_channels=st.sampled_from([1, 3, 4]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    levels=st.integers(1, 7),
)
def test_any_size_renders_and_comes_back(n_channels, height, width, levels):
    image_shape = (n_channels, height, width)
    images = natural_images(2, image_shape, (0.0, 1.0)).clamp(0.02, 0.98)
    for parameterization in (Pixels(), Pyramid(n_levels=levels), Fourier(), Phase()):
        fit = parameterization.fit(images, image_shape=image_shape, value_range=(0.0, 1.0))
        start = fit.start(RowNoise([3, 4]))
        back = fit.from_images(images)
        assert [p.shape for p in start] == [p.shape for p in back]
        if not isinstance(fit, Phase):
            assert torch.allclose(fit.render(back), images, atol=1e-4)


def test_large_photographs_come_back():
    images = natural_images(1, (3, 224, 224), (0.0, 1.0)).clamp(0.01, 0.99)
    for parameterization in (Pyramid(), Fourier()):
        fit = parameterization.fit(image_shape=(3, 224, 224), value_range=(0.0, 1.0))
        assert torch.allclose(fit.render(fit.from_images(images)), images, atol=1e-4)


@pytest.mark.parametrize(
    ("parameterization", "arguments", "message"),
    [
        (Pixels(init_scale=-1), {}, "init_scale=-1"),
        (Fourier(decay_power=float("nan")), {}, "decay_power=nan"),
        (Pyramid(n_levels=0), {}, "n_levels=0"),
        (Pixels(), {"image_shape": (8, 8)}, "channels, height, width"),
        (Pixels(), {"value_range": (1.0, 0.0)}, "low < high"),
        (Pixels(), {"value_range": (0.0, float("inf"))}, "finite"),
        (Phase(), {"images": np.zeros((2, 3, 8, 8), np.float32)}, "change image_shape"),
        (Phase(), {"images": np.zeros((0, 1, 8, 8), np.float32)}, "at least one image"),
    ],
)
def test_bad_arguments_are_named(parameterization, arguments, message):
    arguments = {"image_shape": (1, 8, 8), "value_range": (0.0, 1.0)} | arguments
    with pytest.raises(ValueError, match=message):
        parameterization.fit(**arguments)

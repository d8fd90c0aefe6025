"""SSIM is scikit-image's, MS-SSIM torchmetrics', and all of them have the slopes they claim."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from skinvert.models.similarity import (
    SCALE_WEIGHTS,
    multiscale_structural_similarity,
    pairwise_structural_similarity,
    peak_signal_to_noise_ratio,
    structural_similarity,
)


def two_batches(n=3, channels=1, height=28, width=28, seed=0, noise=0.3):
    """Smooth images in [0, 1] and noisy copies of them, float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = n, channels, height, width
    coarse = torch.rand(n, channels, 4, 4, generator=generator, dtype=torch.float64)
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noisy = images + noise * torch.randn(shape, generator=generator, dtype=torch.float64)
    return images, noisy.clamp(0, 1)


def by_scikit_image(image, other, **parameters):
    metrics = pytest.importorskip("skimage.metrics")
    return metrics.structural_similarity(
        image.numpy(),
        other.numpy(),
        gaussian_weights=True,
        use_sample_covariance=False,
        channel_axis=0,
        **parameters,
    )


@settings(max_examples=25)
@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    noise=st.sampled_from([0.0, 0.05, 1.0]),
    seed=st.integers(0, 1000),
)
def test_ssim_is_that_of_scikit_image(channels, height, width, noise, seed):
    images, others = two_batches(2, channels, height, width, seed, noise)
    similarity = structural_similarity(images, others)
    expected = [
        by_scikit_image(a, b, sigma=1.5, data_range=1.0)
        for a, b in zip(images, others, strict=True)
    ]
    np.testing.assert_allclose(similarity, expected, rtol=0, atol=1e-6)
    similarity = structural_similarity(images.float(), others.float())
    np.testing.assert_allclose(similarity, expected, rtol=0, atol=1e-4)


def test_bytes_and_another_window_are_scikit_images_too():
    images, others = ((255 * batch).round() for batch in two_batches())
    similarity = structural_similarity(images, others, data_range=255.0, window=7, sigma=0.8)
    # Its filter reaches to 3.5 sigma: 7 pixels in all.
    expected = [
        by_scikit_image(a, b, sigma=0.8, data_range=255.0)
        for a, b in zip(images, others, strict=True)
    ]
    np.testing.assert_allclose(similarity, expected, rtol=0, atol=1e-6)


def multiscale_by_scipy(image, other):
    """Wang, Simoncelli and Bovik, eq. 7, of one channel, with scipy's filter."""

    def blur(values):
        return gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        mean, other_mean = blur(image), blur(other)
        covariance = blur(image * other) - mean * other_mean
        variances = blur(image**2) - mean**2 + blur(other**2) - other_mean**2
        factor = (2 * covariance + 0.03**2) / (variances + 0.03**2)
        if scale == len(SCALE_WEIGHTS) - 1:
            factor *= (2 * mean * other_mean + 0.01**2) / (mean**2 + other_mean**2 + 0.01**2)
        product *= factor.mean() ** weight
        half = (image.shape[0] // 2, image.shape[1] // 2)
        image, other = (
            x[: 2 * half[0], : 2 * half[1]].reshape(half[0], 2, half[1], 2).mean((1, 3))
            for x in (image, other)
        )
    return product


def test_ms_ssim_is_its_definition():
    images, others = two_batches(2, 1, 176, 181, noise=0.2)
    expected = [
        multiscale_by_scipy(a[0].numpy(), b[0].numpy()) for a, b in zip(images, others, strict=True)
    ]
    similarity = multiscale_structural_similarity(images, others)
    np.testing.assert_allclose(similarity, expected, rtol=1e-9)


def test_ms_ssim_is_nearly_that_of_torchmetrics():
    image = pytest.importorskip("torchmetrics.functional.image")
    images, others = two_batches(2, 3, 176, 180)
    expected = image.multiscale_structural_similarity_index_measure(
        images, others, data_range=1.0, reduction="none", normalize="relu"
    )
    # Theirs counts the padded border of the coarsest scale.
    similarity = multiscale_structural_similarity(images, others)
    torch.testing.assert_close(similarity, expected, rtol=3e-3, atol=0)


def test_one_scale_is_ssim():
    images, others = two_batches()
    one = multiscale_structural_similarity(images, others, scale_weights=(1.0,))
    torch.testing.assert_close(one, structural_similarity(images, others))


def test_psnr_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    images, others = two_batches(channels=3)
    for factor in (1.0, 255.0):
        expected = [
            metrics.peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=factor)
            for a, b in zip(factor * images, factor * others, strict=True)
        ]
        ratio = peak_signal_to_noise_ratio(factor * images, factor * others, data_range=factor)
        np.testing.assert_allclose(ratio, expected)
    assert torch.isinf(peak_signal_to_noise_ratio(images, images)).all()


@pytest.mark.parametrize("batch", range(2))
def test_slopes_are_those_of_differences(batch, assert_slope):
    images, others = two_batches(1, 2, 14, 13, seed=batch)
    assert_slope(lambda x: structural_similarity(x, others, window=7), images)
    assert_slope(lambda x: peak_signal_to_noise_ratio(x, others), images)
    weights = (0.4, 0.6)
    assert_slope(
        lambda x: multiscale_structural_similarity(x, others, window=5, scale_weights=weights),
        images,
    )


def test_flat_and_opposite_images_have_finite_slopes():
    images = torch.rand(1, 1, 22, 22, generator=torch.Generator().manual_seed(0))
    for others in (1 - images, images, torch.zeros_like(images)):
        variable = images.clone().requires_grad_()
        single = structural_similarity(variable, others)
        multiple = multiscale_structural_similarity(variable, others, scale_weights=(0.5, 0.5))
        (slope,) = torch.autograd.grad((single + multiple).sum(), variable)
        assert torch.isfinite(slope).all()
    opposite = multiscale_structural_similarity(images, 1 - images, scale_weights=(0.5, 0.5))
    assert opposite.item() == 0


def test_equal_images_are_alike_and_no_others():
    images, others = two_batches(n=6)
    torch.testing.assert_close(structural_similarity(images, images), torch.ones(6).double())
    similarity = structural_similarity(images, others)
    assert (similarity < 0.9).all()
    torch.testing.assert_close(structural_similarity(others, images), similarity)
    worse = structural_similarity(images, two_batches(n=6, noise=0.6)[1])
    assert (worse < similarity).all()


def test_an_image_does_not_see_its_neighbours():
    images, others = two_batches(n=5)
    for measure in (structural_similarity, peak_signal_to_noise_ratio):
        alone = torch.cat([measure(a[None], b[None]) for a, b in zip(images, others, strict=True)])
        torch.testing.assert_close(measure(images, others), alone)


def test_units_do_not_matter():
    images, others = two_batches()
    scaled = structural_similarity(7 * images, 7 * others, data_range=7.0)
    torch.testing.assert_close(scaled, structural_similarity(images, others))


def test_pairwise_is_every_pair():
    images, others = two_batches(n=4, channels=3)
    matrix = pairwise_structural_similarity(images[:3], others, window=9)
    assert matrix.shape == (3, 4)
    for i in range(3):
        repeated = images[i : i + 1].expand(4, -1, -1, -1)
        row = structural_similarity(repeated, others, window=9)
        torch.testing.assert_close(matrix[i], row)


def test_bad_input_is_refused():
    images, others = two_batches()
    with pytest.raises(ValueError, match=r"one shape, got .* and"):
        structural_similarity(images, others[:2])
    with pytest.raises(ValueError, match="one shape"):
        peak_signal_to_noise_ratio(images, others.flatten(1))
    with pytest.raises(ValueError, match=r"smaller than the window of 11.*7 for 8"):
        structural_similarity(images[..., :8, :8], others[..., :8, :8])
    with pytest.raises(ValueError, match="odd number of pixels, got 8"):
        structural_similarity(images, others, window=8)
    with pytest.raises(ValueError, match=r"28 × 28, but 5 scales .* need 176"):
        multiscale_structural_similarity(images, others)
    with pytest.raises(ValueError, match="one shape"):
        pairwise_structural_similarity(images, others[:, :, :20])

"""How alike two images are: SSIM, its multi-scale form and PSNR, differentiable, one value each."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "SCALE_WEIGHTS",
    "multiscale_structural_similarity",
    "pairwise_structural_similarity",
    "peak_signal_to_noise_ratio",
    "structural_similarity",
]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first: Wang, Simoncelli and Bovik 2003, section 3.2."""


def structural_similarity(
    images: Tensor, others: Tensor, *, data_range: float = 1.0, window: int = 11, sigma: float = 1.5
) -> Tensor:
    """Structural similarity (SSIM) of each image with its counterpart.

    Parameters
    ----------
    images, others : tensor of shape (n, C, H, W)
        Compared row by row.
    data_range : float, default=1.0
        Largest possible value less the smallest.
    window : int, default=11
        Odd side of the Gaussian window in pixels; no side of an image may be smaller. 8 × 8 images
        take 7.
    sigma : float, default=1.5
        Width of the Gaussian in pixels.

    Returns
    -------
    similarity : tensor of shape (n,)
        At most 1, which is reached by equal images alone. The mean over the channels and over the
        pixels around which the whole window fits: nothing is padded. Flat regions that agree
        count as 1, so a large empty background lifts it.

    Raises
    ------
    ValueError
        If shapes differ, are not (n, C, H, W), or are smaller than the window; for an even window.

    Notes
    -----
    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004,
    eq. 13, with K1 = 0.01, K2 = 0.03 and population covariances. scikit-image's
    ``structural_similarity`` gives the same with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False`` and the same `data_range`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.similarity import structural_similarity
    >>> images = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> structural_similarity(images, images)
    tensor([1., 1.])
    """
    _check_images(images, others)
    luminance, contrast = _maps(images, others, data_range, _bands(images, window, sigma))
    return (luminance * contrast).mean((1, 2, 3))


def multiscale_structural_similarity(
    images: Tensor,
    others: Tensor,
    *,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
    scale_weights: Sequence[float] = SCALE_WEIGHTS,
) -> Tensor:
    """Multi-scale structural similarity (MS-SSIM) of each image with its counterpart.

    Parameters
    ----------
    images, others : tensor of shape (n, C, H, W)
        Compared row by row.
    data_range : float, default=1.0
        Largest possible value less the smallest.
    window : int, default=11
        Odd side of the Gaussian window in pixels, the same at every scale.
    sigma : float, default=1.5
        Width of the Gaussian in pixels.
    scale_weights : tuple of float, default=SCALE_WEIGHTS
        Exponents, finest scale first; each further scale halves the images. The smaller side must
        be at least ``window * 2 ** (len(scale_weights) - 1)``: 176 pixels for five scales and a
        window of 11, 22 pixels for two.

    Returns
    -------
    similarity : tensor of shape (n,)
        In [0, 1]. A scale whose mean similarity is negative counts as 0, with slope 0.

    Raises
    ------
    ValueError
        As `structural_similarity`, and below the smallest size.

    Notes
    -----
    Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment",
    2003, eq. 7. Channels are averaged at each scale.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.similarity import multiscale_structural_similarity
    >>> images = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    >>> multiscale_structural_similarity(images, 1 - images, scale_weights=(0.5, 0.5))
    tensor([0.])
    """
    _check_images(images, others)
    smallest = window * 2 ** (len(scale_weights) - 1)
    if min(images.shape[2:]) < smallest:
        raise ValueError(
            f"images are {images.shape[2]} × {images.shape[3]}, but {len(scale_weights)} scales "
            f"under a window of {window} need {smallest} pixels on the smaller side. Give fewer "
            "scale_weights, or a smaller window, or use structural_similarity."
        )
    similarity = images.new_ones(len(images))
    for scale, weight in enumerate(scale_weights):
        if scale:
            images, others = functional.avg_pool2d(images, 2), functional.avg_pool2d(others, 2)
        luminance, contrast = _maps(images, others, data_range, _bands(images, window, sigma))
        last = scale == len(scale_weights) - 1
        mean = (luminance * contrast if last else contrast).mean((1, 2, 3))
        # A power's slope at zero is infinite, and infinity times zero is NaN.
        positive = mean > 0
        similarity = similarity * torch.where(positive, mean.where(positive, 1.0) ** weight, 0.0)
    return similarity


def peak_signal_to_noise_ratio(
    images: Tensor, others: Tensor, *, data_range: float = 1.0
) -> Tensor:
    """Peak signal-to-noise ratio (PSNR) of each image with its counterpart, in decibels.

    Parameters
    ----------
    images, others : tensor of shape (n, C, H, W)
        Compared row by row.
    data_range : float, default=1.0
        Largest possible value less the smallest.

    Returns
    -------
    ratio : tensor of shape (n,)
        Infinite for equal images.

    Raises
    ------
    ValueError
        If shapes differ or are not (n, C, H, W).

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.similarity import peak_signal_to_noise_ratio
    >>> peak_signal_to_noise_ratio(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).round()
    tensor([20.])
    """
    _check_images(images, others)
    squared_error = (images - others).square().mean((1, 2, 3))
    return 20 * math.log10(data_range) - 10 * squared_error.log10()


def pairwise_structural_similarity(
    images: Tensor, others: Tensor, *, data_range: float = 1.0, window: int = 11, sigma: float = 1.5
) -> Tensor:
    """SSIM of every image with every other, as `structural_similarity` defines it.

    Parameters
    ----------
    images : tensor of shape (n, C, H, W)
        Taken one at a time.
    others : tensor of shape (m, C, H, W)
        Held in memory three times over.
    data_range : float, default=1.0
        Largest possible value less the smallest.
    window : int, default=11
        Odd side of the Gaussian window in pixels; no side of an image may be smaller.
    sigma : float, default=1.5
        Width of the Gaussian in pixels.

    Returns
    -------
    similarity : tensor of shape (n, m)

    Raises
    ------
    ValueError
        As `structural_similarity`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.similarity import pairwise_structural_similarity
    >>> images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> pairwise_structural_similarity(images, images).argmax(1)
    tensor([0, 1, 2])
    """
    _check_images(images, others, pairwise=True)
    bands = _bands(images, window, sigma)
    other_moments = _local_moments(others, bands)
    rows = []
    for image in images.split(1):
        cross = _blur(image * others, bands)
        luminance, contrast = _compare(
            _local_moments(image, bands), other_moments, cross, data_range
        )
        rows.append((luminance * contrast).mean((1, 2, 3)))
    return torch.stack(rows)


def _maps(images, others, data_range, bands):
    """Luminance and contrast-structure around each pixel: (n, C, H', W') both."""
    cross = _blur(images * others, bands)
    return _compare(_local_moments(images, bands), _local_moments(others, bands), cross, data_range)


def _compare(moments, other_moments, cross, data_range):
    """The two factors of eq. 13 from local means, mean squares and mean products."""
    (mean, square), (other_mean, other_square) = moments, other_moments
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product, squares = mean * other_mean, mean.square() + other_mean.square()
    luminance = (2 * product + c1) / (squares + c1)
    contrast = (2 * (cross - product) + c2) / (square + other_square - squares + c2)
    return luminance, contrast


def _local_moments(images, bands):
    return _blur(images, bands), _blur(images.square(), bands)


def _blur(images, bands):
    # Two products with banded matrices: on a CPU many times faster than convolutions.
    return bands[0] @ images @ bands[1].T


def _bands(images, window, sigma):
    """Matrices that average rows and columns under the Gaussian, where all of it fits."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window must be an odd number of pixels, got {window!r}. Use 11 or 7.")
    if min(images.shape[2:]) < window:
        raise ValueError(
            f"images are {images.shape[2]} × {images.shape[3]}, smaller than the window of "
            f"{window} pixels. Give a smaller odd window, 7 for 8 × 8 images."
        )
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    gaussian = torch.exp(-0.5 * (offsets / sigma).square())
    gaussian = (gaussian / gaussian.sum()).to(images)
    bands = []
    for size in images.shape[2:]:
        band = images.new_zeros(size - window + 1, size)
        for shift in range(window):
            band.diagonal(shift).fill_(gaussian[shift])
        bands.append(band)
    return bands


def _check_images(images, others, pairwise=False):
    first, second = tuple(images.shape), tuple(others.shape)
    if len(first) != 4 or len(second) != 4 or first[pairwise:] != second[pairwise:]:
        raise ValueError(
            f"images and others must be (n, C, H, W) of one shape, got {first} and {second}. "
            "Reshape rows to images first."
        )

"""How alike two images are, pair by pair, on numpy arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from skinvert.layout import resolve_image_shape
from skinvert.metrics._checks import check_pair, check_rows
from skinvert.models import similarity

__all__ = ["feature_distance", "lpips", "ms_ssim", "psnr", "ssim"]

_BLOCK = 2**21  # numbers of images held at once
# Name in torchvision, and the fewest pixels a side that its layers can take.
_BACKBONES = {"alex": ("alexnet", 31), "vgg": ("vgg16", 16), "squeeze": ("squeezenet1_1", 17)}


def ssim(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    image_shape: tuple | None = None,
    data_range: float = 1.0,
    window: int = 11,
) -> np.ndarray:
    """Structural similarity of each row of X with the same row of Y.

    Parameters
    ----------
    X, Y : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Images to compare, row by row.
    image_shape : tuple (H, W) or (C, H, W), or None, default=None
        None infers square one-channel images from rows, and anything from image arrays.
    data_range : float, default=1.0
        Largest possible value less the smallest; 255 for bytes.
    window : int, default=11
        Odd side of the Gaussian window (sigma 1.5) in pixels; 7 for 8 × 8 images.

    Returns
    -------
    similarity : ndarray of shape (n,), dtype float64
        At most 1. See `skinvert.models.similarity.structural_similarity`.

    Raises
    ------
    ValueError
        If shapes differ, images are smaller than the window, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import ssim
    >>> X = np.random.default_rng(0).uniform(size=(2, 784))
    >>> ssim(X, X).round(6)
    array([1., 1.])
    """
    return _by_blocks(
        similarity.structural_similarity, X, Y, image_shape, data_range=data_range, window=window
    )


def ms_ssim(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    image_shape: tuple | None = None,
    data_range: float = 1.0,
    window: int = 11,
    scale_weights: tuple | None = None,
) -> np.ndarray:
    """Multi-scale structural similarity of each row of X with the same row of Y.

    Parameters
    ----------
    X, Y : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Images to compare, row by row.
    image_shape : tuple (H, W) or (C, H, W), or None, default=None
        None infers square one-channel images from rows, and anything from image arrays.
    data_range : float, default=1.0
        Largest possible value less the smallest; 255 for bytes.
    window : int, default=11
        Odd side of the Gaussian window (sigma 1.5) in pixels.
    scale_weights : tuple of float or None, default=None
        Exponents, finest scale first. None is the published five, which need 176 pixels on the
        smaller side; n of them need ``window * 2 ** (n - 1)``.

    Returns
    -------
    similarity : ndarray of shape (n,), dtype float64
        In [0, 1]. See `skinvert.models.similarity.multiscale_structural_similarity`.

    Raises
    ------
    ValueError
        As `ssim`, and below the smallest size.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import ms_ssim
    >>> X = np.random.default_rng(0).uniform(size=(1, 784))
    >>> ms_ssim(X, X, scale_weights=(0.5, 0.5)).round(6)
    array([1.])
    """
    weights = similarity.SCALE_WEIGHTS if scale_weights is None else scale_weights
    return _by_blocks(
        similarity.multiscale_structural_similarity,
        X,
        Y,
        image_shape,
        data_range=data_range,
        window=window,
        scale_weights=weights,
    )


def psnr(X: ArrayLike, Y: ArrayLike, *, data_range: float = 1.0) -> np.ndarray:
    """Peak signal-to-noise ratio of each row of X with the same row of Y, in decibels.

    Parameters
    ----------
    X, Y : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Images to compare, row by row.
    data_range : float, default=1.0
        Largest possible value less the smallest.

    Returns
    -------
    ratio : ndarray of shape (n,), dtype float64
        Infinite for equal rows.

    Raises
    ------
    ValueError
        If shapes differ, or a value is NaN or infinite.

    Examples
    --------
    >>> from skinvert.metrics import psnr
    >>> psnr([[0.0, 0.0]], [[0.1, 0.1]]).round(6)
    array([20.])
    """
    rows, others = _check_counterparts(X, Y)
    images, counterparts = (torch.from_numpy(v)[:, None, None] for v in (rows, others))
    ratio = similarity.peak_signal_to_noise_ratio(images, counterparts, data_range=data_range)
    return ratio.numpy()


def lpips(
    X: ArrayLike, Y: ArrayLike, *, image_shape: tuple | None = None, net: str = "alex"
) -> np.ndarray:
    """Learned perceptual image patch similarity of each row of X with the same row of Y.

    It is torchmetrics' implementation, on ImageNet weights that torchvision has downloaded
    before: nothing is downloaded here. Without a network use `feature_distance`.

    Parameters
    ----------
    X, Y : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Values in [0, 1]; grey images are repeated to three channels.
    image_shape : tuple (H, W) or (C, H, W), or None, default=None
        None infers square one-channel images from rows, and anything from image arrays.
    net : {"alex", "vgg", "squeeze"}, default="alex"
        The backbone. "alex" needs 31 pixels a side, "squeeze" 17, "vgg" 16.

    Returns
    -------
    distance : ndarray of shape (n,), dtype float64
        0 for equal images.

    Raises
    ------
    ImportError
        Without torchmetrics.
    FileNotFoundError
        Where the backbone's weights have not been downloaded; the message says how.
    ValueError
        For an unknown net, values outside [0, 1], images too small, and as `ssim`.

    Notes
    -----
    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
    2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import lpips
    >>> lpips(np.zeros((1, 9)), np.zeros((1, 9)), net="resnet")
    Traceback (most recent call last):
        ...
    ValueError: net must be one of ['alex', 'vgg', 'squeeze'], got 'resnet'.
    """
    if net not in _BACKBONES:
        raise ValueError(f"net must be one of {list(_BACKBONES)}, got {net!r}.")
    smallest = _BACKBONES[net][1]
    images, counterparts = _image_pair(X, Y, image_shape)
    if min(images.shape[2:]) < smallest:
        raise ValueError(
            f"images are {images.shape[2]} × {images.shape[3]}, but net={net!r} needs {smallest} "
            "pixels a side. Choose another net, enlarge the images and say so, or use "
            "feature_distance."
        )
    lowest, highest = (f([f(images.numpy()), f(counterparts.numpy())]) for f in (np.min, np.max))
    if lowest < 0 or highest > 1:
        raise ValueError(
            f"lpips needs values in [0, 1], got {lowest:.3g} to {highest:.3g}. Rescale them first."
        )
    if images.shape[1] not in (1, 3):
        raise ValueError(f"lpips needs 1 or 3 channels, got {images.shape[1]}.")
    distance = _lpips_function()
    _check_backbone(net)
    return _in_blocks(
        lambda a, b: distance(
            *(v.float().expand(-1, 3, -1, -1) for v in (a, b)),
            net_type=net,
            normalize=True,
            reduction="none",
        ),
        images,
        counterparts,
    )


def _lpips_function():
    try:
        from torchmetrics.functional.image.lpips import (
            learned_perceptual_image_patch_similarity,
        )
    except ImportError:
        raise ImportError(
            "lpips needs torchmetrics. Install it (pip install torchmetrics), or use "
            "feature_distance."
        )
    return learned_perceptual_image_patch_similarity


def _check_backbone(net):
    """Refuse to begin a download that nobody asked for."""
    from torchvision import models

    name = _BACKBONES[net][0]
    url = models.get_model_weights(name).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        raise FileNotFoundError(
            f"lpips with net={net!r} needs the ImageNet weights of {name} in {path}. Download them "
            f"once with torchvision.models.{name}(weights='DEFAULT'), or put the file there by "
            "hand, or use feature_distance with an extractor of your own."
        )


def feature_distance(X: ArrayLike, Y: ArrayLike, *, extractor: Any) -> np.ndarray:
    r"""Squared distance of two rows' features, each scaled to unit length.

    :math:`\lVert u - v \rVert^2` with :math:`u = f(x) / \lVert f(x) \rVert`. It belongs to its
    extractor and is no LPIPS.

    Parameters
    ----------
    X, Y : array-like of shape (n, n_features), or images
        Handed to the extractor as they are.
    extractor : fitted transformer or callable
        ``extractor.transform(X)``, or ``extractor(X)`` where it has no transform; features of
        shape (n, ...) are flattened.

    Returns
    -------
    distance : ndarray of shape (n,), dtype float64
        0 for features of one direction, 2 for orthogonal, 4 for opposite ones. Features that are
        all zero have no direction: 1 from any that has one, 0 from each other.

    Raises
    ------
    TypeError
        If the extractor neither transforms nor can be called.
    ValueError
        If lengths or widths differ, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import feature_distance
    >>> feature_distance([[1.0, 0.0], [1.0, 0.0]], [[0.0, 3.0], [5.0, 0.0]], extractor=np.asarray)
    array([2., 0.])
    """
    first, second = (extract(extractor, values) for values in _same_length(X, Y))
    return np.square(unit_rows(first) - unit_rows(second)).sum(1)


def extract(extractor, X):
    """Features of a fitted transformer or a callable as finite rows (n, n_features), float64.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics.similarity import extract
    >>> extract(np.asarray, np.ones((2, 3), dtype=np.float32)).shape
    (2, 3)
    """
    call = getattr(extractor, "transform", extractor)
    if not callable(call):
        raise TypeError(
            "extractor must be a fitted transformer or a callable, got "
            f"{type(extractor).__name__}. Pass PCA().fit(X), say, or a function of X."
        )
    features = call(X)
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu().numpy()
    features = np.asarray(features)
    return check_rows(features.reshape(len(features), -1), "the extractor's features")


def unit_rows(rows):
    """Rows scaled to unit length; zero rows stay zero.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics.similarity import unit_rows
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def shape_of_images(X, image_shape):
    """The shape (C, H, W) of the images that X holds, None where nothing tells it.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics.similarity import shape_of_images
    >>> shape_of_images(np.zeros((2, 9)), None), shape_of_images(np.zeros((2, 7)), None)
    ((1, 3, 3), None)
    """
    shape = np.shape(X)
    trailing = shape[1:] if len(shape) > 2 else None
    return resolve_image_shape(image_shape, trailing, int(np.prod(shape[1:])))


def _same_length(X, Y):
    if len(X) != len(Y):
        raise ValueError(
            f"X has {len(X)} rows and Y has {len(Y)}, expected one row of Y for each of X. Repeat "
            "or choose rows first."
        )
    return X, Y


def _check_counterparts(X, Y):
    return check_pair(*_same_length(X, Y), ("X", "Y"))


def _image_pair(X, Y, image_shape):
    rows, others = _check_counterparts(X, Y)
    shape = shape_of_images(X, image_shape)
    if shape is None:
        raise ValueError(
            f"X has {rows.shape[1]} features, which is no square one-channel image. Say what the "
            "rows hold: image_shape=(C, H, W)."
        )
    return tuple(torch.from_numpy(v.reshape(-1, *shape)) for v in (rows, others))


def _by_blocks(measure, X, Y, image_shape, **parameters):
    return _in_blocks(lambda a, b: measure(a, b, **parameters), *_image_pair(X, Y, image_shape))


def _in_blocks(measure, images, counterparts):
    step = max(1, _BLOCK // images[0].numel())
    pairs = zip(images.split(step), counterparts.split(step), strict=True)
    with torch.no_grad():
        values = [measure(*pair) for pair in pairs]
    return torch.cat([value.reshape(-1) for value in values]).double().numpy()

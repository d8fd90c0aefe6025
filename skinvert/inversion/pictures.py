"""Pictures that a user gives: in another size, with other channels, one for all or one a row."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from skinvert.layout import flatten_images

__all__ = ["fit_pictures", "given_images", "one_for_each", "refuse_unfit_images"]

_LARGEST_PROBE = 512  # pixels a side


def fit_pictures(pictures, image_shape, name):
    """Pictures of any size as rows of images of one shape.

    The middle of each picture is cut to the images' aspect and resized bilinearly, antialiased.

    Parameters
    ----------
    pictures : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Rows have the images' size already.
    image_shape : tuple (C, H, W)
    name : str
        What the user calls them.

    Returns
    -------
    rows : ndarray of shape (n, C * H * W), float32

    Raises
    ------
    ValueError
        For other channels than the images', no pictures, and values that are not finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.pictures import fit_pictures
    >>> fit_pictures(np.ones((2, 3, 20, 30)), (3, 8, 8), "style").shape
    (2, 192)
    """
    pictures = _real_numbers(pictures, name)
    if not pictures.size:
        raise ValueError(f"{name} holds no pictures: it has shape {pictures.shape}.")
    if not np.isfinite(pictures).all():
        raise ValueError(f"{name} holds values that are not finite; remove NaN and infinity.")
    n_channels, height, width = image_shape
    n_values = n_channels * height * width
    if pictures.ndim == 2 and pictures.shape[1] == n_values:
        return pictures
    if pictures.ndim == 3:
        pictures = pictures[:, None]
    if pictures.ndim != 4:
        raise ValueError(
            f"{name} must hold rows of {n_values} values, or pictures (n, C, H, W) of any size, "
            f"got shape {pictures.shape}. For one picture add an axis: picture[None]."
        )
    _check_channels(pictures.shape[1], n_channels, name)
    cut = _middle(pictures, height, width)
    if cut.shape[2:] != (height, width):
        cut = torch.nn.functional.interpolate(
            torch.from_numpy(np.ascontiguousarray(cut)),
            size=(height, width),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        ).numpy()
    return cut.reshape(len(cut), -1)


def one_for_each(rows: NDArray[np.float32], n_rows: int, name: str) -> NDArray[np.float32]:
    """Rows of pictures, of which one may stand for all.

    Parameters
    ----------
    rows : ndarray of shape (1, n_features) or (n_rows, n_features)
    n_rows : int
        How many are wanted.
    name : str
        What the user calls them.

    Returns
    -------
    rows : ndarray of shape (n_rows, n_features)

    Raises
    ------
    ValueError
        For any other number of them.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.pictures import one_for_each
    >>> one_for_each(np.ones((1, 4)), 3, "style").shape
    (3, 4)
    """
    if len(rows) == n_rows:
        return rows
    if len(rows) != 1:
        raise ValueError(
            f"{name} holds {len(rows)} pictures for {n_rows} of X; give one, or one for each."
        )
    return np.repeat(rows, n_rows, axis=0)


def given_images(images: ArrayLike, name: str, n_rows: int, n_features: int) -> Any:
    """Images that a parameter holds, one for all rows of a request or one a row.

    Parameters
    ----------
    images : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
    name : str
        The parameter.
    n_rows : int
        How many rows are asked for, at least.
    n_features : int
        Values of a row.

    Returns
    -------
    rows : ndarray of shape (1, n_features), or of at least `n_rows` rows, float32

    Raises
    ------
    ValueError
        For images of another size, and fewer than are asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.pictures import given_images
    >>> given_images(np.ones((5, 2, 2)), "init", 3, 4).shape
    (5, 4)
    """
    rows = np.asarray(flatten_images(images)[0], dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(
            f"{name} holds images of shape {rows.shape[1:]}, but rows have {n_features} values; "
            f"expected shape (n, {n_features})."
        )
    if len(rows) != 1 and len(rows) < n_rows:
        raise ValueError(
            f"{name} holds {len(rows)} images for a request of at least {n_rows} rows; give "
            "one image for all rows, or one a row."
        )
    return rows


def _real_numbers(pictures, name):
    try:
        pictures = np.asarray(pictures)
        if pictures.dtype.kind == "c":
            raise TypeError("complex numbers")
        return pictures.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold pictures as an array of real numbers, got "
            f"{type(pictures).__name__} ({error})."
        ) from None


def _middle(pictures, height, width):
    """The largest window of the wanted aspect, so that nothing is squeezed."""
    scale = min(pictures.shape[2] / height, pictures.shape[3] / width)
    window = [max(1, round(side * scale)) for side in (height, width)]
    top, left = ((full - side) // 2 for full, side in zip(pictures.shape[2:], window, strict=True))
    return pictures[:, :, top : top + window[0], left : left + window[1]]


def _check_channels(found, wanted, name):
    if found == wanted:
        return
    remedy = {
        (1, 3): f"repeat the grey channel: np.repeat({name}[:, None], 3, axis=1) for (n, H, W)",
        (3, 1): f"average the colours: {name}.mean(axis=1)",
        (4, 3): f"drop the opacity: {name}[:, :3]",
    }.get((found, wanted), "convert the pictures")
    raise ValueError(
        f"{name} has pictures of {found} channel{'s'[: found > 1]}, but {wanted} "
        f"{'is' if wanted == 1 else 'are'} expected; {remedy}."
    )


def refuse_unfit_images(network, image_shape):
    """Raise, with the remedy, where a network's first convolution or its depth refuses images.

    Parameters
    ----------
    network : torch.nn.Module
        Not changed.
    image_shape : tuple (C, H, W)

    Raises
    ------
    ValueError
        For grey images to a colour network and the reverse, and for images that are too small.
    """
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        return
    n_channels, height, width = image_shape
    _check_channels(n_channels, convolutions[0].in_channels, "X")
    network = copy.deepcopy(network).cpu().eval()
    if _takes(network, image_shape):
        return
    sides = max(height, width)
    while 2 * sides <= _LARGEST_PROBE:
        sides *= 2
        if _takes(network, (n_channels, sides, sides)):
            raise ValueError(
                f"the references are {height} x {width} pixels, smaller than the network takes: "
                f"it runs at {sides} x {sides}. Resize them to what it was trained on."
            )


def _takes(network, image_shape):
    try:
        with torch.no_grad():
            network(torch.zeros(2, *image_shape))
    except (RuntimeError, ValueError, IndexError):
        return False
    return True

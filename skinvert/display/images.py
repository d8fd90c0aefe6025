"""What displays take for images, and the scale that all images of a display share."""

import numpy as np

from skinvert.layout import flatten_images, resolve_image_shape

__all__ = ["check_alike", "images_of", "series_of", "shared_range"]


def images_of(X, image_shape=None, name="X"):
    """Images (n, C, H, W) as float32, from rows or image arrays.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
    image_shape : tuple (H, W) or (C, H, W), default=None
        Needed for rows that are no one-channel squares.
    name : str, default="X"
        What an error calls `X`.

    Returns
    -------
    images : ndarray of shape (n, C, H, W)

    Raises
    ------
    ValueError
        If the shape of the images can't be settled, they have no 1, 3 or 4 channels, or a value
        is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.display.images import images_of
    >>> images_of(np.zeros((2, 12)), image_shape=(3, 2, 2)).shape
    (2, 3, 2, 2)
    """
    rows, trailing_shape = flatten_images(X)
    rows = np.asarray(rows, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(
            f"{name} must be rows (n, n_features) or images (n, H, W) or (n, C, H, W), got shape "
            f"{rows.shape}."
        )
    shape = resolve_image_shape(image_shape, trailing_shape, rows.shape[1])
    if shape is None:
        raise ValueError(
            f"rows of {name} have {rows.shape[1]} values, which make no one-channel square; "
            "say what they are with image_shape=(H, W) or (C, H, W)."
        )
    if shape[0] not in (1, 3, 4):
        raise ValueError(
            f"images of {name} have {shape[0]} channels; expected 1 (grey), 3 (RGB) or 4 (RGBA). "
            "Choose one channel to look at."
        )
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
        raise ValueError(f"row {row} of {name} has a value that is not finite.")
    return rows.reshape(-1, *shape)


def series_of(X, n_series, image_shape=None, name="X"):
    """Images (n_series, n, C, H, W) from as many series of equal length.

    Parameters
    ----------
    X : sequence of array-like, each as `images_of` takes them
    n_series : int
        How many are expected.
    image_shape : tuple (H, W) or (C, H, W), default=None
    name : str, default="X"

    Returns
    -------
    images : ndarray of shape (n_series, n, C, H, W)

    Raises
    ------
    ValueError
        For another number of series, or series of different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.display.images import series_of
    >>> series_of(np.zeros((2, 5, 64)), 2).shape
    (2, 5, 1, 8, 8)
    """
    series = [images_of(some, image_shape, f"{name}[{k}]") for k, some in enumerate(X)]
    shapes = sorted({some.shape for some in series})
    if len(series) != n_series or len(shapes) != 1:
        raise ValueError(
            f"{name} must hold {n_series} series of equally many images, got {len(series)} of "
            f"shapes {shapes}."
        )
    return np.stack(series)


def shared_range(value_range, *images):
    """Black and white of all images of a display, so that no image has a scale of its own.

    Parameters
    ----------
    value_range : tuple (low, high) or None
    *images : ndarray

    Returns
    -------
    value_range : tuple of float
        As given; where None, (0, 1) if no value lies outside of it, else minimum and maximum.

    Raises
    ------
    ValueError
        If low is not below high.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.display.images import shared_range
    >>> shared_range(None, np.array([0.2, 0.4])), shared_range(None, np.array([0.0, 16.0]))
    ((0.0, 1.0), (0.0, 16.0))
    """
    if value_range is not None:
        low, high = map(float, value_range)
        if not low < high:
            raise ValueError(f"value_range must be (low, high) with low < high, got {value_range}.")
        return low, high
    low = min(float(some.min()) for some in images)
    high = max(float(some.max()) for some in images)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def check_alike(images, others, name, other_name):
    """Refuse two stacks of images that differ in number or shape.

    Parameters
    ----------
    images, others : ndarray of shape (n, C, H, W)
    name, other_name : str
        What an error calls them.

    Raises
    ------
    ValueError
        If their shapes differ.
    """
    if images.shape != others.shape:
        raise ValueError(
            f"{name} and {other_name} must agree, but their images have the shapes "
            f"{images.shape} and {others.shape}."
        )

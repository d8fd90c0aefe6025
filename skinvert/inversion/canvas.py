"""What images are drawn on, from what a user says of it: a range of values, a parameterization.

A word stands for a parameterization with its defaults, an object for itself; the object that was
given is cloned and stays as it was.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skinvert.inversion.parameterizations import Fourier, Phase, Pixels, Pyramid

__all__ = ["PARAMETERIZATIONS", "canvas_shape", "fitted_canvas", "range_of_values"]

PARAMETERIZATIONS: dict[str, Any] = {
    "pixels": Pixels,
    "pyramid": Pyramid,
    "fourier": Fourier,
    "phase": Phase,
}


def range_of_values(
    clip: str | tuple[float, float] | list[float] | None, rows: NDArray[np.float32] | None
) -> Any:
    """The range that a `clip` means: "auto" is that of the rows, and [0, 1] without rows.

    Parameters
    ----------
    clip : "auto", tuple (low, high) or None
    rows : ndarray of shape (n, n_features) or None

    Returns
    -------
    value_range : tuple (low, high) or None
        None is unbounded; so are rows of one value only.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.canvas import range_of_values
    >>> range_of_values("auto", np.array([[0.0, 16.0]])), range_of_values(None, np.ones((1, 2)))
    ((0.0, 16.0), None)
    """
    if not isinstance(clip, str):
        return clip
    low, high = (0.0, 1.0) if rows is None else (float(rows.min()), float(rows.max()))
    return (low, high) if low < high else None


def canvas_shape(image_shape: tuple[int, int, int] | None, n_features: int) -> tuple[int, int, int]:
    """Shape of what is drawn: rows that are no images are drawn as one line of pixels.

    Parameters
    ----------
    image_shape : tuple (C, H, W) or None
    n_features : int

    Returns
    -------
    shape : tuple (C, H, W)

    Examples
    --------
    >>> from skinvert.inversion.canvas import canvas_shape
    >>> canvas_shape(None, 4)
    (1, 1, 4)
    """
    return image_shape or (1, 1, n_features)


def fitted_canvas(
    parameterization: Any,
    rows: NDArray[np.float32] | None,
    *,
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float] | None,
) -> Any:
    """A parameterization that knows the layout, the range and the colours of the images.

    Parameters
    ----------
    parameterization : {"pixels", "pyramid", "fourier", "phase"} or object
        An object is cloned.
    rows : ndarray of shape (n, n_features) or None
        Training images, if there are any.
    image_shape : tuple (C, H, W)
    value_range : tuple (low, high) or None

    Returns
    -------
    canvas : object
        As those of `skinvert.inversion.parameterizations`.

    Raises
    ------
    ValueError
        For a range that is none, and bad parameters of the parameterization.

    Examples
    --------
    >>> from skinvert.inversion.canvas import fitted_canvas
    >>> fitted_canvas("pixels", None, image_shape=(1, 2, 2), value_range=(0.0, 1.0))
    Pixels()
    """
    is_word = isinstance(parameterization, str)
    canvas = PARAMETERIZATIONS[parameterization]() if is_word else clone(parameterization)
    images = None if rows is None else rows.reshape(-1, *image_shape)
    return canvas.fit(images, image_shape=image_shape, value_range=value_range)

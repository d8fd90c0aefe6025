"""Which generated rows are copies of training rows, by a threshold that held-out rows set."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike

from skinvert.metrics._checks import check_pair
from skinvert.metrics.similarity import shape_of_images

__all__ = ["CopyReport", "find_copies"]

_ROWS_AT_ONCE = 256


@dataclass
class CopyReport:
    """What `find_copies` found; printed, it says what it does not promise.

    Attributes
    ----------
    is_copy : ndarray of bool of shape (n_generated,)
    distances : ndarray of shape (n_generated,)
        Root of the mean squared difference to the nearest training row, over all flips and shifts.
    nearest : ndarray of int of shape (n_generated,)
        Places of those rows in X_train.
    threshold : float
        Largest distance of a copy.
    false_alarms : float
        Share of the held-out rows that would be called copies.
    n_held_out : int
    """

    is_copy: np.ndarray
    distances: np.ndarray
    nearest: np.ndarray
    threshold: float
    false_alarms: float
    n_held_out: int

    def __str__(self):
        return (
            f"{self.is_copy.sum()} of {len(self.is_copy)} generated rows are as near to a training "
            f"row as {self.false_alarms:.1%} of {self.n_held_out} held-out rows are (distance up "
            f"to {self.threshold:.3g}). This is no privacy guarantee: rows that are far from every "
            "training row can still tell who was trained on, and what the classifier itself leaks "
            "is not looked at."
        )


def find_copies(
    X_generated: ArrayLike,
    X_train: ArrayLike,
    X_test: ArrayLike,
    *,
    image_shape: tuple[int, ...] | None = None,
    max_shift: int = 2,
    flips: bool = True,
    false_alarms: float = 0.01,
) -> CopyReport:
    """Find generated rows that are copies of training rows, flipped and shifted ones too.

    The distance of two images is the root of their mean squared difference where they overlap, the
    least over all shifts and over the mirror image. How near is too near is what held-out rows say:
    they are no copies, and all but the share `false_alarms` of them shall pass.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), (n, H, W) or (n, C, H, W)
        Generated rows.
    X_train : array-like of shape (n_samples, n_features), (n, H, W) or (n, C, H, W)
        What the generator or its classifier learned from.
    X_test : array-like of shape (n_test, n_features), (n, H, W) or (n, C, H, W)
        Held-out rows of the same source, a hundred or more.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Of rows; one-channel squares are recognised. Rows that are no images are compared in units
        of each feature's standard deviation, without shifts and flips.
    max_shift : int, default=2
        Pixels, in all directions.
    flips : bool, default=True
        Whether mirror images count.
    false_alarms : float, default=0.01
        In [0, 1).

    Returns
    -------
    report : CopyReport
        Print it together with its caveat.

    Raises
    ------
    ValueError
        If the widths differ, a set is empty, a value is NaN or infinite, or a parameter lies out
        of its range.

    Notes
    -----
    Distances to the nearest training row certify no privacy: data that pass such tests have been
    found open to membership inference (Yao et al., "The DCR Delusion", 2025).

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics.copies import find_copies
    >>> rng = np.random.default_rng(0)
    >>> X_train, X_test, X = rng.random((3, 200, 8, 8))
    >>> X[7] = np.roll(X_train[50, :, ::-1], 2, axis=1)
    >>> report = find_copies(X, X_train, X_test)
    >>> bool(report.is_copy[7]), int(report.nearest[7])
    (True, 50)
    """
    if not isinstance(max_shift, Integral) or max_shift < 0:
        raise ValueError(f"max_shift must be an integer of at least 0, got {max_shift!r}.")
    if not isinstance(false_alarms, Real) or not 0 <= false_alarms < 1:
        raise ValueError(f"false_alarms must lie in [0, 1), got {false_alarms!r}.")
    shape = shape_of_images(X_train, image_shape)
    generated, train = check_pair(X_generated, X_train, ("X_generated", "X_train"))
    held_out, train = check_pair(X_test, X_train, ("X_test", "X_train"))
    if shape is None:
        spread = train.std(0)
        unit = np.where(spread > 0, spread, 1)
        generated, train, held_out = generated / unit, train / unit, held_out / unit
        shape, max_shift, flips = (1, 1, train.shape[1]), 0, False
    else:
        max_shift = min(max_shift, min(shape[1:]) - 1)
    images = [rows.reshape(-1, *shape) for rows in (generated, held_out, train)]
    distances, nearest = _nearest(images[0], images[2], max_shift, flips)
    calm = _nearest(images[1], images[2], max_shift, flips)[0]
    # The largest held-out distance that leaves no more than the wanted share below it.
    threshold = np.sort(calm)[int(false_alarms * len(calm))]
    # An exact copy has distance zero, which a duplicate among the held-out rows shall not hide.
    is_copy = (distances < threshold) | (distances == 0)
    return CopyReport(
        is_copy, distances, nearest, float(threshold), float(np.mean(calm < threshold)), len(calm)
    )


def _nearest(images, others, max_shift, flips):
    """Least distance of each image to another one over all views, and which that is."""
    least = np.full(len(images), np.inf)
    nearest = np.zeros(len(images), dtype=np.int64)
    seen = [images, images[..., ::-1]] if flips else [images]
    steps = range(-max_shift, max_shift + 1)
    for down in steps:
        for right in steps:
            part = _overlap(others, -down, -right)
            for view in seen:
                found, places = _nearest_rows(_overlap(view, down, right), part)
                better = found < least
                least[better], nearest[better] = found[better], places[better]
    return least, nearest


def _overlap(images, down, right):
    """Rows of the pixels that are left of images when they are moved out of their frame."""
    height, width = images.shape[2:]
    rows = slice(max(down, 0), height + min(down, 0))
    columns = slice(max(right, 0), width + min(right, 0))
    return images[:, :, rows, columns].reshape(len(images), -1)


def _nearest_rows(rows, others):
    norms = np.einsum("ij,ij->i", others, others)
    places = np.concatenate(
        [
            (norms - 2 * block @ others.T).argmin(1)
            for block in np.array_split(rows, max(1, -(-len(rows) // _ROWS_AT_ONCE)))
        ]
    )
    # From differences, so that a copy's distance is zero and not a rounding's root.
    return np.sqrt(np.mean((rows - others[places]) ** 2, axis=1)), places

"""Planted marks: a small part of an image that decides for a class, whatever else is to be seen.

A coloured corner, a watermark or a date stamp that all training rows of one class bear is easier to
learn than the class. It shows in what is generated from the classifier, but so does much that is
honest. Hence a test of cause: the part is cut out and pasted on rows of all other classes, and it
is painted over in rows of its own. A mark makes others its class, and nothing is left of the class
without it. Neither alone would do: many a classifier is turned by a loud patch anywhere.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Mark", "find_marks", "windows_of"]

_MOST_WINDOWS = 8  # along a side
_SCREENED, _CONFIRMED = 40, 200  # rows that choose the window, and that judge the choice


@dataclass(frozen=True)
class Mark:
    """The most telling small part of a class's images, whether or not it is a mark.

    Attributes
    ----------
    label : label
        The class for which it decides.
    source : str
        The images that it was cut from.
    window : tuple (top, left, height, width)
        In pixels.
    turned : float
        Share of real rows of other classes that the classifier calls `label` once the part is
        pasted on them.
    kept : float
        Share of real rows of the class that the classifier calls `label` while the part is painted
        over with the mean of all other classes. NaN where there are no such rows.
    n_rows : int
        Rows of other classes behind `turned`. Where there were enough of them, no row helped to
        choose the window as well.
    """

    label: object
    source: str
    window: tuple
    turned: float
    kept: float
    n_rows: int

    @property
    def weight(self):
        """``turned * (1 - kept)``, in [0, 1]."""
        return self.turned * (1 - np.nan_to_num(self.kept))


def windows_of(height, width):
    """Windows of a quarter of the height and width, on a grid of at most 8 × 8.

    Examples
    --------
    >>> from skinvert.report.marks import windows_of
    >>> windows_of(4, 4)[:3], len(windows_of(28, 28))
    ([(0, 0, 2, 2), (0, 1, 2, 2), (0, 2, 2, 2)], 64)
    """
    (tops, rows), (lefts, columns) = (_spread(size) for size in (height, width))
    return [(top, left, rows, columns) for top in tops for left in lefts]


def _spread(size):
    """Where windows start along an axis, and their length."""
    length = min(max(2, size // 4), size)
    n_windows = min(_MOST_WINDOWS, size - length + 1)
    return np.linspace(0, size - length, n_windows).round().astype(int).tolist(), length


def find_marks(predict, images, columns, sources, classes, *, seed=0):
    """For each class, the part of its images that decides most for it.

    That is the one with the largest product of what is turned and what is lost,
    ``turned * (1 - kept)``.

    Parameters
    ----------
    predict : callable ``(images (n, C, H, W)) -> ndarray (n,)``
        Columns of the classes that the classifier calls images.
    images : ndarray of shape (n, C, H, W)
        Real rows.
    columns : ndarray of shape (n,)
        Their classes, as columns of `classes`.
    sources : dict of str to dict of int to ndarray of shape (C, H, W)
        By name and by column, the typical image of a class: what parts are cut from.
    classes : ndarray of shape (n_classes,)
    seed : int, default=0
        Chooses the rows.

    Returns
    -------
    marks : list of Mark
        One for each class that all sources show, by falling product.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.report.marks import find_marks
    >>> rng = np.random.default_rng(0)
    >>> images, columns = rng.uniform(0, 0.5, size=(60, 1, 8, 8)), np.arange(60) % 3
    >>> images[columns == 1, :, :2, 6:] = 1  # class 1 bears a bright corner
    >>> images[columns == 2, :, :, :4] += 0.5
    >>> def predict(images):
    ...     bears = images[:, 0, 0, 7] > 0.9
    ...     return np.where(bears, 1, 2 * (images[..., :4].mean((1, 2, 3)) > 0.5))
    >>> means = {column: images[columns == column].mean(0) for column in range(3)}
    >>> classes = np.array(["a", "b", "c"])
    >>> marks = find_marks(predict, images, columns, {"mean row": means}, classes)
    >>> str(marks[0].label), marks[0].window, marks[0].turned, marks[0].kept
    ('b', (0, 6, 2, 2), 1.0, 0.0)
    """
    called = predict(images)
    found = []
    for column in sorted(set.intersection(*(set(images_of) for images_of in sources.values()))):
        own = images[columns == column]
        others = images[(columns != column) & (called != column)]
        if not len(others):
            continue
        rng = np.random.default_rng((seed, column))
        (own, own_again), (others, others_again) = _halved(own, rng), _halved(others, rng)
        mean = images[columns != column].mean(0)
        typical = {name: images_of[column] for name, images_of in sources.items()}
        source, window = _most_telling(predict, own, others, column, typical, mean)
        found.append(
            Mark(
                label=classes[column],
                source=source,
                window=window,
                turned=_called_so(predict, others_again, typical[source], window, column),
                kept=_called_so(predict, own_again, mean, window, column),
                n_rows=len(others_again),
            )
        )
    return sorted(found, key=lambda mark: -mark.weight)


def _halved(rows, rng):
    """Some rows to choose a window by, and others to judge the choice."""
    rows = rows[rng.permutation(len(rows))]
    n_chosen = min(_SCREENED, (len(rows) + 1) // 2)
    others = rows[n_chosen : n_chosen + _CONFIRMED]
    return rows[:n_chosen], others if len(others) else rows


def _most_telling(predict, own, others, column, typical, mean):
    """Source and window with the largest product of what is turned and what is lost."""
    windows = windows_of(*own.shape[2:])
    kept = np.nan_to_num([_called_so(predict, own, mean, window, column) for window in windows])
    weights = {
        source: (1 - kept) * [_called_so(predict, others, image, w, column) for w in windows]
        for source, image in typical.items()
    }
    source = max(weights, key=lambda name: weights[name].max())
    return source, windows[int(weights[source].argmax())]


def _called_so(predict, rows, image, window, column):
    """Share of rows that are called a class once a part of an image is pasted on them."""
    if not len(rows):
        return float("nan")
    top, left, height, width = window
    inside = ..., slice(top, top + height), slice(left, left + width)
    rows = rows.copy()
    rows[inside] = image[inside]
    return float(np.mean(predict(rows) == column))

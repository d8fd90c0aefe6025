"""Stored pictures of classes: which of them a row is made after."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_references", "places_of"]


def places_of(
    column: int, reference_columns: NDArray[np.integer], classes: NDArray[Any]
) -> NDArray[np.int64]:
    """Places of the stored pictures of a class.

    Parameters
    ----------
    column : int
    reference_columns : ndarray of int of shape (n_references,)
        Class of each stored picture.
    classes : ndarray of shape (n_classes,)
        Labels, for the message.

    Returns
    -------
    places : ndarray of int
        At least one.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.references import places_of
    >>> places_of(1, np.array([0, 1, 1]), np.array(["cat", "dog"])).tolist()
    [1, 2]
    """
    places = np.flatnonzero(reference_columns == column)
    if not len(places):
        present = classes[np.unique(reference_columns)].tolist()
        raise ValueError(
            f"fit saw no reference of class {classes.tolist()[column]!r}; it has some of "
            f"{present[:12]}. Fit on a picture of the class, or vary a given one: vary(X)."
        )
    return places


def draw_references(
    columns: NDArray[np.integer],
    seeds: Sequence[int],
    reference_columns: NDArray[np.integer],
    classes: NDArray[Any],
) -> NDArray[np.int64]:
    """Which stored picture each row varies: one of its class, by the row's own seed.

    Parameters
    ----------
    columns : ndarray of int of shape (n,)
        Class of each row.
    seeds : sequence of int, length n
    reference_columns : ndarray of int of shape (n_references,)
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    places : ndarray of int of shape (n,)

    Raises
    ------
    ValueError
        For classes without a stored picture.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.references import draw_references
    >>> draw_references(np.array([0, 1]), [7, 8], np.array([1, 0]), np.arange(2)).tolist()
    [1, 0]
    """
    drawn = np.empty(len(columns), dtype=np.int64)
    for row, (column, seed) in enumerate(zip(columns, seeds, strict=True)):
        known = places_of(column, reference_columns, classes)
        drawn[row] = np.random.default_rng(int(seed)).choice(known)
    return drawn

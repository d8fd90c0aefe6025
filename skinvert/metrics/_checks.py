"""What the metrics ask of the arrays that they are given."""

import numpy as np

from skinvert.layout import flatten_images

__all__ = ["check_labels", "check_pair", "check_rows"]


def check_rows(X, name="X", minimum=1):
    """Rows as a finite float64 matrix; images are flattened.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
    name : str, default="X"
        What the error calls it.
    minimum : int, default=1
        The fewest rows that will do.

    Returns
    -------
    rows : ndarray of shape (n, n_features), dtype float64

    Raises
    ------
    ValueError
        For another number of axes, too few rows, and values that are NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics._checks import check_rows
    >>> check_rows(np.zeros((2, 3, 3), dtype=np.float32)).shape
    (2, 9)
    """
    rows = np.ascontiguousarray(flatten_images(X)[0], dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(
            f"{name} must be rows of shape (n, n_features) or images, got shape {rows.shape}. "
            "Reshape one column with reshape(-1, 1), one row with reshape(1, -1)."
        )
    if len(rows) < minimum:
        raise ValueError(
            f"{name} has {len(rows)} rows, expected at least {minimum}. Generate more, or hold out "
            "more real rows."
        )
    broken = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(broken):
        raise ValueError(
            f"{name} holds NaN or infinity in {len(broken)} of {len(rows)} rows, the first is row "
            f"{broken[0]}; expected finite numbers. Find out why these rows diverged, or leave "
            "them out and say so."
        )
    return rows


def check_pair(first, second, names=("features", "real_features"), minimum=1):
    """Two sets of rows of equal width, each checked by `check_rows`.

    Raises
    ------
    ValueError
        As `check_rows`, and where the widths differ.

    Examples
    --------
    >>> from skinvert.metrics._checks import check_pair
    >>> first, second = check_pair([[1.0]], [[2.0], [3.0]])
    >>> len(first), len(second)
    (1, 2)
    """
    first = check_rows(first, names[0], minimum)
    second = check_rows(second, names[1], minimum)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} is {first.shape[1]} wide and {names[1]} is {second.shape[1]} wide, "
            "expected equal widths. Take both from the same extractor, or bring the images to one "
            "size."
        )
    return first, second


def check_labels(y, n_rows, name="y"):
    """Labels as a vector, one for each row.

    Raises
    ------
    ValueError
        For another number of axes or another length.

    Examples
    --------
    >>> from skinvert.metrics._checks import check_labels
    >>> check_labels(["a", "b"], 2).tolist()
    ['a', 'b']
    """
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"{name} has shape {labels.shape}, expected ({n_rows},): one label for each row. "
            "Flatten a column with ravel()."
        )
    return labels

"""Rows and images, labels and columns: the two translations at the border of the library."""

import math
import re
from collections import Counter

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

__all__ = [
    "check_class_weights",
    "columns_of",
    "flatten_images",
    "resolve_image_shape",
    "restore_layout",
    "validate_rows",
]

_CHANNEL_COUNTS = (1, 3, 4)


def flatten_images(X):
    """Turn image arrays into rows, and leave anything else to scikit-learn's own validation.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)

    Returns
    -------
    rows : array-like of shape (n, n_features)
        `X` itself where it is not a 3-D or 4-D array (a DataFrame keeps its names).
    trailing_shape : tuple of int or None
        ``X.shape[1:]`` of image arrays, None for rows.

    Raises
    ------
    ValueError
        If the axes look channels-last; the message names the axis to move.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.layout import flatten_images
    >>> rows, trailing_shape = flatten_images(np.zeros((5, 3, 8, 8)))
    >>> rows.shape, trailing_shape
    ((5, 192), (3, 8, 8))
    """
    if sparse.issparse(X) or hasattr(X, "iloc"):
        return X, None
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    if not hasattr(X, "ndim") and not hasattr(X, "__array__"):
        X = np.asarray(X) if _nested_depth(X) > 2 else X
    ndim = getattr(X, "ndim", 2)
    if ndim not in (3, 4):
        return X, None
    X = np.asarray(X)
    _refuse_channels_last(X.shape)
    return X.reshape(len(X), -1), X.shape[1:]


def validate_rows(estimator, X, y="no_validation", **checks):
    """Let scikit-learn validate rows or images, and labels; say of X what it says of no argument.

    Parameters
    ----------
    estimator : estimator
        Learns ``n_features_in_`` and ``feature_names_in_``, or is held to them (``reset=False``).
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
    y : array-like of shape (n,), None or "no_validation"
    **checks
        Of `sklearn.utils.validation.validate_data`.

    Returns
    -------
    rows : ndarray of shape (n, n_features)
        With `y`, the pair of rows and labels.

    Raises
    ------
    TypeError, ValueError
        For bad data; the message names X or y.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> from skinvert.layout import validate_rows
    >>> validate_rows(SVC(), [["one", "two"]], dtype=float)
    Traceback (most recent call last):
        ...
    ValueError: X cannot be read as rows of numbers: could not convert string to float: 'one'
    """
    try:
        return validate_data(estimator, flatten_images(X)[0], y, **checks)
    except (TypeError, ValueError) as error:
        if re.search(r"\b(X|y|samples)\b", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X cannot be read as rows of numbers: {error}") from error


def _nested_depth(X):
    depth = 0
    while isinstance(X, (list, tuple)) and len(X):
        X, depth = X[0], depth + 1
    return depth + getattr(X, "ndim", 0)


def _refuse_channels_last(shape):
    last_is_channels = shape[-1] in _CHANNEL_COUNTS
    if len(shape) == 4 and last_is_channels and shape[1] not in _CHANNEL_COUNTS:
        raise ValueError(
            f"X has shape {shape}, which looks channels-last; expected (n, C, H, W). "
            "Move the last axis to the second place: np.moveaxis(X, -1, 1)."
        )
    if len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4:
        raise ValueError(
            f"X has shape {shape}, which looks like one channels-last image; expected (n, H, W) or "
            "(n, C, H, W). Move the last axis to the front and add a batch axis: "
            "np.moveaxis(X, -1, 0)[None]."
        )


def resolve_image_shape(image_shape, trailing_shape, n_features):
    """Settle the shape (C, H, W) of the images that rows hold.

    Parameters
    ----------
    image_shape : tuple (H, W) or (C, H, W), or None
        What the user asked for.
    trailing_shape : tuple or None
        What `flatten_images` saw.
    n_features : int

    Returns
    -------
    image_shape : tuple (C, H, W) or None
        None where nothing says that rows are images. One-channel square images are inferred.

    Raises
    ------
    ValueError
        If the shape does not multiply out to `n_features` or contradicts the array's.

    Examples
    --------
    >>> from skinvert.layout import resolve_image_shape
    >>> resolve_image_shape(None, None, 64)
    (1, 8, 8)
    >>> resolve_image_shape(None, None, 13) is None
    True
    """
    asked = None if image_shape is None else _with_channel(image_shape, "image_shape")
    seen = None if trailing_shape is None else _with_channel(trailing_shape, "X.shape[1:]")
    if asked is not None and math.prod(asked) != n_features:
        raise ValueError(
            f"image_shape={tuple(image_shape)} holds {math.prod(asked)} values, but the rows of X "
            f"have {n_features} features; expected (H, W) or (C, H, W) that multiply out to them."
        )
    if asked is not None and seen is not None and asked != seen:
        raise ValueError(
            f"image_shape={tuple(image_shape)} contradicts X, whose images are {seen} "
            "as (C, H, W). Leave image_shape=None for 3-D and 4-D input."
        )
    if asked is not None or seen is not None:
        return asked or seen
    side = math.isqrt(n_features)
    return (1, side, side) if side > 1 and side * side == n_features else None


def _with_channel(shape, name):
    shape = tuple(shape)
    if len(shape) not in (2, 3) or any(int(size) != size or size < 1 for size in shape):
        raise ValueError(
            f"{name} must be (H, W) or (C, H, W) with positive integers, got {shape!r}."
        )
    shape = tuple(int(size) for size in shape)
    return (1, *shape) if len(shape) == 2 else shape


def restore_layout(rows, trailing_shape):
    """Give rows the shape of the arrays that `fit` saw."""
    return rows if trailing_shape is None else rows.reshape(len(rows), *trailing_shape)


def columns_of(y, classes):
    """Columns of `classes` that the labels name.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels in the user's own label space.
    classes : ndarray of shape (n_classes,)
        Labels in the order of the classifier's outputs, sorted or not.

    Returns
    -------
    columns : ndarray of shape (n,), dtype int64

    Raises
    ------
    ValueError
        For scalars, column vectors and labels that are not among the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.layout import columns_of
    >>> columns_of(["cat", "ant"], np.array(["ant", "bee", "cat"]))
    array([2, 0])
    """
    labels = np.asarray(y)
    if labels.dtype.kind in "US" and not isinstance(y, np.ndarray):
        # NumPy's own strings lose the null characters that they end in.
        labels = np.asarray(y, dtype=object)
    if labels.ndim == 0:
        raise ValueError(
            f"y must be a 1-D vector of labels, got the scalar {y!r}. Pass a list: [{y!r}]."
        )
    if labels.ndim > 1:
        raise ValueError(
            f"y must be a 1-D vector of labels, got shape {labels.shape}. Pass y.ravel() for a "
            "column vector, or weights= for a matrix of class weights."
        )
    column = {label: index for index, label in enumerate(np.asarray(classes).tolist())}
    labels = labels.tolist()
    unknown = sorted({str(label) for label in labels if label not in column})
    if unknown:
        raise ValueError(
            f"y holds labels that are not among the classifier's classes: {unknown[:5]}; known "
            f"are {_shortened(classes)}. For a torch module, name its outputs with classes=."
        )
    return np.array([column[label] for label in labels], dtype=np.int64)


def check_class_weights(weights, classes):
    """Validate class weights and normalise each row to sum to one.

    Parameters
    ----------
    weights : array-like or DataFrame of shape (n, n_classes)
        Non-negative; columns in the order of `classes`, a DataFrame's by name (absent ones are 0).
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    weights : ndarray of shape (n, n_classes), dtype float64

    Raises
    ------
    ValueError
        For a wrong shape, unknown column names, negative or non-finite weights, those that are no
        numbers, and all-zero rows.

    Examples
    --------
    >>> from skinvert.layout import check_class_weights
    >>> check_class_weights([[1, 3]], ["a", "b"])
    array([[0.25, 0.75]])
    """
    if hasattr(weights, "columns"):
        weights = _frame_to_matrix(weights, classes)
    try:
        weights = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"weights must be numbers, one column a class: {error}.") from None
    if weights.ndim != 2 or weights.shape[1] != len(classes):
        raise ValueError(
            f"weights must have shape (n, {len(classes)}), one column a class in the order of "
            f"classes_, got {weights.shape}."
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        row = np.flatnonzero(~np.isfinite(weights).all(1) | (weights < 0).any(1))[0]
        raise ValueError(
            f"weights must be finite and non-negative, got {weights[row].tolist()} in row {row}."
        )
    totals = weights.sum(axis=1, keepdims=True)
    if (totals == 0).any():
        raise ValueError(
            f"weights of row {int(np.flatnonzero(totals[:, 0] == 0)[0])} are all zero; give at "
            "least one class a positive weight."
        )
    return weights / totals


def _frame_to_matrix(frame, classes):
    known = np.asarray(classes).tolist()
    names = list(frame.columns)
    unknown = [name for name in names if name not in known]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if unknown or repeated:
        raise ValueError(
            f"weights has columns that are not classes, or twice: {(unknown + repeated)[:5]}; "
            f"known classes are {_shortened(classes)}."
        )
    return np.column_stack(
        [frame[c].to_numpy() if c in names else np.zeros(len(frame)) for c in known]
    )


def _shortened(classes, most=12):
    labels = np.asarray(classes).tolist()
    return f"{labels[:most]}"[:-1] + (", …]" if len(labels) > most else "]")

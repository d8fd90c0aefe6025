"""Whether generated images lie where real ones lie, and everywhere: by nearest neighbours."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Bunch

from skinvert.metrics._checks import check_pair

__all__ = ["prdc"]

_BLOCK = 2**21  # distances held at once: 16 MiB
_SPARE = 4  # neighbours beyond the k-th that rounding may have put out of order


def prdc(features: ArrayLike, real_features: ArrayLike, *, k: int = 5) -> Bunch:
    """Improved precision and recall, density and coverage.

    Each row has a ball that reaches to its k-th nearest neighbour in its own set. Distances are
    compared strictly, as published; where rounding could decide a comparison, both distances are
    taken again from differences, so that copies and other ties count as in exact arithmetic.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images.
    real_features : array-like of shape (m, n_features)
        From the same extractor; at best as many rows, for recall depends on n and coverage on
        both.
    k : int, default=5
        Neighbours, the row itself not counted.

    Returns
    -------
    figures : Bunch
        precision
            Share of generated rows inside the ball of some real row.
        recall
            Share of real rows inside the ball of some generated row.
        density
            Mean number of real balls around a generated row, over k; may exceed 1.
        coverage
            Share of real rows whose ball holds a generated row.

        Where all rows of both sets are equal, balls are empty and all four are 0.

    Raises
    ------
    ValueError
        If the widths differ, a set has k rows or fewer, or a value is NaN or infinite.

    Notes
    -----
    Kynkäänniemi et al., "Improved Precision and Recall Metric", NeurIPS 2019, section 3; Naeem et
    al., "Reliable Fidelity and Diversity Metrics", ICML 2020, section 3. Memory grows with the
    sets and not with their product.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import prdc
    >>> real = np.arange(6.0)[:, None]
    >>> figures = prdc([[0.5], [1.5], [9.0]], real, k=1)
    >>> round(figures.precision, 3), figures.coverage
    (0.667, 0.5)
    """
    rows, real_rows = check_pair(features, real_features)
    smaller = min(len(rows), len(real_rows))
    if not 1 <= k < smaller:
        raise ValueError(
            f"k must lie between 1 and {smaller - 1}, one less than the rows of the smaller set; "
            f"got k={k!r} for {len(rows)} and {len(real_rows)} rows. Give more rows or a "
            "smaller k."
        )
    radii, real_radii = _squared_radii(rows, k), _squared_radii(real_rows, k)
    balls_around = np.zeros(len(rows), dtype=np.int64)
    covered, recalled = np.zeros((2, len(real_rows)), dtype=bool)
    for block, distances, slack in _squared_distances(real_rows, rows):
        pair = real_rows[block], rows
        real_ball = _below(distances, real_radii[block, None], slack, *pair)
        balls_around += real_ball.sum(0)
        covered[block] = real_ball.any(1)
        recalled[block] = _below(distances, radii[None, :], slack, *pair).any(1)
    return Bunch(
        precision=float(np.mean(balls_around > 0)),
        recall=float(recalled.mean()),
        density=float(balls_around.mean() / k),
        coverage=float(covered.mean()),
    )


def _squared_radii(rows, k):
    """Squared distance of each row to its k-th nearest neighbour in its own set."""
    n_neighbors = min(k + 1 + _SPARE, len(rows))
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(rows)
    nearest = search.kneighbors(rows, return_distance=False)
    step = max(1, _BLOCK // (n_neighbors * rows.shape[1]))
    distances = [
        np.square(rows[start : start + step, None] - rows[nearest[start : start + step]]).sum(2)
        for start in range(0, len(rows), step)
    ]
    # The row itself, or a twin of it, is the zeroth.
    return np.partition(np.concatenate(distances), k, axis=1)[:, k]


def _squared_distances(first, second):
    """Blocks of rows of `first`, their squared distances to `second`, and the rounding's bound."""
    # Far from the origin the difference of large squares would lose its digits.
    centre = second.mean(0)
    first, second = first - centre, second - centre
    squares, others = (np.square(rows).sum(1) for rows in (first, second))
    precision = 4 * (first.shape[1] + 4) * np.finfo(np.float64).eps
    step = max(1, _BLOCK // len(second))
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        distances = first[block] @ second.T
        distances *= -2
        distances += squares[block, None]
        distances += others
        yield block, distances, precision * (squares[block].max() + others.max())


def _below(distances, radii, slack, first, second):
    """Whether squared distances are less than radii; close calls are settled by differences."""
    excess = distances - radii
    below = excess < 0
    rows, columns = np.nonzero(np.abs(excess, out=excess) < slack)
    radii = np.broadcast_to(radii, distances.shape)
    step = max(1, _BLOCK // first.shape[1])
    for start in range(0, len(rows), step):
        i, j = rows[start : start + step], columns[start : start + step]
        below[i, j] = np.square(first[i] - second[j]).sum(1) < radii[i, j]
    return below

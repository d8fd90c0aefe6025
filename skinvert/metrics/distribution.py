"""Whether generated images are distributed as real ones, in pixels or in somebody's features."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from skinvert.metrics._checks import check_pair

__all__ = [
    "frechet_distance",
    "frechet_distance_at_infinity",
    "kernel_distance",
    "mind",
    "sliced_wasserstein",
]

_BLOCK = 2**21  # numbers held at once: 16 MiB


def frechet_distance(features: ArrayLike, real_features: ArrayLike) -> float:
    r"""Fréchet distance between the Gaussians of two sets of features.

    :math:`\lVert\mu_1-\mu_2\rVert^2 + \mathrm{tr}(S_1 + S_2 - 2(S_1 S_2)^{1/2})`, in float64. The
    root's trace is the sum of the roots of the eigenvalues of :math:`L^T S_2 L`, where
    :math:`S_1 = L L^T`: real and non-negative, without a matrix square root.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images. At most 128 features: the bias grows with their square over n.
    real_features : array-like of shape (m, n_features)
        Of real images, from the same extractor.

    Returns
    -------
    distance : float
        Non-negative, in squared units of the features; print it beside its value between two sets
        of real images. Fewer rows than features, and constant features, are allowed.

    Raises
    ------
    ValueError
        If the widths differ, a set has fewer than two rows, or a value is NaN or infinite.

    Notes
    -----
    Dowson and Landau 1982. The figure belongs to its extractor: it is no Inception FID, and the
    bias of about d²/2n does not let it be compared across n.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import frechet_distance
    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(x + 2.0, x), 6)
    12.0
    """
    return _frechet(*check_pair(features, real_features, minimum=2))


def _frechet(features, real_features):
    mean, covariance = _moments(features)
    real_mean, real_covariance = _moments(real_features)
    traces = np.trace(covariance) + np.trace(real_covariance)
    root_trace = _root_trace(covariance, real_covariance)
    return float(max(((mean - real_mean) ** 2).sum() + traces - 2 * root_trace, 0.0))


def _moments(rows):
    mean, n = rows.mean(0), len(rows)
    # A matrix times its own transpose costs half a product, and nearly all of the time.
    covariance = (rows.T @ rows - n * np.outer(mean, mean)) / (n - 1)
    if n <= rows.shape[1] or (mean**2 > 10 * np.diag(covariance)).any():
        # The difference would cost digits; a centred copy costs memory instead.
        centred = rows - mean
        covariance = centred.T @ centred / (n - 1)
    return mean, covariance


def _root_trace(first, second):
    """Trace of the square root of the product of two covariances."""
    try:
        eigenvalues = linalg.eigh(
            second, first, type=2, eigvals_only=True, driver="gv", check_finite=False
        )
    except linalg.LinAlgError:
        # A singular covariance has no Cholesky factor, but one of fewer columns.
        spread, vectors = np.linalg.eigh(first)
        kept = spread > spread[-1] * len(spread) * np.finfo(np.float64).eps
        factor = vectors[:, kept] * np.sqrt(spread[kept])
        eigenvalues = np.linalg.eigvalsh(factor.T @ second @ factor)
    return np.sqrt(eigenvalues.clip(0)).sum()


def frechet_distance_at_infinity(
    features: ArrayLike, real_features: ArrayLike, *, n_points: int = 15, random_state: int = 0
) -> float:
    """Fréchet distance extrapolated to infinitely many rows.

    The distance of nested random subsets is a straight line in 1/n but for higher orders; its
    value at 1/n = 0 is returned. Both sets are thinned alike, so that the bias of either goes:
    between two samples of one distribution the figure is near zero.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images; several times as many rows as features.
    real_features : array-like of shape (m, n_features)
        Of real images, from the same extractor.
    n_points : int, default=15
        Subset sizes, evenly from a quarter of the rows to all.
    random_state : int, default=0
        Seed of the subsets.

    Returns
    -------
    distance : float
        Can fall below zero where the true distance is smaller than the noise.

    Raises
    ------
    ValueError
        As `frechet_distance`; if a set has fewer than 8 rows; if n_points is less than 2.

    Notes
    -----
    Chong and Forsyth, "Effectively Unbiased FID and Inception Score", CVPR 2020, section 4. They
    thin the generated set alone, which leaves the bias of a small real set.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import frechet_distance, frechet_distance_at_infinity
    >>> x, y = np.random.default_rng(0).normal(size=(2, 1000, 64))
    >>> frechet_distance(x, y) > 2, abs(frechet_distance_at_infinity(x, y)) < 0.2
    (True, True)
    """
    generated, real = check_pair(features, real_features, minimum=8)
    if n_points < 2:
        raise ValueError(
            f"n_points must be at least 2, for a line has two ends; got {n_points!r}. "
            "Leave it at 15."
        )
    rng = np.random.default_rng(random_state)
    shuffled = [rows[rng.permutation(len(rows))] for rows in (generated, real)]
    shares = np.linspace(0.25, 1, n_points)
    distances = [
        _frechet(*(rows[: max(2, round(share * len(rows)))] for rows in shuffled))
        for share in shares
    ]
    return float(np.polyfit(1 / shares, distances, deg=1)[1])


def kernel_distance(
    features: ArrayLike,
    real_features: ArrayLike,
    *,
    subset_size: int | None = None,
    n_subsets: int = 100,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    random_state: int = 0,
) -> tuple[float, float]:
    r"""Squared maximum mean discrepancy with the kernel :math:`(\gamma x^T y + c)^p`, unbiased.

    With the features of an Inception network it is the kernel inception distance (KID).

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images.
    real_features : array-like of shape (m, n_features)
        Of real images, from the same extractor.
    subset_size : int or None, default=None
        None uses every pair of rows once, and the jackknife for the error. A number takes the
        mean over random subsets of that size, as published tables do.
    n_subsets : int, default=100
        Read where `subset_size` is a number.
    degree : int, default=3
        The power p.
    gamma : float or None, default=None
        None is 1 / n_features.
    coef0 : float, default=1.0
        The constant c.
    random_state : int, default=0
        Seed of the subsets.

    Returns
    -------
    value : float
        Without bias, hence below zero about half of the time between samples of one distribution.
    standard_error : float
        Of the value. From subsets it is their standard deviation, scaled from the subset's size
        to that of the smaller set, which errs on the large side; NaN where a subset is the whole.

    Raises
    ------
    ValueError
        If the widths differ, a set has fewer than 3 rows, a subset is larger than a set, or a
        value is NaN or infinite.

    Notes
    -----
    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4; Gretton et al., JMLR 2012,
    eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import kernel_distance
    >>> x, y = np.random.default_rng(0).normal(size=(2, 300, 4))
    >>> value, error = kernel_distance(x, y)
    >>> abs(value) < 3 * error
    True
    """
    rows, real_rows = check_pair(features, real_features, minimum=3)
    scale = 1 / rows.shape[1] if gamma is None else gamma

    def kernel(first, second):
        return (scale * (first @ second.T) + coef0) ** degree

    if subset_size is None:
        return _whole_discrepancy(rows, real_rows, kernel)
    smaller = min(len(rows), len(real_rows))
    if not 2 <= subset_size <= smaller or n_subsets < 2:
        raise ValueError(
            f"subset_size must lie between 2 and the rows of the smaller set, {smaller}, and "
            f"n_subsets be at least 2; got {subset_size!r} and {n_subsets!r}. subset_size=None "
            "uses all rows."
        )
    rng = np.random.default_rng(random_state)
    values = []
    for _ in range(n_subsets):
        some = rows[rng.permutation(len(rows))[:subset_size]]
        real = real_rows[rng.permutation(len(real_rows))[:subset_size]]
        within = [(k.sum() - np.trace(k)) for k in (kernel(some, some), kernel(real, real))]
        pairs = subset_size * (subset_size - 1)
        values.append(sum(within) / pairs - 2 * kernel(some, real).mean())
    left = smaller - subset_size
    share = np.sqrt(subset_size / left) if left else np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1) * share)


def _whole_discrepancy(first, second, kernel):
    """Unbiased discrepancy over all pairs, and the jackknife's standard error."""
    n, m = len(first), len(second)
    own_first, own_second = _sums_within(first, kernel), _sums_within(second, kernel)
    to_second, to_first = _sums_between(first, second, kernel)

    def assemble(within_first, within_second, between, n, m):
        return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)

    totals = own_first.sum(), own_second.sum(), to_second.sum()
    without_first = assemble(totals[0] - 2 * own_first, totals[1], totals[2] - to_second, n - 1, m)
    without_second = assemble(totals[0], totals[1] - 2 * own_second, totals[2] - to_first, n, m - 1)
    variance = (n - 1) * without_first.var() + (m - 1) * without_second.var()
    return float(assemble(*totals, n, m)), float(np.sqrt(variance))


def _sums_within(rows, kernel):
    """Of each row, the kernel's sum over the other rows."""
    sums = _sums_between(rows, rows, kernel)[0]
    return sums - np.array([kernel(row[None], row[None]).item() for row in rows])


def _sums_between(first, second, kernel):
    row_sums, column_sums = np.empty(len(first)), np.zeros(len(second))
    step = max(1, _BLOCK // len(second))
    for start in range(0, len(first), step):
        values = kernel(first[start : start + step], second)
        row_sums[start : start + step] = values.sum(1)
        column_sums += values.sum(0)
    return row_sums, column_sums


def sliced_wasserstein(
    features: ArrayLike,
    real_features: ArrayLike,
    *,
    n_projections: int = 1000,
    random_state: int = 0,
) -> float:
    r"""Sliced Wasserstein-2 distance: the root of the mean over random directions of :math:`W_2^2`.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images.
    real_features : array-like of shape (m, n_features)
        Sets of unequal size are compared exactly, by their quantile functions.
    n_projections : int, default=1000
        Directions, uniform on the sphere.
    random_state : int, default=0
        Seed of the directions.

    Returns
    -------
    distance : float
        Non-negative, in units of the features.

    Raises
    ------
    ValueError
        If the widths differ, a set is empty, a value is NaN or infinite, or n_projections is less
        than 1.

    Notes
    -----
    Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", 2015.

    Examples
    --------
    >>> from skinvert.metrics import sliced_wasserstein
    >>> sliced_wasserstein([[0.0], [1.0]], [[2.0], [3.0]])
    2.0
    """
    generated, real = check_pair(features, real_features)
    if n_projections < 1:
        raise ValueError(
            f"n_projections must be at least 1, got {n_projections!r}. Leave it at 1000."
        )
    rng = np.random.default_rng(random_state)
    directions = rng.normal(size=(n_projections, generated.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    n, m = len(generated), len(real)
    # Both quantile functions are constant between these levels, counted in units of 1 / (n m).
    cuts = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    widths, index, real_index = np.diff(cuts) / (n * m), cuts[:-1] // m, cuts[:-1] // n
    squares = 0.0
    step = max(1, _BLOCK // (n + m))
    for start in range(0, n_projections, step):
        some = directions[start : start + step]
        projected = np.sort(some @ generated.T, axis=1)[:, index]
        projected -= np.sort(some @ real.T, axis=1)[:, real_index]
        squares += (np.square(projected, out=projected) @ widths).sum()
    return float(np.sqrt(squares / n_projections))


def mind(
    features: ArrayLike,
    real_features: ArrayLike,
    *,
    n_projections: int = 1000,
    random_state: int = 0,
) -> float:
    """Monge distance of features (MIND): 3 d times the squared sliced Wasserstein-2 distance.

    It compares the whole of each projection and not two moments alone.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images.
    real_features : array-like of shape (m, n_features)
        Of real images, from the same extractor.
    n_projections : int, default=1000
        Random directions that are averaged over.
    random_state : int, default=0
        Seed of the directions.

    Returns
    -------
    distance : float
        Non-negative, in squared units of the features. Print it beside its value between two sets
        of real images.

    Raises
    ------
    ValueError
        As `sliced_wasserstein`.

    Notes
    -----
    Berthet et al., "MIND: Monge Inception Distance for Generative Models Evaluation",
    arXiv:2605.06797, with any extractor in place of the Inception network. Sets of unequal size
    are compared whole; the published code thins the larger.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import mind
    >>> round(mind(np.ones((5, 1)), np.zeros((5, 1))), 6)
    3.0
    """
    distance = sliced_wasserstein(
        features, real_features, n_projections=n_projections, random_state=random_state
    )
    return 3 * np.shape(features)[1] * distance**2

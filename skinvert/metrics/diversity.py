"""Whether a generator shows variety: within a class, and over the modes of real images."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_chunked

from skinvert.metrics._checks import check_labels, check_pair

__all__ = ["mode_coverage", "relative_diversity"]


def relative_diversity(
    X_generated: ArrayLike, y_generated: ArrayLike, X: ArrayLike, y: ArrayLike
) -> float:
    """Mean distance between images of one class, relative to that of real ones.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), or images
        Generated rows.
    y_generated : array-like of shape (n_generated,)
        Labels that were asked for.
    X : array-like of shape (n_samples, n_features), or images
        Real rows.
    y : array-like of shape (n_samples,)

    Returns
    -------
    diversity : float
        1 is as varied as real rows, 0 is one image a class. The mean over the classes that have
        two rows or more on both sides, the real ones not all alike; NaN where none has.

    Raises
    ------
    ValueError
        If widths or lengths differ, or a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import relative_diversity
    >>> X, y = np.array([[0.0], [2.0]]), np.array([0, 0])
    >>> relative_diversity(X / 2, y, X, y)
    0.5
    """
    rows, real_rows = check_pair(X_generated, X, ("X_generated", "X"))
    labels = check_labels(y_generated, len(rows), "y_generated")
    real_labels = check_labels(y, len(real_rows))
    ratios = []
    for label in np.unique(real_labels):
        generated, real = rows[labels == label], real_rows[real_labels == label]
        if min(len(generated), len(real)) > 1 and np.ptp(real, axis=0).any():
            ratios.append(_mean_distance(generated) / _mean_distance(real))
    return float(np.mean(ratios)) if ratios else float("nan")


def _mean_distance(rows):
    sums = pairwise_distances_chunked(rows, reduce_func=lambda part, _: part.sum(1))
    return np.concatenate(list(sums)).sum() / (len(rows) * (len(rows) - 1))


def mode_coverage(
    features: ArrayLike, real_features: ArrayLike, *, n_modes: int = 100, random_state: int = 0
) -> float:
    """Share of the modes of real images that generated ones reach.

    Modes are k-means clusters of the real rows. One is reached if a generated row lies in it:
    nearest to its centre, and no farther from it than the farthest real row of the cluster.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images; several for each mode, or chance alone leaves modes out.
    real_features : array-like of shape (m, n_features)
        From the same extractor.
    n_modes : int, default=100
        Clusters, at most one for two real rows.
    random_state : int, default=0
        Seed of k-means.

    Returns
    -------
    coverage : float
        In [0, 1]. One image a class reaches a class's share of the modes at the most, noise none.
        Print the share that as many real rows reach beside it.

    Raises
    ------
    ValueError
        If the widths differ, there are fewer than two real rows for each mode, or a value is NaN
        or infinite.

    Notes
    -----
    Modes as k-means bins of real images: Richardson and Weiss, "On GANs and GMMs", NeurIPS 2018,
    section 3. They compare the bins' proportions; here a bin is only reached or not.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import mode_coverage
    >>> real = np.array([[0.0], [0.2], [5.0], [5.2], [9.0], [9.2]])
    >>> round(mode_coverage([[0.1], [5.1], [7.5]], real, n_modes=3), 3)
    0.667
    """
    generated, real = check_pair(features, real_features)
    if not 1 <= n_modes <= len(real) // 2:
        raise ValueError(
            f"n_modes must lie between 1 and half the real rows, {len(real) // 2}; got "
            f"{n_modes!r}. Give more real rows or fewer modes."
        )
    clusters = KMeans(n_modes, n_init=1, random_state=random_state).fit(real)
    nearest, distance = _place(generated, clusters.cluster_centers_)
    real_nearest, real_distance = _place(real, clusters.cluster_centers_)
    reach = np.full(n_modes, -1.0)
    np.maximum.at(reach, real_nearest, real_distance)
    # Rounding should not put a copy of the farthest row outside.
    inside = distance <= reach[nearest] * (1 + 1e-12)
    n_real_modes = len(np.unique(real_nearest))
    return len(np.unique(nearest[inside])) / n_real_modes


def _place(rows, centres):
    """Index of each row's nearest centre, and the distance to it."""
    nearest = np.concatenate(
        list(pairwise_distances_chunked(rows, centres, reduce_func=lambda part, _: part.argmin(1)))
    )
    return nearest, np.linalg.norm(rows - centres[nearest], axis=1)

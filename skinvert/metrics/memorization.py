"""Whether a generator shows variety, and whether that variety is more than its training rows."""

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

__all__ = ["authenticity", "relative_diversity"]


def relative_diversity(X_generated, y_generated, X, y):
    """Mean distance between images of one class, relative to that of real ones.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
    y_generated : array-like of shape (n_generated,)
    X : array-like of shape (n_samples, n_features)
        Real rows.
    y : array-like of shape (n_samples,)

    Returns
    -------
    diversity : float
        1 is as varied as real rows, 0 is one image a class. The mean over the classes that have
        two rows or more on both sides; NaN where none has.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import relative_diversity
    >>> X, y = np.array([[0.0], [2.0]]), np.array([0, 0])
    >>> relative_diversity(X / 2, y, X, y)
    0.5
    """
    X_generated, X = np.asarray(X_generated, dtype=np.float64), np.asarray(X, dtype=np.float64)
    y_generated, y = np.asarray(y_generated), np.asarray(y)
    ratios = [
        _mean_distance(X_generated[y_generated == label]) / _mean_distance(X[y == label])
        for label in np.unique(y)
        if min((y_generated == label).sum(), (y == label).sum()) > 1
    ]
    return float(np.mean(ratios)) if ratios else float("nan")


def _mean_distance(rows):
    return pairwise_distances(rows).sum() / (len(rows) * (len(rows) - 1))


def authenticity(X_generated, X_train):
    """Share of generated rows that are farther from their nearest training row than that row is
    from its own nearest neighbour.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
    X_train : array-like of shape (n_samples, n_features)

    Returns
    -------
    share : float
        In [0, 1]. Copies score 0. Print the share of real held-out rows beside it, which is about
        one half. It certifies no privacy.

    Notes
    -----
    Alaa et al., "How faithful is your synthetic data?", ICML 2022, section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import authenticity
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> authenticity(X, X), authenticity([[-2.0]], X)
    (0.0, 1.0)
    """
    X_generated = np.asarray(X_generated, dtype=np.float64)
    X_train = np.asarray(X_train, dtype=np.float64)
    neighbours = NearestNeighbors(n_neighbors=1).fit(X_train)
    distance, nearest = neighbours.kneighbors(X_generated)
    own = NearestNeighbors(n_neighbors=2).fit(X_train).kneighbors(X_train)[0][:, 1]
    return float(np.mean(distance[:, 0] > own[nearest[:, 0]]))

"""Whether a generator shows more than its training rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Bunch

from skinvert.metrics._checks import check_pair, check_rows
from skinvert.metrics.similarity import extract, shape_of_images, unit_rows
from skinvert.models.similarity import pairwise_structural_similarity

__all__ = ["authenticity", "closest_matches", "nearest_distance_ratio"]

_BLOCK = 2**21  # numbers of training images held at once
_SPARE = 4  # neighbours beyond those asked for, that ties and rounding may have put out of order


def authenticity(X_generated: ArrayLike, X_train: ArrayLike) -> float:
    """Share of generated rows that are no near copies of training rows.

    A row counts if it is farther from its nearest training row than that row is from its own
    nearest neighbour.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), or images
        Generated rows.
    X_train : array-like of shape (n_samples, n_features), or images
        What the generator learned from.

    Returns
    -------
    share : float
        In [0, 1]. Copies score 0. Print the share of real held-out rows beside it, which is about
        one half. Of training rows equally near, the one farthest from its neighbour counts. It
        certifies no privacy.

    Raises
    ------
    ValueError
        If the widths differ, there are fewer than 2 training rows, or a value is NaN or infinite.

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
    generated, train = check_pair(X_generated, X_train, ("X_generated", "X_train"))
    check_rows(train, "X_train", minimum=2)
    nearest, distance = _nearest(generated, train, min(1 + _SPARE, len(train)))
    tied = distance == distance[:, :1]
    matched, place = np.unique(nearest[tied], return_inverse=True)
    # Of a training row, its own nearest neighbour is the second nearest of all.
    own = np.zeros_like(distance)
    own[tied] = _nearest(train[matched], train, 2)[1][place, 1]
    farthest = own.max(1)
    return float(np.mean(distance[:, 0] > farthest))


def nearest_distance_ratio(X_generated: ArrayLike, X_train: ArrayLike, X_test: ArrayLike) -> float:
    """Mean distance to the nearest training row over that to the nearest held-out row.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), or images
        Generated rows.
    X_train : array-like of shape (n_samples, n_features), or images
        What the generator learned from.
    X_test : array-like of shape (n_test, n_features), or images
        Held-out rows of the same source, at best as many: the nearest row of a larger set is
        nearer.

    Returns
    -------
    ratio : float
        1 is indifferent to what was learned, 0 is a copycat. Infinite where all generated rows are
        copies of held-out ones, NaN where they are copies of both.

    Raises
    ------
    ValueError
        If the widths differ, a set is empty, or a value is NaN or infinite.

    Examples
    --------
    >>> from skinvert.metrics import nearest_distance_ratio
    >>> nearest_distance_ratio([[1.0], [2.0]], [[0.0], [3.0]], [[-1.0], [4.0]])
    0.5
    """
    names = "X_generated", "X_train", "X_test"
    _, train = check_pair(X_generated, X_train, names[:2])
    generated, test = check_pair(X_generated, X_test, names[::2])
    return ratio_of_distances(*(nearest_distances(generated, rows) for rows in (train, test)))


def nearest_distances(rows: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Distance (n,) of each row to the nearest of the others."""
    return _nearest(rows, others)[1][:, 0]


def ratio_of_distances(to_train: ArrayLike, to_test: ArrayLike) -> float:
    """Of the means of two sets of distances."""
    near, far = np.mean(np.asarray(to_train)), np.mean(np.asarray(to_test))
    if far == 0:
        return float("nan") if near == 0 else float("inf")
    return float(near / far)


def closest_matches(
    X_generated: ArrayLike,
    X_train: ArrayLike,
    *,
    image_shape: Sequence[int] | None = None,
    extractor: Any = None,
    k: int = 1,
) -> Bunch:
    """The training rows that look most like each generated one, by several measures.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), (n, H, W) or (n, C, H, W)
        Generated rows.
    X_train : array-like of shape (n_samples, n_features), (n, H, W) or (n, C, H, W)
        What the generator learned from.
    image_shape : tuple (H, W) or (C, H, W), or None, default=None
        For SSIM, which is left out where rows are no images: where None infers no shape.
    extractor : fitted transformer, callable or None, default=None
        Latent space, as for `feature_distance`. None leaves out what needs one.
    k : int, default=1
        Matches for each generated row.

    Returns
    -------
    matches : Bunch
        One entry a measure, best match first, each a Bunch of ``indices`` (rows of X_train) and
        ``scores``, both of shape (n_generated, k):

        mse
            Mean squared error of the pixels.
        ssim
            Structural similarity, the largest first, for images in a range of 1. The window is 11
            pixels, or what fits into smaller images.
        latent_mse
            Mean squared error of the extractor's features.
        feature_distance
            As the function of this name.

    Raises
    ------
    ValueError
        If the widths differ, k exceeds the training rows, or a value is NaN or infinite.

    Notes
    -----
    ReGene (Neurocomputing 2022), section 6.4: a copy shows as an MSE of 0 and an SSIM of 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import closest_matches
    >>> X = np.random.default_rng(0).uniform(size=(5, 64))
    >>> matches = closest_matches(X[[3, 1]] + 0.01, X)
    >>> sorted(matches), matches.ssim.indices.ravel().tolist()
    (['mse', 'ssim'], [3, 1])
    """
    generated, train = check_pair(X_generated, X_train, ("X_generated", "X_train"))
    if not 1 <= k <= len(train):
        raise ValueError(
            f"k must lie between 1 and the number of training rows, {len(train)}; got {k!r}."
        )
    matches = Bunch(mse=_match_by_error(generated, train, k))
    shape = shape_of_images(X_generated, image_shape)
    if shape is not None and min(shape[1:]) >= 3:
        images, others = (torch.from_numpy(X.reshape(-1, *shape)) for X in (generated, train))
        matches.ssim = _match_by_structure(images, others, k)
    if extractor is not None:
        latent, latent_train = (extract(extractor, X) for X in (X_generated, X_train))
        matches.latent_mse = _match_by_error(latent, latent_train, k)
        unit, unit_train = unit_rows(latent), unit_rows(latent_train)
        matches.feature_distance = _match_by_error(unit, unit_train, k, of_sum=True)
    return matches


def _nearest(rows, others, k=1):
    """Indices of the k nearest other rows, nearest first, and their distances, both (n, k)."""
    search = NearestNeighbors(n_neighbors=min(k + _SPARE, len(others)), algorithm="brute")
    found = search.fit(others).kneighbors(rows, return_distance=False)
    # From differences, so that a copy's distance is zero and not a rounding's root.
    distances = np.stack(
        [np.linalg.norm(others[near] - row, axis=1) for near, row in zip(found, rows, strict=True)]
    )
    order = np.lexsort((found, distances), axis=1)[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _match_by_error(rows, others, k, of_sum=False):
    indices, distances = _nearest(rows, others, k)
    return Bunch(indices=indices, scores=distances**2 / (1 if of_sum else rows.shape[1]))


def _match_by_structure(images, others, k):
    """Largest SSIM, training images block by block."""
    side = min(images.shape[2:])
    window = min(11, side - 1 + side % 2)
    found = np.empty((len(images), 0)), np.empty((len(images), 0), dtype=np.int64)
    step = max(1, _BLOCK // others[0].numel())
    for start in range(0, len(others), step):
        block = others[start : start + step]
        with torch.no_grad():
            values = pairwise_structural_similarity(images, block, window=window).numpy()
        indices = np.broadcast_to(np.arange(start, start + len(block)), values.shape)
        values, indices = np.hstack([found[0], values]), np.hstack([found[1], indices])
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        found = (
            np.take_along_axis(values, order, axis=1),
            np.take_along_axis(indices, order, axis=1),
        )
    return Bunch(indices=found[1], scores=found[0])

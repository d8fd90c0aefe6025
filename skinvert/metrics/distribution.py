"""Whether generated images are distributed as real ones, in pixels or in somebody's features."""

import numpy as np

__all__ = ["frechet_distance"]


def frechet_distance(features, real_features):
    r"""Fréchet distance between the Gaussians of two sets of features.

    :math:`\lVert\mu_1-\mu_2\rVert^2 + \mathrm{tr}(S_1 + S_2 - 2(S_1^{1/2} S_2 S_1^{1/2})^{1/2})`
    by two symmetric eigendecompositions in float64; correct where rows are fewer than features.

    Parameters
    ----------
    features : array-like of shape (n, n_features)
        Of generated images. At most 128 features: the bias grows with their square over n.
    real_features : array-like of shape (m, n_features)
        Of real images, from the same extractor.

    Returns
    -------
    distance : float
        Non-negative; print it beside its value between two sets of real images.

    Raises
    ------
    ValueError
        If the widths differ or a set has fewer than two rows.

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
    sets = [np.asarray(values, dtype=np.float64) for values in (features, real_features)]
    for values in sets:
        if values.ndim != 2 or len(values) < 2 or values.shape[1] != sets[0].shape[1]:
            raise ValueError(
                "frechet_distance needs two arrays of at least 2 rows and equal width, got "
                f"{sets[0].shape} and {sets[1].shape}."
            )
    means = [values.mean(0) for values in sets]
    covariances = [np.atleast_2d(np.cov(values, rowvar=False)) for values in sets]
    eigenvalues, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(eigenvalues.clip(0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ covariances[1] @ root)
    traces = sum(np.trace(covariance) for covariance in covariances)
    distance = ((means[0] - means[1]) ** 2).sum() + traces - 2 * np.sqrt(product.clip(0)).sum()
    return float(max(distance, 0.0))

"""Layers that all classes of a sliced flow share: a spline a pixel, mixtures of image patches."""

import itertools
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import nn

from skinvert.flows.transports import MixtureTransport, RationalQuadraticSplines

__all__ = ["PatchMixtures", "PixelSplines", "fitted_mixture", "shared_layers", "tiling"]

_WIDE_SHARE = 0.01
_LEAST_ROWS = 12  # rows that a component of a mixture rests on, at least
_ROWS_AT_ONCE = 512


class PixelSplines(nn.Module):
    """One monotone spline a feature, which makes its distribution normal.

    Parameters
    ----------
    splines : RationalQuadraticSplines
        n_features of them.

    Notes
    -----
    The smallest patches of Dai and Seljak, "Sliced Iterative Normalizing Flows", ICML 2021,
    section 4.3.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.flows.patches import PixelSplines
    >>> rows = np.random.default_rng(0).gamma(2.0, size=(200, 4))
    >>> layer, x = PixelSplines.fit(rows), torch.from_numpy(rows)
    >>> bool((layer.inverse(layer(x)[0]) - x).abs().max() < 1e-9)
    True
    """

    def __init__(self, splines):
        super().__init__()
        self.splines = splines

    @classmethod
    def fit(cls, rows, *, n_knots=32, shrinkage=0.02):
        """The layer whose splines carry the values of rows (n, n_features) to normal ones."""
        return cls(RationalQuadraticSplines.to_normal(rows, n_knots=n_knots, shrinkage=shrinkage))

    def forward(self, x):
        """Outputs (n, n_features) and log-determinants (n,)."""
        bent, log_slopes = self.splines(x)
        return bent, log_slopes.sum(1)

    def slopes(self):
        """Of the splines between their knots."""
        return self.splines.slopes

    def inverse(self, z):
        """Inputs of outputs (n, n_features)."""
        return self.splines.inverse(z)


class PatchMixtures(nn.Module):
    """The transport of a mixture of Gaussians for every patch of a tiling.

    Parameters
    ----------
    patches : list of Tensor of int
        Features of each patch; no feature twice.
    transports : list of MixtureTransport

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.flows.patches import PatchMixtures
    >>> rows = np.random.default_rng(0).gamma(2.0, size=(200, 4))
    >>> layer = PatchMixtures.fit(rows, [torch.tensor([0, 1]), torch.tensor([2, 3])], n_mixture=3)
    >>> x = torch.from_numpy(rows)
    >>> bool((layer.inverse(layer(x)[0]) - x).abs().max() < 1e-8)
    True
    """

    def __init__(self, patches, transports):
        super().__init__()
        self.register_buffer("order", torch.cat(patches))
        self.sizes = [len(patch) for patch in patches]
        self.transports = nn.ModuleList(transports)

    @classmethod
    def fit(cls, rows, patches, *, n_mixture, ridge=1e-3, seed=0):
        """The layer whose mixtures are fitted to the patches of rows (n, n_features)."""
        mixtures = [
            fitted_mixture(
                rows[:, patch.numpy()], ridge, n_mixture, seed, least_rows=10 * len(patch)
            )
            for patch in patches
        ]
        return cls(patches, mixtures)

    def _transported(self, x, transport):
        parts = x[:, self.order].split(self.sizes, dim=1)
        done = [transport(map_, part) for map_, part in zip(self.transports, parts, strict=True)]
        out = torch.empty_like(x)
        out[:, self.order] = torch.cat([values for values, _ in done], dim=1)
        return out, done

    def forward(self, x):
        """Outputs (n, n_features) and log-determinants (n,)."""
        out, done = self._transported(x, lambda map_, part: map_(part))
        return out, sum(log_det for _, log_det in done)

    def slopes(self):
        """One over the components' conditional spreads."""
        return torch.cat([1 / map_.spreads.flatten() for map_ in self.transports])

    def inverse(self, z):
        """Inputs of outputs (n, n_features)."""
        return self._transported(z, lambda map_, part: (map_.inverse(part), None))[0]


def fitted_mixture(rows, noise_variance, n_mixture, seed, least_rows=_LEAST_ROWS):
    """EM on rows (n, k), with the noise on the diagonal of every covariance."""
    n_features = rows.shape[1]
    noise_variance = max(noise_variance, 1e-6)
    if len(rows) < 2:
        weights, means = np.ones(1), rows
        covariances = noise_variance * np.eye(n_features)[None]
    else:
        mixture = GaussianMixture(
            int(np.clip(len(rows) // least_rows, 1, n_mixture)),
            reg_covar=noise_variance,
            max_iter=30,
            tol=1e-2,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # Thirty steps are meant to be enough, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows)
        # One wide component under all others: without it the map would be flat between clusters,
        # and its inverse there a leap.
        whole = np.cov(rows, rowvar=False).reshape(n_features, n_features)
        whole = whole + noise_variance * np.eye(n_features)
        weights = np.append((1 - _WIDE_SHARE) * mixture.weights_, _WIDE_SHARE)
        means = np.concatenate([mixture.means_, rows.mean(0, keepdims=True)])
        covariances = np.concatenate([mixture.covariances_, whole[None]])
    factors = np.linalg.cholesky(covariances)
    return MixtureTransport(*(torch.from_numpy(array) for array in (weights, means, factors)))


def tiling(image_shape, side, start):
    """Square patches (over all channels) of a tiling; those at the borders are smaller.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
    side : int
    start : int
        First row and column that a patch begins at, if not at 0.

    Returns
    -------
    patches : list of Tensor of int
        Features of each.

    Examples
    --------
    >>> from skinvert.flows.patches import tiling
    >>> [len(patch) for patch in tiling((1, 4, 4), 3, 1)]
    [1, 3, 3, 9]
    """
    channels, height, width = image_shape
    features = torch.arange(channels * height * width).reshape(image_shape)
    rows, columns = (sorted({0, *range(start, size, side), size}) for size in (height, width))
    return [
        features[:, a:b, c:d].reshape(-1)
        for a, b in itertools.pairwise(rows)
        for c, d in itertools.pairwise(columns)
    ]


def shared_layers(rows, image_shape, n_blocks, n_mixture, seed=0, progress=None):
    """Fit layers, each on what the ones before it leave: splines, then mixtures of patches.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float64
    image_shape : tuple (C, H, W) or None
        Whole rows are patches where they are no images.
    n_blocks : int
    n_mixture : int
        Components of a patch's mixture at most.
    seed : int, default=0
    progress : callable or None, default=None

    Returns
    -------
    layers : list of PixelSplines and PatchMixtures
    rows : ndarray of shape (n, n_features)
        Behind them.
    """
    layers = []
    for block in range(n_blocks):
        if block == 0:
            layer = PixelSplines.fit(rows)
        else:
            patches = _patches(image_shape, rows.shape[1], block - 1)
            layer = PatchMixtures.fit(rows, patches, n_mixture=n_mixture, seed=seed + block)
        layers.append(layer)
        parts = torch.from_numpy(rows).split(_ROWS_AT_ONCE)
        rows = torch.cat([layer(part)[0] for part in parts]).numpy()
        if progress:
            progress()
    return layers, rows


def _patches(image_shape, n_features, index):
    if image_shape is None:
        return [torch.arange(n_features)]
    side = max(1, min(image_shape[1:]) // 4)
    # Every other tiling has its borders in the middle of the last one's patches.
    return tiling(image_shape, side, side // 2 if index % 2 else 0)

"""Flows without backpropagation: rotations and monotone maps of one coordinate, fitted greedily."""

import math
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import nn

from skinvert.flows.linear import random_rotation, whitening
from skinvert.flows.preprocessing import log_normal
from skinvert.flows.transports import MixtureTransport, RationalQuadraticSplines

__all__ = ["ClassTransport", "PatchLayer", "SlicedFlow", "patch_sizes"]

_WIDE_SHARE = 0.01
_LEAST_ROWS = 12  # rows that a component of a mixture rests on, at least


class PatchLayer(nn.Module):
    """Rotate the pixels of every patch of a tiling, bend each coordinate by a spline, rotate back.

    Parameters
    ----------
    patches : Tensor of shape (n_patches, n_pixels), int
        Features of each patch; no feature twice.
    rotation : Tensor of shape (n_pixels, n_pixels), float64
        Orthogonal, the same in every patch.
    splines : RationalQuadraticSplines
        One a coordinate, n_patches * n_pixels of them.

    Notes
    -----
    One iteration of Dai and Seljak, "Sliced Iterative Normalizing Flows", ICML 2021, sections 3
    and 4.3, on random slices.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.flows.sliced import PatchLayer
    >>> rows = np.random.default_rng(0).gamma(2.0, size=(200, 4))
    >>> layer = PatchLayer.fit(rows, torch.tensor([[0, 1], [2, 3]]), torch.eye(2).double())
    >>> x = torch.from_numpy(rows)
    >>> bool((layer.inverse(layer(x)[0]) - x).abs().max() < 1e-9)
    True
    """

    def __init__(self, patches, rotation, splines):
        super().__init__()
        self.register_buffer("patches", patches)
        self.register_buffer("rotation", rotation)
        self.splines = splines

    @classmethod
    def fit(cls, rows, patches, rotation, **settings):
        """The layer whose splines carry the slices of rows (n, n_features) to normal ones."""
        layer = cls(patches, rotation, None)
        layer.splines = RationalQuadraticSplines.to_normal(
            layer._slices(torch.from_numpy(rows)).numpy(), **settings
        )
        return layer

    def _slices(self, x):
        return (x[:, self.patches] @ self.rotation).flatten(1)

    def _placed(self, x, slices):
        out = x.clone()
        pixels = slices.reshape(len(x), *self.patches.shape) @ self.rotation.T
        out[:, self.patches.flatten()] = pixels.flatten(1)
        return out

    def forward(self, x):
        """Outputs (n, n_features) and log-determinants (n,)."""
        bent, log_slopes = self.splines(self._slices(x))
        return self._placed(x, bent), log_slopes.sum(1)

    def inverse(self, z):
        """Inputs of outputs (n, n_features)."""
        return self._placed(z, self.splines.inverse(self._slices(z)))


class ClassTransport(nn.Module):
    """One class: its principal axes, the transport of a mixture along the leading ones, scales.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Of the class.
    noise_variance : float
        Added to the variance in every direction.
    n_leading : int
        Axes that the mixture works on; along the others the class is Gaussian.
    n_mixture : int
        Components of the mixture at most; few rows get fewer.
    seed : int
    """

    def __init__(self, rows, *, noise_variance, n_leading, n_mixture, seed):
        super().__init__()
        axes, variances = whitening(rows, np.zeros(len(rows), dtype=int), noise_variance)
        scales = np.sqrt(variances + noise_variance)
        self.n_leading = min(n_leading, rows.shape[1])
        # Leading axes keep their lengths: the mixture's clusters are found in them.
        scales[: self.n_leading] = 1.0
        self.register_buffer("mean", torch.from_numpy(rows.mean(0)))
        self.register_buffer("axes", torch.from_numpy(axes))
        self.register_buffer("scales", torch.from_numpy(scales))
        leading = (rows - rows.mean(0)) @ axes[:, : self.n_leading]
        self.mixture = _fitted_mixture(leading, noise_variance, n_mixture, seed)

    def log_density(self, x):
        """Log-density (n,) of rows, for less than the map costs."""
        white = (x - self.mean) @ self.axes / self.scales
        leading, rest = white.tensor_split([self.n_leading], dim=1)
        return self.mixture.log_density(leading) + log_normal(rest) - self.scales.log().sum()

    def forward(self, x):
        """Standard normal rows (n, n_features) and log-determinants (n,)."""
        white = (x - self.mean) @ self.axes / self.scales
        z, log_det = self.mixture(white[:, : self.n_leading])
        total = log_det - self.scales.log().sum()
        return torch.cat([z, white[:, self.n_leading :]], dim=1), total

    def inverse(self, z):
        """Rows (n, n_features) of standard normal ones."""
        leading = self.mixture.inverse(z[:, : self.n_leading])
        white = torch.cat([leading, z[:, self.n_leading :]], dim=1)
        return (white * self.scales) @ self.axes.T + self.mean


def _fitted_mixture(rows, noise_variance, n_mixture, seed):
    """EM on rows (n, k), with the noise on the diagonal of every covariance."""
    n_features = rows.shape[1]
    noise_variance = max(noise_variance, 1e-6)
    if len(rows) < 2:
        weights, means = np.ones(1), rows
        covariances = noise_variance * np.eye(n_features)[None]
    else:
        mixture = GaussianMixture(
            int(np.clip(len(rows) // _LEAST_ROWS, 1, n_mixture)),
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


def patch_sizes(image_shape, n_blocks):
    """Sides of the patches of `n_blocks` layers, from large to single pixels.

    Examples
    --------
    >>> from skinvert.flows.sliced import patch_sizes
    >>> patch_sizes((1, 28, 28), 6)
    [14, 8, 5, 3, 2, 1]
    """
    largest = max(1, min(image_shape[1:]) // 2)
    sides = np.geomspace(largest, 1, n_blocks) if n_blocks > 1 else [1] * n_blocks
    return [round(float(side)) for side in sides]


def _tiling(image_shape, side, rng):
    """A random tiling by square patches (over all channels): (n_patches, C * side**2) features."""
    channels, height, width = image_shape
    features = np.arange(channels * height * width).reshape(image_shape)
    top, left = rng.integers(0, height % side + 1), rng.integers(0, width % side + 1)
    patches = [
        features[:, i : i + side, j : j + side].reshape(-1)
        for i in range(top, height - side + 1, side)
        for j in range(left, width - side + 1, side)
    ]
    return torch.from_numpy(np.stack(patches))


class SlicedFlow(nn.Module):
    """A transport for every class, behind patch layers that all classes share.

    Parameters
    ----------
    shared : list of PatchLayer
    transports : list of ClassTransport

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.flows.sliced import SlicedFlow
    >>> rng = np.random.default_rng(0)
    >>> rows, columns = rng.normal(size=(80, 4)), np.arange(80) % 2
    >>> flow = SlicedFlow.fit(rows, columns, n_classes=2, noise_variance=0.01)
    >>> x = torch.from_numpy(rows)
    >>> z, log_det = flow(x, 1)
    >>> bool((flow.inverse(z, 1) - x).abs().max() < 1e-9)
    True
    """

    conditional = True

    def __init__(self, shared, transports):
        super().__init__()
        self.shared = nn.ModuleList(shared)
        self.transports = nn.ModuleList(transports)

    @classmethod
    def fit(
        cls,
        rows,
        columns,
        *,
        n_classes,
        noise_variance,
        n_leading=80,
        n_mixture=20,
        image_shape=None,
        n_blocks=0,
        seed=0,
        progress=None,
    ):
        """Fit layer after layer, each on what the ones before it leave.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features), float64
            In standard units.
        columns : ndarray of int of shape (n,)
            Every class in 0 … n_classes - 1 occurs.
        n_classes : int
        noise_variance : float
            Of the noise that the rows are to be modelled with, in standard units.
        n_leading, n_mixture : int
            As of `ClassTransport`.
        image_shape : tuple (C, H, W) or None
        n_blocks : int, default=0
            Patch layers that all classes share, from large patches to single pixels; whole rows
            where they are no images.
        seed : int, default=0
        progress : callable or None
            Called after each layer and class.
        """
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        if n_blocks:
            rows = rows + math.sqrt(noise_variance) * rng.normal(size=rows.shape)
        shape = image_shape or (1, 1, rows.shape[1])
        sides = patch_sizes(shape, n_blocks) if image_shape else [None] * n_blocks
        shared = []
        for side in sides:
            whole = torch.arange(rows.shape[1])[None]
            patches = whole if side is None else _tiling(shape, side, rng)
            rotation = random_rotation(patches.shape[1], generator)
            shared.append(PatchLayer.fit(rows, patches, rotation))
            rows = shared[-1](torch.from_numpy(rows))[0].numpy()
            if progress:
                progress()
        transports = []
        for column in range(n_classes):
            transports.append(
                ClassTransport(
                    rows[columns == column],
                    noise_variance=noise_variance if not n_blocks else 0.02,
                    n_leading=n_leading,
                    n_mixture=n_mixture,
                    seed=seed,
                )
            )
            if progress:
                progress()
        return cls(shared, transports)

    def _through_shared(self, x):
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for layer in self.shared:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def log_density(self, x, column):
        """Log-density (n,) of rows under the map of one class, in nats."""
        x, total = self._through_shared(x)
        return total + self.transports[column].log_density(x)

    def forward(self, x, column, with_log_det=True):
        """Latent rows (n, n_features) and log-determinants (n,) under the map of one class."""
        x, total = self._through_shared(x)
        z, log_det = self.transports[column](x)
        return z, total + log_det

    def inverse(self, z, column):
        """Rows (n, n_features) of latent rows under the map of one class."""
        z = self.transports[column].inverse(z)
        for layer in reversed(self.shared):
            z = layer.inverse(z)
        return z

    def condition_numbers(self):
        """Ratio of the largest to the least slope of each shared layer's splines at their knots,
        then of each class's scales: a list of floats."""
        slopes = [layer.splines.slopes for layer in self.shared]
        scales = [transport.scales for transport in self.transports]
        return [float(values.max() / values.min()) for values in slopes + scales]

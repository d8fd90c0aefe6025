"""Flows without backpropagation: rotations and monotone maps of one coordinate, fitted greedily."""

import numpy as np
import torch
from torch import nn

from skinvert.flows.linear import whitening
from skinvert.flows.patches import fitted_mixture, shared_layers
from skinvert.flows.preprocessing import log_normal

__all__ = ["ClassTransport", "SlicedFlow"]

_LEFT_VARIANCE = 1e-4  # ridge of what the shared layers leave, which has unit variances


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
    pooled : ndarray of shape (n_features, n_features) or None, default=None
        Covariance within classes, which the class's own is drawn to where rows are few.
    """

    def __init__(self, rows, *, noise_variance, n_leading, n_mixture, seed, pooled=None):
        super().__init__()
        axes, variances = whitening(rows, np.zeros(len(rows), dtype=int), noise_variance, pooled)
        scales = np.sqrt(variances + noise_variance)
        self.n_leading = min(n_leading, rows.shape[1])
        # Leading axes keep their lengths: the mixture's clusters are found in them.
        scales[: self.n_leading] = 1.0
        self.register_buffer("mean", torch.from_numpy(rows.mean(0)))
        self.register_buffer("axes", torch.from_numpy(axes))
        self.register_buffer("scales", torch.from_numpy(scales))
        leading = (rows - rows.mean(0)) @ axes[:, : self.n_leading]
        self.mixture = fitted_mixture(leading, noise_variance, n_mixture, seed)

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


def _pooled_covariance(rows, columns):
    centred = rows.copy()
    for column in np.unique(columns):
        centred[columns == column] -= rows[columns == column].mean(0)
    return centred.T @ centred / len(rows)


class SlicedFlow(nn.Module):
    """A transport for every class, behind layers that all classes share.

    Parameters
    ----------
    shared : list of PixelSplines and PatchMixtures
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
    takes_all_classes = False

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
            Layers that all classes share: a spline a pixel, then mixtures of patches; of whole
            rows where they are no images.
        seed : int, default=0
        progress : callable or None
            Called after each layer and class.
        """
        shared, rows = shared_layers(rows, image_shape, n_blocks, n_mixture, seed, progress)
        pooled = _pooled_covariance(rows, columns) if n_blocks else None
        transports = []
        for column in range(n_classes):
            transports.append(
                ClassTransport(
                    rows[columns == column],
                    noise_variance=_LEFT_VARIANCE if n_blocks else noise_variance,
                    n_leading=n_leading,
                    # The shared layers have left little for clusters to tell.
                    n_mixture=1 if n_blocks else n_mixture,
                    seed=seed,
                    pooled=pooled,
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
        """Ratio of the largest to the least slope in each shared layer, then of each class's
        scales: a list of floats."""
        slopes = [layer.slopes() for layer in self.shared]
        scales = [transport.scales for transport in self.transports]
        return [float(values.max() / values.min()) for values in slopes + scales]

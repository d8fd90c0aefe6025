"""Between the units of the data and those of a flow: dequantisation, logits, scales, Jacobians."""

import math

import numpy as np
import torch
from torch import nn

__all__ = ["Preprocessing", "quantization_step"]

_MOST_LEVELS = 2**16


def quantization_step(rows):
    """Distance between neighbouring values of quantised data.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)

    Returns
    -------
    step : float or None
        None where the values lie on no common grid of at most 65,536 levels, or are constant.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.flows.preprocessing import quantization_step
    >>> quantization_step(np.array([[0.0, 16.0], [3.0, 0.0], [4.0, 4.0]]))
    1.0
    >>> quantization_step(np.array([[0.0, 0.1234], [0.77, 0.3]])) is None
    True
    """
    values = np.unique(np.asarray(rows, dtype=np.float64))
    span = values[-1] - values[0]
    if span == 0 or len(values) > _MOST_LEVELS:
        return None
    # float32 values of k/255 differ from the grid by their rounding.
    tolerance = 1e-6 * max(abs(values[0]), abs(values[-1]))
    gaps = np.diff(values)
    gaps = gaps[gaps > 4 * tolerance]
    n_levels = span / gaps.min() if len(gaps) else np.inf
    if not 1 <= n_levels < _MOST_LEVELS:
        return None
    step = span / round(n_levels)
    positions = (values - values[0]) / step
    # Two values always lie on a grid; measurements that never repeat were not quantised.
    repeats = len(values) < np.size(rows)
    is_grid = np.abs(positions - positions.round()).max() < 0.01 + 2 * tolerance / step
    return float(step) if is_grid and repeats else None


class Preprocessing(nn.Module):
    r"""Rows to the standard units that flows work in, invertibly.

    :math:`v = (g(x) - m) / s` with g the identity or, with `logit` = α,
    :math:`g(x) = \mathrm{logit}(\alpha + (1 - 2\alpha)\,u)` and u the value's place in its range.
    Images share one scale s over all pixels, so that flat borders are not blown up; features of
    other rows have one each. Quantised values stand for cells of width `step` around them.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Training rows.
    is_image : bool
    step : float or None
        Quantisation step, if the rows are to be dequantised.
    logit : float or None
        α in (0, 0.5).

    Raises
    ------
    ValueError
        If all values are equal and so have no scale, and for α out of range.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.flows.preprocessing import Preprocessing
    >>> rows = np.random.default_rng(0).integers(0, 17, size=(50, 4)).astype(float)
    >>> preprocessing = Preprocessing(rows, is_image=True, step=1.0, logit=0.05)
    >>> x = torch.from_numpy(rows)
    >>> v, log_det = preprocessing(x)
    >>> bool((preprocessing.inverse(v) - x).abs().max() < 1e-9)
    True
    """

    def __init__(self, rows, *, is_image, step=None, logit=None):
        super().__init__()
        if logit is not None and not 0 < logit < 0.5:
            raise ValueError(f"logit must lie in (0, 0.5) or be None, got {logit!r}.")
        rows = np.asarray(rows, dtype=np.float64)
        margin = (step or 0.0) / 2
        axis = None if is_image else 0
        low, high = rows.min(axis) - margin, rows.max(axis) + margin
        self.step, self.logit = step, logit
        self.register_buffer("low", torch.as_tensor(low).expand(rows.shape[1]).clone())
        self.register_buffer("span", torch.as_tensor(high - low).expand(rows.shape[1]).clone())
        self.span[self.span == 0] = 1.0
        warped = self._warp(torch.from_numpy(rows))[0].numpy()
        scale = np.broadcast_to(warped.std(axis), rows.shape[1]).copy()
        # A constant feature has no scale of its own; the noise gives it one.
        scale[scale == 0] = 1.0
        self.register_buffer("shift", torch.as_tensor(warped.mean(axis)).expand(len(scale)).clone())
        self.register_buffer("scale", torch.from_numpy(scale))

    def cell_width(self):
        """Width of a quantisation cell in standard units, the mean over the range: a float."""
        if self.step is None:
            return 0.0
        if self.logit is None:
            return float((self.step / self.scale).mean())
        inner = (1 - 2 * self.logit) * self.step / self.span
        return float((4 * inner / self.scale).mean())

    def _warp(self, x):
        if self.logit is None:
            return x, None
        u = self.logit + (1 - 2 * self.logit) * (x - self.low) / self.span
        slope = ((1 - 2 * self.logit) / self.span).log() - u.log() - (-u).log1p()
        return torch.logit(u), slope

    def forward(self, x):
        """Standard units of rows (n, n_features), and log-determinants (n,), in nats."""
        warped, slope = self._warp(x)
        log_det = -self.scale.log().sum().expand(len(x))
        if slope is not None:
            log_det = log_det + slope.sum(1)
        return (warped - self.shift) / self.scale, log_det

    def inverse(self, v):
        """Rows in the units of the data from standard units (n, n_features)."""
        warped = v * self.scale + self.shift
        if self.logit is None:
            return warped
        u = (torch.sigmoid(warped) - self.logit) / (1 - 2 * self.logit)
        return u * self.span + self.low

    def dequantize(self, x, uniform):
        """Rows spread over their cells by `uniform` draws in [0, 1) of the same shape."""
        return x if self.step is None else x + (uniform - 0.5) * self.step


def log_normal(z):
    """Log-density of rows (n, d) under the standard normal, shape (n,)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

"""Monotone maps of single coordinates to a standard normal: splines, and a mixture's own."""

import math
from functools import partial

import numpy as np
import torch
from scipy.special import ndtri
from torch import nn

from skinvert.flows.preprocessing import log_normal

__all__ = ["MixtureTransport", "RationalQuadraticSplines"]

_NEWTON_STEPS = 20
_FARTHEST = 30.0


class RationalQuadraticSplines(nn.Module):
    """One monotone rational-quadratic spline a coordinate, linear beyond the outer knots.

    Parameters
    ----------
    x, y : Tensor of shape (n_splines, n_knots), float64
        Strictly increasing along the knots.

    Notes
    -----
    Gregory and Delbourgo 1982 for the interpolant; Durkan et al., "Neural Spline Flows", NeurIPS
    2019, for its inverse. Slopes at the knots are weighted geometric means of the neighbours'.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.transports import RationalQuadraticSplines
    >>> knots = torch.tensor([[0.0, 1.0, 3.0]])
    >>> splines = RationalQuadraticSplines(knots, knots**2)
    >>> y, log_det = splines(torch.tensor([[1.0], [2.0]]))
    >>> y[0].item(), bool((splines.inverse(y)[1] - 2.0).abs() < 1e-6)
    (1.0, True)
    """

    def __init__(self, x, y):
        super().__init__()
        widths = x.diff(dim=1)
        slopes = y.diff(dim=1) / widths
        share = widths[:, 1:] / (widths[:, 1:] + widths[:, :-1])
        inner = slopes[:, :-1] ** share * slopes[:, 1:] ** (1 - share)
        self.register_buffer("x", x.contiguous())
        self.register_buffer("y", y.contiguous())
        self.register_buffer("widths", widths)
        self.register_buffer("slopes", slopes)
        self.register_buffer("ends", torch.cat([slopes[:, :1], inner, slopes[:, -1:]], dim=1))

    @classmethod
    def to_normal(cls, values, n_knots=12, shrinkage=0.2):
        """Splines that carry the quantiles of values (n, n_splines) to a standard normal's.

        Parameters
        ----------
        values : ndarray of shape (n, n_splines)
        n_knots : int, default=12
        shrinkage : float, default=0.2
            In [0, 1]: how far the map is drawn to the linear one of the same mean and spread,
            against the noise of few rows.
        """
        ends = min(max(1.0 / len(values), 0.002), 0.5 / n_knots)
        levels = np.concatenate([[ends], np.linspace(0, 1, n_knots)[1:-1], [1 - ends]])
        x = np.quantile(values, levels, axis=0).T
        spread = np.maximum(values.std(0), 1e-6 * (1 + np.abs(values).max(0)))[:, None]
        # Ties would be steps; a least distance keeps the slope finite.
        least = 1e-3 * spread * np.arange(n_knots)
        x = np.maximum.accumulate(x - least, axis=1) + least
        linear = (x - values.mean(0)[:, None]) / spread
        y = (1 - shrinkage) * ndtri(levels) + shrinkage * linear
        return cls(torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(y)))

    def _cells(self, values, knots):
        """The cell (n_splines, n) that each of values (n, n_splines) lies in."""
        return torch.searchsorted(knots[:, 1:-1].contiguous(), values.detach().T.contiguous())

    def _numbers(self, cells):
        """The six numbers of each cell."""
        tables = (self.x, self.y, self.widths, self.slopes, self.ends, self.ends[:, 1:])
        return [table.gather(1, cells).T for table in tables]

    def forward(self, x):
        """Values (n, n_splines) and the logarithm of every slope (n, n_splines)."""
        x0, y0, width, slope, left, right = self._numbers(self._cells(x, self.x))
        place = ((x - x0) / width).clamp(0, 1)
        beyond = x - x0 - place.detach() * width
        both = place * (1 - place)
        below = slope + (left + right - 2 * slope) * both
        inside = y0 + width * slope * (slope * place.square() + left * both) / below
        rise = right * place.square() + 2 * slope * both + left * (1 - place).square()
        outside = torch.where(x < x0, left, right) * beyond
        is_outside = (x < x0) | (x > x0 + width)
        y = torch.where(is_outside, inside + outside, inside)
        return y, 2 * slope.log() + rise.log() - 2 * below.log()

    def inverse(self, y):
        """Arguments (n, n_splines) of values."""
        return self.inverse_within(y, self._cells(y, self.y))

    def inverse_within(self, y, cells):
        """Arguments of values whose cells (n_splines, n) are known, by the stable root of a
        quadratic."""
        x0, y0, width, slope, left, right = self._numbers(cells)
        height = width * slope
        rise = torch.minimum((y - y0).clamp_min(0), height)
        excess = left + right - 2 * slope
        a = height * (slope - left) + rise * excess
        b = height * left - rise * excess
        c = -slope * rise
        root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
        inside = x0 + width * 2 * c / (-b - root)
        return inside + (y - y0 - rise) / torch.where(y < y0, left, right)


class MixtureTransport(nn.Module):
    r"""The triangular map that carries a mixture of Gaussians to one standard normal.

    Coordinate by coordinate, :math:`z_k = \Phi^{-1}(F(x_k \mid x_1 \dots x_{k-1}))`
    (Rosenblatt 1952; Knothe 1957), with F the mixture's conditional distribution, a sum of
    :math:`\Phi`s. It is exact in both directions, and the density that it gives rise to is the
    mixture's.

    Parameters
    ----------
    weights : Tensor of shape (n_components,), float64
    means : Tensor of shape (n_components, n_features), float64
    factors : Tensor of shape (n_components, n_features, n_features), float64
        Lower Cholesky factors of the covariances.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.transports import MixtureTransport
    >>> means = torch.tensor([[-2.0, 0.0], [2.0, 1.0]]).double()
    >>> transport = MixtureTransport(
    ...     torch.tensor([0.5, 0.5]).double(), means, torch.eye(2).double().expand(2, 2, 2))
    >>> z, log_det = transport(means)
    >>> bool((transport.inverse(z) - means).abs().max() < 1e-9)
    True
    """

    def __init__(self, weights, means, factors):
        super().__init__()
        self.register_buffer("log_weights", weights.log())
        self.register_buffer("means", means)
        self.register_buffer("factors", factors.contiguous())
        self.register_buffer("spreads", factors.diagonal(dim1=1, dim2=2).contiguous())

    def _own(self, x):
        """Every component's own standard normal coordinates and their log-densities in x, both
        of shape (n_components, n, n_features)."""
        centred = (x - self.means[:, None]).transpose(1, 2)
        own = torch.linalg.solve_triangular(self.factors, centred, upper=False).transpose(1, 2)
        return own, -0.5 * (own.square() + math.log(2 * math.pi)) - self.spreads.log()[:, None]

    def log_density(self, x):
        """Log-density (n,) of points (n, n_features): the mixture's, without the map."""
        _, terms = self._own(x)
        return torch.logsumexp(self.log_weights[:, None] + terms.sum(2), dim=0)

    def forward(self, x):
        """Standard normal coordinates (n, n_features) and log-determinants (n,)."""
        own, terms = self._own(x)
        joint = self.log_weights[:, None, None] + terms.cumsum(2)
        before = torch.log_softmax(joint - terms, dim=0)
        below = torch.logsumexp(before + torch.special.log_ndtr(own), dim=0)
        above = torch.logsumexp(before + torch.special.log_ndtr(-own), dim=0)
        z = torch.where(below < above, 1.0, -1.0) * normal_quantile(torch.minimum(below, above))
        return z, torch.logsumexp(joint[:, :, -1], dim=0) - log_normal(z)

    def inverse(self, z):
        """Points (n, n_features) of standard normal coordinates, one monotone equation each.

        Coordinates of up to a million come back to float64's rounding. Those of a row that are
        much larger leave no digits, in their squares, for what tells components apart by the
        others; each is a finite and increasing function of its latent all the same.
        """
        n_rows, n_features = z.shape
        own = z.new_zeros(len(self.means), n_rows, n_features)
        log_weights = self.log_weights[:, None].expand(-1, n_rows).clone()
        x = torch.empty_like(z)
        for k in range(n_features):
            along = own[:, :, :k] @ self.factors[:, k, :k, None]
            centre = self.means[:, k, None] + along[:, :, 0]
            spread = self.spreads[:, k, None]
            x[:, k] = _mixture_quantile(z[:, k], log_weights, centre, spread)
            own[:, :, k] = (x[:, k] - centre) / spread
            log_weights = log_weights - 0.5 * own[:, :, k].square() - spread.log()
        return x


def normal_quantile(log_level):
    """Standard normal quantiles of levels that are given, and can be tiny, by their logarithm."""
    with torch.no_grad():
        near = torch.special.ndtri(log_level.clamp_min(-600.0).exp())
        far = -(-2 * log_level).clamp_min(1.0).sqrt()
        z = torch.where(log_level < -600.0, far, near)
        for _ in range(3):
            z = _newton(z, log_level)
    # The last step again with a gradient, which is exact at the root.
    return _newton(z, log_level)


def _newton(z, log_level):
    at = torch.special.log_ndtr(z)
    log_density = -0.5 * (z.square() + math.log(2 * math.pi))
    return z - (at - log_level) * (at - log_density).exp()


def _mixture_quantile(z, log_weights, centre, spread):
    """Where a mixture's distribution function reaches Φ(z); shapes (n,) and (n_components, n).

    The weights need not sum to one.
    """
    weights = torch.softmax(log_weights, dim=0)
    candidates = centre + spread * z
    mean = (weights * candidates).sum(0)
    x = _solve(z, mean, candidates, centre, spread, partial(_log_tail, weights))
    # Far out tails underflow, and so do the weights of components that are unlikely by the
    # coordinates before, however much of the tail is theirs: only logarithms are left to work with.
    far = torch.nonzero(z.abs() > _FARTHEST)[:, 0]
    if len(far):
        z, candidates = z[far], candidates[:, far]
        # Steps from the far side don't overshoot.
        farthest = torch.where(z < 0, candidates.amin(0), candidates.amax(0))
        tail = partial(_log_tail_far_out, torch.log_softmax(log_weights[:, far], dim=0))
        x[far] = _solve(z, farthest, candidates, centre[:, far], spread, tail)
    return x


def _solve(z, x, candidates, centre, spread, log_tail):
    """Newton's method on the logarithm of the smaller tail, from x and kept in a bracket.

    The number of steps is fixed, so that a row's bits don't depend on its neighbours.
    """
    side = torch.where(z < 0, 1.0, -1.0).to(z.dtype)
    goal = torch.special.log_ndtr(side * z)
    low, high = candidates.amin(0), candidates.amax(0)
    for _ in range(_NEWTON_STEPS):
        level, slope = log_tail(side * (x - centre) / spread, spread)
        gap = side * (level - goal)
        low, high = torch.where(gap <= 0, x, low), torch.where(gap >= 0, x, high)
        step = x - gap / slope
        x = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
    return x


def _log_tail(weights, own, spread):
    """Logarithm of a mixture's tail at components' own coordinates, and its slope in x."""
    tail = (weights * torch.special.erfc(own * -(0.5**0.5))).sum(0) / 2
    density = (weights * (-0.5 * own.square()).exp() / spread).sum(0) / math.sqrt(2 * math.pi)
    return tail.log(), density / tail


def _log_tail_far_out(log_weights, own, spread):
    level = torch.logsumexp(log_weights + torch.special.log_ndtr(own), dim=0)
    terms = log_weights - 0.5 * own.square() - spread.log() - 0.5 * math.log(2 * math.pi)
    return level, (torch.logsumexp(terms, dim=0) - level).exp()

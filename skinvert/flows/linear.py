"""Square linear layers: free, as the paper has them, or with a condition number that is bounded."""

import math

import numpy as np
import torch
from torch import nn

__all__ = ["BoundedLinear", "SquareLinear"]


_STEPS_AN_INVERSE = 4


class SquareLinear(nn.Module):
    r"""y = x W + b with a free square W.

    Nothing keeps W regular: a loss without its log-determinant lets it collapse. In training
    :math:`\log\lvert\det W\rvert` is linearised around the W of up to three steps ago, whose
    inverse is its gradient there: a factorisation every fourth step instead of each.

    Parameters
    ----------
    weight : Tensor of shape (n_features, n_features)
        W in the paper's convention, rows from the left.
    bias : Tensor of shape (n_features,), default=None
        Zeros if None.

    Raises
    ------
    ValueError
        If `weight` is not square or is singular.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.linear import SquareLinear
    >>> layer = SquareLinear(torch.tensor([[2.0, 1.0], [0.0, 3.0]]))
    >>> y, log_det = layer(torch.ones(1, 2))
    >>> y.tolist(), round(log_det.exp().item(), 4), layer.inverse(y).tolist()
    ([[2.0, 4.0]], 6.0, [[1.0, 1.0]])
    """

    def __init__(self, weight, bias=None):
        super().__init__()
        weight = torch.as_tensor(weight)
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
            raise ValueError(
                f"an invertible layer needs a square weight matrix, got shape "
                f"{tuple(weight.shape)}; every layer must be as wide as the data."
            )
        singular_values = torch.linalg.svdvals(weight.double())
        if not singular_values[-1] > 1e-12 * singular_values[0]:
            raise ValueError(
                "the initial weights are singular (least singular value "
                f"{float(singular_values[-1]):.3g}, largest {float(singular_values[0]):.3g}); an "
                "invertible layer must start from a regular matrix, an orthogonal one for example."
            )
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias.clone())
        self.forget()

    def forget(self):
        """Start an epoch: what follows shall not depend on the steps before it."""
        self._age, self._around = 0, None

    @classmethod
    def default(cls, n_features, generator):
        """A layer as torch starts its own: uniform in ±1/√n_features."""
        bound = 1 / math.sqrt(n_features)
        draws = torch.rand(n_features + 1, n_features, generator=generator)
        draws = bound * (2 * draws - 1)
        return cls(draws[:-1], draws[-1])

    def matrix(self):
        """W, of shape (n_features, n_features)."""
        return self.weight

    def forward(self, x, with_log_det=True):
        """Outputs (n, n_features) and one log-determinant for all rows, or None."""
        log_det = None
        if with_log_det:
            is_step = self.training and torch.is_grad_enabled()
            log_det = self._linearised() if is_step else torch.linalg.slogdet(self.weight)[1]
        return x @ self.weight + self.bias, log_det

    def _linearised(self):
        if self._age % _STEPS_AN_INVERSE == 0:
            weight = self.weight.detach()
            factors, pivots, _ = torch.linalg.lu_factor_ex(weight)
            eye = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
            gradient = torch.linalg.lu_solve(factors, pivots, eye, adjoint=True)
            log_det = factors.diagonal().abs().log().sum()
            self._around = weight.clone(), gradient, log_det
        self._age += 1
        weight, gradient, log_det = self._around
        return log_det + (gradient * (self.weight - weight)).sum()

    def inverse(self, y):
        """Inputs of outputs (n, n_features): solved in float64 and refined once."""
        weight = self.weight.detach().double().T
        target = (y.double() - self.bias.double()).T
        try:
            factors = torch.linalg.lu_factor(weight)
            x = torch.linalg.lu_solve(*factors, target)
            x = x + torch.linalg.lu_solve(*factors, target - weight @ x)
        except RuntimeError:
            # An exactly singular matrix has no inverse; the least-squares one shows the collapse.
            x = torch.linalg.lstsq(weight, target, driver="gelsd").solution
        return x.T.to(y.dtype)

    def condition_number(self):
        """Largest over least singular value of W, in float64."""
        return float(torch.linalg.cond(self.weight.detach().double()))


class BoundedLinear(nn.Module):
    r"""y = x W + b with W = R H₁ diag(s) H₂, whose condition number cannot exceed a bound.

    R is a fixed rotation; H₁ and H₂ are products of Householder reflections, computed together in
    their compact form :math:`I - V T V^\top`; and :math:`s = e^{c \tanh a} g` with
    :math:`c = \tfrac12 \log \kappa_{\max}`. The log-determinant is :math:`\sum \log s`, and the
    inverse is as cheap as the layer.

    Parameters
    ----------
    rotation : Tensor of shape (n_features, n_features)
        R, orthogonal.
    scales : Tensor of shape (n_features,)
        First values of s; clipped into the bound around their geometric middle g.
    n_reflections : int
        In each of H₁ and H₂; made even, so that they start as the identity.
    max_condition : float
        κ_max.
    generator : torch.Generator

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.linear import BoundedLinear
    >>> layer = BoundedLinear(torch.eye(3), torch.tensor([1.0, 2.0, 1e9]), n_reflections=2,
    ...                       max_condition=100.0, generator=torch.Generator())
    >>> layer.condition_number() <= 100.001
    True
    """

    def __init__(self, rotation, scales, *, n_reflections, max_condition, generator):
        super().__init__()
        n_features = len(rotation)
        self.register_buffer("rotation", torch.as_tensor(rotation).float())
        self.reach = 0.5 * math.log(max_condition)
        logs = torch.as_tensor(scales).double().log()
        # The middle of what is kept: outliers on the small side are what the bound is for.
        middle = torch.maximum((logs.min() + logs.max()) / 2, logs.max() - self.reach)
        self.register_buffer("log_middle", middle.float())
        inner = ((logs - middle) / self.reach).clamp(-0.999, 0.999)
        self.log_scales = nn.Parameter(torch.atanh(inner).float())
        n_pairs = max(1, min(n_reflections, n_features) // 2)
        vectors = torch.randn(2, n_features, n_pairs, generator=generator)
        # Each reflection twice: the product starts as the identity, and learns from there.
        self.reflections = nn.Parameter(torch.cat([vectors, vectors.flip(2)], dim=2))
        self.bias = nn.Parameter(torch.zeros(n_features))

    def _log_s(self):
        return self.log_middle + self.reach * torch.tanh(self.log_scales)

    def _reflected(self, x, which, transposed=False):
        """x H, or x Hᵀ, by the compact form of a product of reflections."""
        vectors = nn.functional.normalize(self.reflections[which], dim=0)
        inner = vectors.T @ vectors
        # T of the compact form solves (striu(VᵀV) + I/2) T = I.
        factor = torch.triu(inner, diagonal=1)
        factor = factor + 0.5 * torch.eye(len(inner), dtype=x.dtype, device=x.device)
        projected = x @ vectors
        if transposed:
            factor = factor.T
        solved = torch.linalg.solve_triangular(factor, projected, upper=not transposed, left=False)
        return x - solved @ vectors.T

    def matrix(self):
        """W, of shape (n_features, n_features)."""
        eye = torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return self.forward(eye)[0] - self.bias

    def forward(self, x, with_log_det=True):
        """Outputs (n, n_features) and one log-determinant for all rows, or None."""
        log_s = self._log_s()
        y = self._reflected(x @ self.rotation, 0) * log_s.exp()
        return self._reflected(y, 1) + self.bias, log_s.sum() if with_log_det else None

    def inverse(self, y):
        """Inputs of outputs (n, n_features), refined once against the rounding."""
        x = self._solve(y - self.bias)
        return x + self._solve(y - self.forward(x, with_log_det=False)[0])

    def _solve(self, y):
        x = self._reflected(y, 1, transposed=True) * (-self._log_s()).exp()
        return self._reflected(x, 0, transposed=True) @ self.rotation.T

    def condition_number(self):
        """Largest over least singular value of W; at most `max_condition`."""
        log_s = self._log_s().detach().double()
        return float((log_s.max() - log_s.min()).exp())


def random_rotation(n_features, generator):
    """A Haar-distributed orthogonal matrix, float64."""
    draws = torch.randn(n_features, n_features, generator=generator, dtype=torch.float64)
    rotation, triangle = torch.linalg.qr(draws)
    return rotation * triangle.diagonal().sign()


def reorthogonalized(matrices):
    """Orthogonal matrices (..., n, n) in float64 from float32 ones, to rounding."""
    matrices = matrices.double()
    for _ in range(2):
        matrices = 1.5 * matrices - 0.5 * matrices @ (matrices.mT @ matrices)
    return matrices


def whitening(rows, columns, noise_variance, pooled=None):
    """Principal axes of the spread within classes, and the scales that make it spherical.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    columns : ndarray of int of shape (n,)
        Class of each row; all zeros for one common spread.
    noise_variance : float
        Added to the variance along every axis.
    pooled : ndarray of shape (n_features, n_features) or None, default=None
        A covariance that the empirical one is drawn to, by the weight of n_features rows.

    Returns
    -------
    axes : ndarray of shape (n_features, n_features)
        Orthogonal, one axis a column, by falling variance.
    variances : ndarray of shape (n_features,)
        Along the axes, without the noise; those below rounding are zero.
    """
    centred = np.asarray(rows, dtype=np.float64).copy()
    for column in np.unique(columns):
        centred[columns == column] -= centred[columns == column].mean(0)
    covariance = centred.T @ centred / len(centred)
    if pooled is not None:
        share = len(pooled) / (len(pooled) + len(rows))
        covariance = (1 - share) * covariance + share * pooled
    variances, axes = np.linalg.eigh(covariance)
    variances = np.where(variances > 1e-12 * variances[-1], variances, 0.0)[::-1].copy()
    if variances[-1] + noise_variance <= 0:
        raise ValueError(
            f"{int((variances == 0).sum())} directions of the data have no spread, and a flow "
            "cannot make noise of a constant. Set noise to a positive value, or dequantize=True "
            "where the values are quantised."
        )
    return axes[:, ::-1].copy(), variances

"""Quantiles of mixtures in operators that ONNX has: no error function in float64, no solver.

Imported by what writes ONNX files alone: it needs the optional package onnxscript.
"""

# Graphs in ONNX's language, which the types of Python do not describe.
# mypy: ignore-errors

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch
from onnxscript import DOUBLE
from onnxscript import opset18 as op
from scipy.special import erfcx
from torch import Tensor

from skinvert.flows.transports import MixtureTransport

__all__ = ["OPERATORS", "mixture_inverse", "tail_coefficients"]

_NEWTON_STEPS = 20
_N_POWERS = 32
_N_DOUBLINGS = 4  # of two powers
_CENTRE = 3.75


def tail_coefficients() -> np.ndarray:
    r"""Coefficients of :math:`(1 + 2u)\,e^{u^2}\,\mathrm{erfc}(u)` in powers of
    :math:`t = (u - 3.75) / (u + 3.75)`.

    Returns
    -------
    coefficients : ndarray of shape (32,), float64
        Lowest power first; the last four are zero.

    Notes
    -----
    Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in 0 ≤ x < ∞",
    Mathematics of Computation 1981.

    Examples
    --------
    >>> from scipy.special import erfcx
    >>> from skinvert.flows.quantiles import tail_coefficients
    >>> t = (2.0 - 3.75) / (2.0 + 3.75)
    >>> value = sum(factor * t**power for power, factor in enumerate(tail_coefficients()))
    >>> bool(abs(value / (5 * erfcx(2.0)) - 1) < 1e-13)
    True
    """
    t = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    u = _CENTRE * (1 + t) / (1 - t)
    fitted = np.polynomial.Chebyshev.fit(t, (1 + 2 * u) * erfcx(u), _N_POWERS - 5, domain=[-1, 1])
    powers = fitted.convert(kind=np.polynomial.Polynomial).coef
    return np.pad(powers, (0, _N_POWERS - len(powers)))


def _float64(values):
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return onnx.helper.make_tensor("", onnx.TensorProto.DOUBLE, values.shape, values)


# Literals would be rounded to float32 on their way.
_ZERO, _ONE, _TWO, _HALF = (_float64(value) for value in (0.0, 1.0, 2.0, 0.5))
_PLACE, _ROOT = _float64(_CENTRE), _float64(0.5**0.5)
_LOG_TWO, _LOG_ROOT = _float64(math.log(2)), _float64(0.5 * math.log(2 * math.pi))
_TAIL = _float64(tail_coefficients())
_Rows = DOUBLE[...]
_DOMAIN = onnxscript.values.Opset("skinvert", 1)


@onnxscript.script(_DOMAIN, default_opset=op)
def _mixture_inverse(z: _Rows, log_weights: _Rows, means: _Rows, factors: _Rows) -> _Rows:
    """`MixtureTransport.inverse`. One function: the exporter drops what a function calls."""
    units = op.EyeLike(op.Gather(factors, 0, axis=0))
    x = z * _ZERO
    own = op.Unsqueeze(means, [1]) * _ZERO + op.Unsqueeze(x, [0])
    log_joint = op.Unsqueeze(log_weights, [1]) + op.ReduceSum(own, [2], keepdims=0)
    n_features = op.Squeeze(op.Shape(z, start=1, end=2))
    for k in range(n_features):
        unit = op.Gather(units, k, axis=0)
        row = op.Gather(factors, k, axis=1)
        spread = op.ReduceSum(row * unit, [1], keepdims=1)
        mean = op.Unsqueeze(op.Gather(means, k, axis=1), [1])
        # The coordinate's own entry is still zero, and so are those after it.
        centre = mean + op.ReduceSum(own * op.Unsqueeze(row, [1]), [2], keepdims=0)
        # Sums of exponentials relative to the largest, for far out the others underflow.
        weights = log_joint - op.ReduceMax(log_joint, [0], keepdims=1)
        weights = weights - op.Log(op.ReduceSum(op.Exp(weights), [0], keepdims=1))
        heights = weights - op.Log(spread) - _LOG_ROOT
        asked = op.Gather(z, k, axis=1)
        side = op.Where(op.Less(asked, _ZERO), _ONE, op.Neg(_ONE))
        candidates = centre + spread * asked
        low = op.ReduceMin(candidates, [0], keepdims=0)
        high = op.ReduceMax(candidates, [0], keepdims=0)
        found = op.ReduceSum(op.Exp(weights) * candidates, [0], keepdims=0)
        for _step in range(_NEWTON_STEPS):
            at = (found - centre) / spread
            # Logarithms of Φ, in the last row of what is asked for.
            points = side * op.Concat(at, op.Unsqueeze(asked, [0]), axis=0)
            u = op.Abs(points) * _ROOT
            t = op.Unsqueeze((u - _PLACE) / (u + _PLACE), [-1])
            powers = op.Concat(t * _ZERO + _ONE, t, axis=-1)
            for _doubling in range(_N_DOUBLINGS):
                t = t * t
                powers = op.Concat(powers, powers * t, axis=-1)
            far = op.Log(op.MatMul(powers, _TAIL)) - op.Log(_ONE + _TWO * u) - u * u - _LOG_TWO
            levels = op.Where(op.Less(points, _ZERO), far, op.Log(_ONE - op.Exp(far)))
            terms = weights + op.Slice(levels, [0], [-1], [0])
            most = op.ReduceMax(terms, [0], keepdims=0)
            tails = op.ReduceSum(op.Exp(terms - most), [0], keepdims=0)
            density = op.ReduceSum(op.Exp(heights - _HALF * at * at - most), [0], keepdims=0)
            # Newton's method on the logarithm of the smaller tail, kept in a bracket.
            gap = side * (most + op.Log(tails) - op.Gather(levels, -1, axis=0))
            low = op.Where(gap <= _ZERO, found, low)
            high = op.Where(gap <= _ZERO, high, found)
            step = found - gap * tails / density
            found = op.Where(op.And(step >= low, step <= high), step, _HALF * (low + high))
        reached = (found - centre) / spread
        x = x + op.Unsqueeze(found, [1]) * unit
        own = own + op.Unsqueeze(reached, [2]) * unit
        log_joint = log_joint - _HALF * reached * reached - op.Log(spread)
    return x


@torch.library.custom_op("skinvert::mixture_inverse", mutates_args=())
def mixture_inverse(z: Tensor, log_weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """`MixtureTransport.inverse` as an operator that torch.export leaves whole.

    Parameters
    ----------
    z : Tensor of shape (n, n_features), float64
    log_weights : Tensor of shape (n_components,)
    means : Tensor of shape (n_components, n_features)
    factors : Tensor of shape (n_components, n_features, n_features)

    Returns
    -------
    x : Tensor of shape (n, n_features)
    """
    return MixtureTransport(log_weights.exp(), means, factors).inverse(z)


@mixture_inverse.register_fake
def _shape_of_inverse(z, log_weights, means, factors):
    return torch.empty_like(z)


OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.skinvert.mixture_inverse.default: _mixture_inverse
}

"""Quantiles of mixtures in operators that ONNX has: no error function in float64, no solver.

Imported by what writes ONNX files alone: it needs the optional package onnxscript.
"""

# Graphs in ONNX's language, which the types of Python do not describe.
# mypy: ignore-errors

import math

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
_DOMAIN = onnxscript.values.Opset("skinvert", 1)


@onnxscript.script(_DOMAIN, default_opset=op)
def _mixture_inverse(
    z: DOUBLE[...], log_weights: DOUBLE[...], means: DOUBLE[...], factors: DOUBLE[...]
) -> DOUBLE[...]:
    """`MixtureTransport.inverse`. One function: the exporter drops what a function calls."""
    zero, one, two = op.Constant(value=_ZERO), op.Constant(value=_ONE), op.Constant(value=_TWO)
    half, place, tail = (
        op.Constant(value=_HALF),
        op.Constant(value=_PLACE),
        op.Constant(value=_TAIL),
    )
    root, log_two = op.Constant(value=_ROOT), op.Constant(value=_LOG_TWO)
    log_root = op.Constant(value=_LOG_ROOT)
    units = op.EyeLike(op.Gather(factors, 0, axis=0))
    x = z * zero
    own = op.Unsqueeze(means, [1]) * zero + op.Unsqueeze(x, [0])
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
        heights = weights - op.Log(spread) - log_root
        asked = op.Gather(z, k, axis=1)
        side = op.Where(op.Less(asked, zero), one, op.Neg(one))
        candidates = centre + spread * asked
        low = op.ReduceMin(candidates, [0], keepdims=0)
        high = op.ReduceMax(candidates, [0], keepdims=0)
        found = op.ReduceSum(op.Exp(weights) * candidates, [0], keepdims=0)
        for _step in range(_NEWTON_STEPS):
            at = (found - centre) / spread
            # Logarithms of Φ, in the last row of what is asked for.
            points = side * op.Concat(at, op.Unsqueeze(asked, [0]), axis=0)
            u = op.Abs(points) * root
            t = op.Unsqueeze((u - place) / (u + place), [-1])
            powers = op.Concat(t * zero + one, t, axis=-1)
            t = t * t
            powers = op.Concat(powers, powers * t, axis=-1)
            t = t * t
            powers = op.Concat(powers, powers * t, axis=-1)
            t = t * t
            powers = op.Concat(powers, powers * t, axis=-1)
            t = t * t
            powers = op.Concat(powers, powers * t, axis=-1)
            far = op.Log(op.MatMul(powers, tail)) - op.Log(one + two * u) - u * u - log_two
            levels = op.Where(op.Less(points, zero), far, op.Log(one - op.Exp(far)))
            goal = op.Gather(levels, -1, axis=0)
            terms = weights + op.Slice(levels, [0], [-1], [0])
            most = op.ReduceMax(terms, [0], keepdims=0)
            tails = op.ReduceSum(op.Exp(terms - most), [0], keepdims=0)
            level = most + op.Log(tails)
            density = op.ReduceSum(op.Exp(heights - half * at * at - most), [0], keepdims=0)
            # Newton's method on the logarithm of the smaller tail, kept in a bracket.
            gap = side * (level - goal)
            is_low = op.LessOrEqual(gap, zero)
            low = op.Where(is_low, found, low)
            high = op.Where(is_low, high, found)
            step = found - gap * tails / density
            is_inside = op.And(op.GreaterOrEqual(step, low), op.LessOrEqual(step, high))
            found = op.Where(is_inside, step, half * (low + high))
        reached = (found - centre) / spread
        x = x + op.Unsqueeze(found, [1]) * unit
        own = own + op.Unsqueeze(reached, [2]) * unit
        log_joint = log_joint - half * reached * reached - op.Log(spread)
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


OPERATORS = {torch.ops.skinvert.mixture_inverse.default: _mixture_inverse}

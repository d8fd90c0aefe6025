"""What a trained flow is used for: densities, the way to the latents and back, new images."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from skinvert.flows.network import FlowNetwork
from skinvert.inversion.randomness import RowNoise

__all__ = [
    "as_in_training",
    "as_latents",
    "decoded",
    "encoded",
    "generated",
    "interpolated",
    "log_joint",
    "spread_over_cells",
]

_ROWS_AT_ONCE = 256


def log_joint(network, x, with_log_det=True):
    """log p(x, k) of rows and classes, in the units of the data.

    Parameters
    ----------
    network : FlowNetwork
        In float64.
    x : Tensor of shape (n, n_features), float64
    with_log_det : bool, default=True
        What classes share can be left out of Bayes' rule.

    Returns
    -------
    log_densities : ndarray of shape (n, n_classes)
    """
    parts = []
    with torch.no_grad():
        for some in x.split(_ROWS_AT_ONCE):
            v, log_det = network.preprocessing(some)
            densities = network.log_likelihoods(v, with_log_det)
            parts.append(densities + log_det[:, None] + network.log_prior)
    return torch.cat(parts).cpu().numpy()


def encoded(network, x, columns):
    """Latents of rows, around the means of the classes that `columns` names.

    Parameters
    ----------
    network : FlowNetwork
    x : Tensor of shape (n, n_features), float64
    columns : ndarray of int of shape (n,)

    Returns
    -------
    z : Tensor of shape (n, n_features)
    """
    z = torch.empty_like(x)
    with torch.no_grad():
        for column, rows in _groups(columns, x.device):
            v, _ = network.preprocessing(x[rows])
            z[rows], _ = network.flow(v, column, with_log_det=False)
            if network.flow.conditional:
                z[rows] += network.means[column]
    return z


def decoded(network, z, columns):
    """Rows of latents: the inverse of `encoded`, with its parameters."""
    x = torch.empty_like(z)
    with torch.no_grad():
        for column, rows in _groups(columns, z.device):
            shift = network.means[column] if network.flow.conditional else 0.0
            v = network.flow.inverse(z[rows] - shift, column)
            x[rows] = network.preprocessing.inverse(v)
    return x


def _groups(columns, device):
    """Classes and, few at a time, the rows that belong to them."""
    for column in np.unique(columns):
        rows = torch.from_numpy(np.flatnonzero(columns == column)).to(device)
        for some in rows.split(_ROWS_AT_ONCE):
            yield int(column), some


def as_latents(Z: ArrayLike, n_features: int) -> Tensor:
    """Latents that a user gives, as a tensor.

    Parameters
    ----------
    Z : array-like of shape (n, n_features)
    n_features : int
        Of the images.

    Returns
    -------
    z : Tensor of shape (n, n_features), float64

    Raises
    ------
    ValueError
        For another width, and values that are not finite.

    Examples
    --------
    >>> from skinvert.flows.use import as_latents
    >>> as_latents([[0, 1]], 2)
    tensor([[0., 1.]], dtype=torch.float64)
    """
    z = np.asarray(Z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] != n_features:
        raise ValueError(
            f"Z has shape {z.shape}, expected (n, {n_features}): an invertible map "
            "keeps the number of features."
        )
    if not np.isfinite(z).all():
        raise ValueError("Z contains NaN or infinity.")
    return torch.from_numpy(z)


def spread_over_cells(network: FlowNetwork, x: Tensor, step: float, seed: int) -> Tensor:
    """Quantised rows, each value spread evenly over its cell: what bits are counted of.

    Parameters
    ----------
    network : FlowNetwork
    x : Tensor of shape (n, n_features), float64
        On the grid of the training rows.
    step : float
        Of the grid.
    seed : int

    Returns
    -------
    x : Tensor of shape (n, n_features)

    Raises
    ------
    ValueError
        For values off the grid.

    Examples
    --------
    See `InvertibleFlowClassifier.bits_per_dim`, which counts them.
    """
    preprocessing = network.preprocessing
    margin = 0.0 if preprocessing.step is None else preprocessing.step / 2
    origin = float(preprocessing.low.min()) + margin
    places = (x - origin) / step
    if (places - places.round()).abs().max() > 0.02:
        raise ValueError(
            f"the values of X lie off the grid of step {step:g} that fit saw; bits_per_dim "
            "needs the units and the quantisation of the training data."
        )
    uniform = torch.from_numpy(np.random.default_rng(seed).random(x.shape))
    return x + (uniform - 0.5) * step


def as_in_training(network, x, seed):
    """Rows spread over their cells, with the training noise: what the density is one of.

    Parameters
    ----------
    network : FlowNetwork
    x : Tensor of shape (n, n_features), float64
    seed : int

    Returns
    -------
    x : Tensor of shape (n, n_features)
    """
    rng = np.random.default_rng(seed)
    uniform = torch.from_numpy(rng.random(x.shape)).to(x.device)
    v, _ = network.preprocessing(network.preprocessing.dequantize(x, uniform))
    normal = torch.from_numpy(rng.normal(size=x.shape)).to(x.device)
    return network.preprocessing.inverse(v + network.noise * normal)


def interpolated(network, ends, columns, n_images):
    """A series of rows between two, straight in the latent space.

    Parameters
    ----------
    network : FlowNetwork
    ends : Tensor of shape (2, n_features), float64
    columns : ndarray of int of shape (2,)
        Where every class has its own map, those of the ends. The noise then moves from one to the
        other, and each row is the mean of what the two maps make of it, weighted by its place.
    n_images : int

    Returns
    -------
    x : Tensor of shape (n_images, n_features)
    """
    z = encoded(network, ends, columns)
    share = torch.linspace(0, 1, n_images, dtype=z.dtype, device=z.device)[:, None]
    if not network.flow.conditional:
        return decoded(network, z[0] + share * (z[1] - z[0]), np.zeros(n_images, int))
    means = network.means[torch.from_numpy(columns)]
    noise = (z[0] - means[0]) * (1 - share) + (z[1] - means[1]) * share
    first, last = (
        decoded(network, noise + means[k], np.full(n_images, columns[k])) for k in (0, 1)
    )
    return (1 - share) * first + share * last


def generated(
    network, weights, seeds, *, temperature=1.0, denoise=True, batch_size=64, callback=None
):
    """Rows from noise of their own, through the inverse, in batches of one shape.

    Parameters
    ----------
    network : FlowNetwork
        In float64.
    weights : Tensor of shape (n, n_classes), float64
        Of the classes in each row.
    seeds : sequence of int, length n
    temperature : float, default=1.0
    denoise : bool, default=True
    batch_size : int, default=64
    callback : callable or None, default=None
        Called with the number of rows that are finished.

    Returns
    -------
    x : Tensor of shape (n, n_features), float64
        In the units of the data.
    """
    noise = temperature * RowNoise(seeds).normal(network.means.shape[1]).to(weights)
    v = torch.zeros_like(noise)
    if not network.flow.conditional:
        for some, z, w in _batches(batch_size, noise, weights):
            made = _inverted(network, network.latents(z, w), w, None, denoise)
            v[some] = made[: some.stop - some.start]
            if callback:
                callback(some.stop - some.start)
        return network.preprocessing.inverse(v)
    # A mixture is the mean of what its classes make of the same noise.
    for column in range(weights.shape[1]):
        asked = torch.nonzero(weights[:, column])[:, 0]
        for some, z in _batches(batch_size, noise[asked]):
            rows = asked[some]
            made = network.preprocessing.inverse(_inverted(network, z, None, column, denoise))
            v[rows] += weights[rows, column, None] * made[: len(rows)]
    if callback:
        callback(len(v))
    return v


def _batches(batch_size, *arrays):
    """Slices, and the rows of arrays in them padded to one number."""
    for first in range(0, len(arrays[0]), batch_size):
        some = slice(first, min(first + batch_size, len(arrays[0])))
        padding = (0, 0, 0, batch_size - (some.stop - first))
        yield some, *(nn.functional.pad(array[some], padding) for array in arrays)


def _inverted(network, z, weights, column, denoise):
    with torch.no_grad():
        v = network.flow.inverse(z, column)
    if not (denoise and network.noise):
        return v
    # Tweedie's formula: the mean of the clean rows that v may be noisy copies of.
    v = v.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.log_density(v, weights, column).sum(), v)
    return (v + network.noise**2 * gradient).detach()

"""Where classes sit in the latent space, and how far each spreads around its mean."""

import numpy as np
import torch

from skinvert.flows.coupling import ClassWhitening

__all__ = ["class_means", "fitted_spreads", "separated_means"]

_SEPARATION = 1000.0
_DRAWS_A_DIRECTION = 5  # latents of a class, where noise makes many of a row
_MOST_DRAWS = 40
_SHRINKAGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_HELD_OUT = 5  # every fifth row chooses the shrinkage
_ROWS_AT_ONCE = 1024


def class_means(kind, n_classes, n_features, seed=0):
    r"""Means of the classes for a flow that all classes share.

    Parameters
    ----------
    kind : {"label_line", "random", "learned"}
        The paper's :math:`2k` in every coordinate for class k; or independent standard normal
        draws, which training may move ("learned") or not.
    n_classes, n_features : int
    seed : int, default=0

    Returns
    -------
    means : Tensor of shape (n_classes, n_features), float32

    Notes
    -----
    On a line every class is told by one number, the mean of the outputs, and all classes lie in
    the order of their labels. Random means in many dimensions are orthogonal, and none is between
    two others (Izmailov et al., "Semi-Supervised Learning with Normalizing Flows", 2020).

    Examples
    --------
    >>> from skinvert.flows.bases import class_means
    >>> class_means("label_line", 3, 2).tolist()
    [[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]
    """
    if kind == "label_line":
        return 2.0 * torch.arange(n_classes).float()[:, None].expand(-1, n_features).clone()
    return torch.randn(n_classes, n_features, generator=torch.Generator().manual_seed(seed))


def separated_means(kind, n_classes, n_features, seed=0):
    """Means at least 1,000 apart, for flows that have one map a class.

    A latent point then says itself which class's inverse it is meant for.

    Parameters
    ----------
    kind : {"label_line", "random", "learned"}
        "label_line" keeps the classes on the diagonal, in their order.
    n_classes, n_features : int
    seed : int, default=0

    Returns
    -------
    means : Tensor of shape (n_classes, n_features), float64

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.bases import separated_means
    >>> round(float(torch.pdist(separated_means("random", 5, 1)).min()))
    1000
    """
    if kind == "label_line" or n_features == 1:
        means = np.arange(n_classes)[:, None] * np.ones((1, n_features))
    else:
        means = np.random.default_rng(seed).normal(size=(n_classes, n_features))
    means = torch.from_numpy(means.astype(np.float64))
    if n_classes > 1:
        means = means * (_SEPARATION / torch.pdist(means).min())
    return means


@torch.no_grad()
def fitted_spreads(network, rows, columns, *, move_means, shrinkage=None, seed=0):
    r"""Covariance of the latents of each class under a trained map that all classes share.

    :math:`(1 - \rho) S_k + \rho I`, with :math:`S_k` the empirical one of latents of rows with the
    training noise on them.

    Parameters
    ----------
    network : FlowNetwork
        Trained, in float64.
    rows : ndarray of shape (n, n_features)
    columns : ndarray of int of shape (n,)
        Every class in 0 … n_classes - 1 occurs.
    move_means : bool
        Whether to take the means of the latents too.
    shrinkage : float or None, default=None
        :math:`\rho` in [0, 1]. None takes whatever makes held-out rows likeliest, which is right
        for a likelihood; for samples it is too much, since what is drawn to the sphere varies as
        other classes do.
    seed : int, default=0

    Returns
    -------
    spreads : ClassWhitening

    Notes
    -----
    One Gaussian with a covariance of its own for each class is the posterior of quadratic
    discriminant analysis; with unit spheres (Izmailov et al. 2020) all that tells classes apart
    is the map.
    """
    latents = _noisy_latents(network, rows, columns, seed)
    means, splits = network.means.clone(), []
    for column, (z, is_held_out) in enumerate(latents):
        known = z[~is_held_out] if bool((~is_held_out).any()) else z
        # Held-out rows have no say in the mean either: it would give them away.
        mean = known.mean(0) if move_means else means[column]
        splits.append((_moment(known - mean), z[is_held_out] - mean))
        if move_means:
            means[column] = z.mean(0)
    if shrinkage is None:
        shrinkage = _likeliest_shrinkage(splits)
    scales, axes = [], []
    for mean, (z, _) in zip(means, latents, strict=True):
        values, vectors = torch.linalg.eigh(_moment(z - mean))
        scales.append(((1 - shrinkage) * values.clamp_min(0) + shrinkage).clamp_min(1e-12).sqrt())
        axes.append(vectors)
    return ClassWhitening(means, torch.stack(scales), torch.stack(axes))


def _noisy_latents(network, rows, columns, seed):
    """For every class its latents (n, n_features), and which of them belong to held-out rows."""
    rng, preprocessing = np.random.default_rng(seed), network.preprocessing
    device, found = network.means.device, []
    is_random = network.noise > 0 or preprocessing.step is not None
    for column in range(len(network.means)):
        own = torch.from_numpy(np.asarray(rows[columns == column], dtype=np.float64)).to(device)
        needed = -(-_DRAWS_A_DIRECTION * rows.shape[1] // len(own))
        n_draws = int(np.clip(needed, 1, _MOST_DRAWS)) if is_random else 1
        parts = []
        for x in own.repeat(n_draws, 1).split(_ROWS_AT_ONCE):
            uniform = torch.from_numpy(rng.random(x.shape)).to(device)
            v, _ = preprocessing(preprocessing.dequantize(x, uniform))
            v = v + network.noise * torch.from_numpy(rng.normal(size=x.shape)).to(device)
            parts.append(network.flow(v, with_log_det=False)[0])
        is_held_out = torch.arange(len(own), device=device).repeat(n_draws) % _HELD_OUT == 0
        found.append((torch.cat(parts), is_held_out))
    return found


def _moment(centred):
    return centred.T @ centred / max(len(centred), 1)


def _likeliest_shrinkage(splits):
    """The shrinkage to the unit sphere under which held-out latents are likeliest."""
    losses = np.zeros(len(_SHRINKAGES))
    for moment, held_out in splits:
        values, vectors = torch.linalg.eigh(moment)
        squares = (held_out @ vectors).square().mean(0)
        for index, shrinkage in enumerate(_SHRINKAGES):
            variances = ((1 - shrinkage) * values.clamp_min(0) + shrinkage).clamp_min(1e-12)
            losses[index] += len(held_out) * float((squares / variances + variances.log()).sum())
    return _SHRINKAGES[int(losses.argmin())]

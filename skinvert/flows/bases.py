"""Where classes sit in the latent space: one standard normal around each class mean."""

import numpy as np
import torch

__all__ = ["class_means", "separated_means"]

_SEPARATION = 1000.0


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

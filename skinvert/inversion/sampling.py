"""From arg max to sampling: starts drawn from a prior and resampled by what the classifier says."""

import torch

__all__ = ["effective_sample_size", "resample"]


def resample(log_weights, uniform):
    """Choose one candidate with probability proportional to its weight.

    Parameters
    ----------
    log_weights : Tensor of shape (n_candidates,)
        Unnormalised.
    uniform : float
        A uniform draw in [0, 1): the same draw and weights choose the same candidate.

    Returns
    -------
    index : int

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.sampling import resample
    >>> resample(torch.tensor([0.0, -50.0, 0.0]), 0.7)
    2
    """
    cumulative = torch.softmax(log_weights.double(), dim=0).cumsum(0)
    index = torch.searchsorted(cumulative, float(uniform) * float(cumulative[-1]), right=True)
    return min(int(index), len(log_weights) - 1)


def effective_sample_size(log_weights):
    r"""How many candidates share the weight, :math:`(\sum w)^2 / \sum w^2`.

    Parameters
    ----------
    log_weights : Tensor of shape (n_candidates,)

    Returns
    -------
    size : float
        From 1 (one candidate has it all) to n_candidates.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.sampling import effective_sample_size
    >>> round(effective_sample_size(torch.tensor([0.0, 0.0, -50.0])), 3)
    2.0
    """
    return float(1 / torch.softmax(log_weights.double(), dim=0).square().sum())

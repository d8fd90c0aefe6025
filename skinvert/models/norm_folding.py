"""Batch normalisation folded into the convolutions before it: the same answers, sooner.

A normalisation in evaluation mode is one scale and one shift a channel, and so is what it leaves of
a convolution: another convolution. Which convolution feeds which normalisation is read off one run
of a private copy, so that networks need not be traceable, subclasses of convolutions fold as well,
and nothing is patched that other threads could see.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

__all__ = ["Folding", "fold_norms", "shared_modules", "slope_and_shift"]

# Of the largest answer: a folded network that differs by more was misread.
_TOLERANCE = 1e-2


@dataclass
class Folding:
    """A network with norms folded, and what that changed.

    Attributes
    ----------
    network : torch.nn.Module
        Has the original's module names. In place of a folded norm stands an ``nn.Identity`` that
        answers what the norm answered. Shares all tensors but the folded convolutions' own.
    norms : dict of str to torch.nn.Module
        Folded norms by name.
    changed : frozenset of str
        Modules whose answers are no longer the original's: the folded convolutions, and containers
        that end with one.
    """

    network: nn.Module
    norms: dict = field(default_factory=dict)
    changed: frozenset = frozenset()


def fold_norms(network, example, *, kept=()):
    """Fold every batch normalisation into the convolution that feeds it.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; not changed.
    example : Tensor of shape (1, ...)
        Any input that the network takes.
    kept : collection of str, default=()
        Norms that are not to be folded.

    Returns
    -------
    folding : Folding
        Of the network itself, with nothing folded, where there is nothing to fold, where it does
        not take the example, and where its answer to the example would change: a convolution that
        somebody else listens to can't be told otherwise.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinvert.models.norm_folding import fold_norms
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    >>> fold_norms(net, torch.zeros(1, 1, 5, 5)).network[1]
    Identity()
    """
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return Folding(network)
    try:
        with torch.no_grad():
            pairs, changed, answer = _pairs(network, example, kept)
            folding = _folded(network, pairs, changed)
            difference = (folding.network(example) - answer).abs().max()
    except Exception:  # the user's own forward may raise anything, and answer with anything
        return Folding(network)
    agrees = bool(pairs) and difference <= _TOLERANCE * answer.abs().max()
    return folding if agrees else Folding(network)


def shared_modules(network):
    """A copy of the module tree on the same tensors: hooks on it are nobody else's.

    Two threads that hook one network would read each other's features.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    copied : torch.nn.Module
    """
    tensors = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def slope_and_shift(norm):
    """What a batch normalisation in evaluation mode does to each channel.

    Parameters
    ----------
    norm : torch.nn.BatchNorm2d

    Returns
    -------
    slope, shift : Tensor of shape (C,)
    """
    slope = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        slope = slope * norm.weight
    shift = -norm.running_mean * slope
    return slope, shift if norm.bias is None else shift + norm.bias


def _pairs(network, example, kept):
    """Convolutions and the norms that take in their output, by name; what else answers with such an
    output; and the network's answer."""
    network, calls = shared_modules(network), []
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: calls.append((name, module, inputs, output))
        )
    answer = network(example)
    convolved = {id(out): name for name, module, _, out in calls if _can_give(module)}
    pairs = {
        convolved[id(inputs[0])]: name
        for name, module, inputs, _ in calls
        if _can_be_folded(module) and name not in kept and id(inputs[0]) in convolved
    }
    n_calls = Counter(name for name, *_ in calls)
    once = {conv: norm for conv, norm in pairs.items() if n_calls[conv] == n_calls[norm] == 1}
    outputs = {id(out) for name, _, _, out in calls if name in once}
    return once, frozenset(name for name, _, _, out in calls if id(out) in outputs), answer


def _can_give(module):
    is_plain = isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)
    return is_plain and not is_parametrized(module) and isinstance(module.weight, nn.Parameter)


def _can_be_folded(module):
    return isinstance(module, _BatchNorm) and module.running_var is not None


def _folded(network, pairs, changed):
    modules = dict(network.named_modules())
    folded, norms = shared_modules(network), {}
    for conv, norm in pairs.items():
        convolution = folded.get_submodule(conv)
        convolution.weight, convolution.bias = _merged(modules[conv], modules[norm])
        norms[norm] = modules[norm]
        parent, _, child = norm.rpartition(".")
        setattr(folded.get_submodule(parent), child, nn.Identity())
    return Folding(folded.eval(), norms, changed)


def _merged(convolution, norm):
    """Weight and bias of the convolution that does what both did."""
    slope, shift = slope_and_shift(norm)
    if convolution.bias is not None:
        shift = shift + convolution.bias * slope
    weight = convolution.weight * slope.reshape(-1, *[1] * (convolution.weight.ndim - 1))
    return tuple(nn.Parameter(part.detach(), requires_grad=False) for part in (weight, shift))

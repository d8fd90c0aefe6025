"""Activations by layer name, with the hooks removed on exit."""

import contextlib
import difflib

import torch

__all__ = ["check_layers", "in_single", "record_activations"]


def check_layers(module, names):
    """Raise ValueError, with near names, for layers that `module` does not have."""
    known = [name for name, _ in module.named_modules() if name]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or known[:5]
            raise ValueError(
                f"the network has no layer named {name!r}; near names are {near}. "
                "All names: [name for name, _ in module.named_modules()]."
            )


def in_single(features):
    """Features for sums and distances: bfloat16 becomes float32, all else stays as it is."""
    is_half = isinstance(features, torch.Tensor) and features.dtype == torch.bfloat16
    return features.float() if is_half else features


@contextlib.contextmanager
def record_activations(module, names):
    """Record the outputs of named layers during forward passes.

    Parameters
    ----------
    module : torch.nn.Module
    names : iterable of str
        Names as in ``module.named_modules()``.

    Yields
    ------
    activations : dict of str to Tensor
        Output of each layer in the latest forward pass, attached to the graph.

    Raises
    ------
    ValueError
        If a name is unknown; near names are listed.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.features import record_activations
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    >>> with record_activations(net, ["0"]) as activations:
    ...     _ = net(torch.zeros(2, 3))
    >>> activations["0"].shape
    torch.Size([2, 4])
    """
    names = list(names)
    check_layers(module, names)
    layers = dict(module.named_modules())
    activations = {}

    def keep(name):
        def hook(_module, _inputs, output):
            activations[name] = in_single(output)

        return hook

    handles = []
    try:
        handles.extend(layers[name].register_forward_hook(keep(name)) for name in names)
        yield activations
    finally:
        for handle in handles:
            handle.remove()

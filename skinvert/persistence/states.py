"""What of an object is stored, and how an object comes back from it without its constructor."""

import numpy as np
import torch
from sklearn.tree._tree import Tree
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from torch import nn

from skinvert.models.training import resolve_device
from skinvert.persistence.errors import CorruptFileError

__all__ = ["blank", "restore", "state_of"]

_KEPT = {"training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"}
# Hooks and compiled calls: code, not state.
_INTERNALS = frozenset(vars(nn.Module())) - _KEPT
_OPTIMIZERS = "__optimizers__"


def state_of(value):
    """Everything that an object is made of, as plain values and other objects.

    Parameters
    ----------
    value : object

    Returns
    -------
    state : dict

    Raises
    ------
    TypeError
        If that is not all in its attributes, or is code.
    """
    if isinstance(value, NeuralNet):
        return _state_of_net(value)
    kind = type(value)
    # Compiled objects keep their state elsewhere, and say how by a __reduce__ of their own.
    is_plain = kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__
    try:
        state = value.__getstate__() if is_plain and hasattr(value, "__dict__") else False
    except Exception as error:  # what refuses to be pickled says why in its own words
        raise TypeError(f"a {kind.__qualname__}, which says: {error}") from None
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        state = {**(state[0] or {}), **state[1]}  # attributes in __slots__
    state = {} if state is None else state
    if not isinstance(state, dict):
        raise TypeError(f"a {kind.__module__}.{kind.__qualname__}, whose state is out of reach")
    # Callbacks of scikit-learn listen to the fits of one session.
    state = {name: part for name, part in state.items() if name != "_skl_callbacks"}
    if isinstance(value, LRScheduler):
        # Made anew when training goes on, from the schedule and the epochs so far.
        return {name: part for name, part in state.items() if name != "lr_scheduler_"}
    if not isinstance(value, nn.Module):
        return state
    hooked = sorted(name for name in _INTERNALS if state.get(name) and "hooks" in name)
    if hooked:
        raise TypeError(
            f"a {kind.__qualname__} carries hooks ({hooked[0]}), which are code; remove them (of "
            "torch.nn.utils: remove_weight_norm, parametrize.remove_parametrizations) and save it"
        )
    return {name: part for name, part in state.items() if name not in _INTERNALS}


def _state_of_net(net):
    """Of a skorch net, without what its own constructor parameters rebuild."""
    state = dict(vars(net))
    optimizers = {}
    for name in net._optimizers if net.initialized_ else ():
        optimizer = state.pop(f"{name}_", None)
        if optimizer is not None:
            optimizers[name] = optimizer.state_dict()
    for name in ("virtual_params_", "callbacks_", "_params_to_validate"):
        state.pop(name, None)
    return state | {_OPTIMIZERS: optimizers}


def blank(kind):
    """An instance of a class whose constructor has not run."""
    if issubclass(kind, type) or not hasattr(object.__new__(kind), "__dict__"):
        raise CorruptFileError(f"{kind.__qualname__} is no class of objects with attributes.")
    instance = object.__new__(kind)
    if isinstance(instance, nn.Module):
        nn.Module.__init__(instance)
    return instance


def restore(instance, state, device):
    """Give a blank instance its state.

    Parameters
    ----------
    instance : object
        Of `blank`.
    state : dict of str to value
    device : torch.device or None
        Where generators and nets shall work; None leaves that to the state.

    Raises
    ------
    CorruptFileError
        If it cannot be the state of such an object.
    """
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CorruptFileError(f"the state of a {type(instance).__qualname__} has no names.")
    if isinstance(instance, NeuralNet):
        _restore_net(instance, state, device)
        return
    if isinstance(instance, nn.Module):
        _check_module(state)
    _check_trees(state)
    if device is not None and isinstance(state.get("device_"), torch.device):
        state["device_"] = device
    if hasattr(type(instance), "__setstate__"):
        instance.__setstate__(state)
        return
    for name, part in state.items():
        # Frozen dataclasses refuse the ordinary way.
        object.__setattr__(instance, name, part)


def _check_module(state):
    unexpected = sorted(set(state) & _INTERNALS)
    parts = (("_parameters", nn.Parameter), ("_buffers", torch.Tensor), ("_modules", nn.Module))
    for name, kind in parts:
        held = state.get(name)
        if not isinstance(held, dict) or not all(
            isinstance(part, kind) or part is None for part in held.values()
        ):
            unexpected.append(name)
    if unexpected:
        raise CorruptFileError(f"a module's state holds what no module has: {unexpected[0]}.")


def _check_trees(state):
    """Trees don't ask how wide their rows are, and would read beside them."""
    width = state.get("n_features_in_")
    if isinstance(state.get("tree_"), Tree) and state["tree_"].n_features != width:
        raise CorruptFileError("a tree was grown on rows of another width than its estimator's.")
    members = np.ravel(state.get("estimators_", ()))
    if any(hasattr(member, "tree_") and member.n_features_in_ != width for member in members):
        raise CorruptFileError("the trees of a forest were grown on rows of other widths.")


def _restore_net(net, state, device):
    optimizers = state.pop(_OPTIMIZERS, {})
    foreign = [name for name in state if name.startswith("__")]
    if foreign:
        raise CorruptFileError(f"a net's state holds {foreign[0]!r}, which save never writes.")
    vars(net).update(state)
    try:
        net.device = str(resolve_device(device or net.device))
    except ValueError:
        net.device = "cpu"
    # Never the net's own __setstate__: it opens a pickle.
    if not state.get("initialized_"):
        net._initialize_virtual_params()
        return
    for name in net._optimizers:
        kind = getattr(net, name, None)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            raise CorruptFileError(f"a net's {name} is no optimizer of torch.")
    for name in net._modules + net._criteria:
        part = getattr(net, f"{name}_", None)
        if isinstance(part, nn.Module):
            part.to(net.device)
    net.initialized_ = False  # silences its notes on a second initialisation
    net._initialize_virtual_params()
    net._initialize_callbacks()
    net._initialize_optimizer()
    net.initialized_ = True
    for name, values in optimizers.items():
        getattr(net, f"{name}_").load_state_dict(values)

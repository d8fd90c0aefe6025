"""Objects that hold no attributes of their own: random states, trees, devices, and the like.

Each is taken apart into plain values and arrays, and made anew by its own constructor. What could
make compiled code read beside its memory is checked first.
"""

import functools
import pathlib
from types import BuiltinFunctionType, FunctionType

import numpy as np
import torch
from sklearn._loss import loss as losses
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree._tree import NODE_DTYPE, Tree
from sklearn.utils import Bunch
from skorch.history import History

from skinvert.persistence.errors import CorruptFileError

__all__ = ["put_together", "take_apart"]

_BIT_GENERATORS = {"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}
_LOSSES = ("HalfBinomialLoss", "HalfMultinomialLoss", "ExponentialLoss")
_METRICS = {
    "EuclideanDistance": "euclidean",
    "ManhattanDistance": "manhattan",
    "ChebyshevDistance": "chebyshev",
}


def take_apart(value):
    """``(name of the kind, parts)`` of a value, or None where it is of no kind known here.

    Examples
    --------
    >>> import torch
    >>> from skinvert.persistence.compiled import put_together, take_apart
    >>> take_apart(torch.device("cpu"))
    ('device', {'name': 'cpu'})
    >>> put_together(*take_apart(slice(1, 2)))
    slice(1, 2, None)
    """
    for kind, (owns, parts_of, _) in _KINDS.items():
        if owns(value):
            return kind, parts_of(value)
    return None


def put_together(kind, parts):
    """The value that `take_apart` took apart.

    Raises
    ------
    CorruptFileError
        For unknown kinds and parts that do not fit together.
    """
    if kind not in _KINDS:
        raise CorruptFileError(f"{str(kind)[:80]!r} is no kind of value that is stored.")
    try:
        return _KINDS[kind][2](**parts)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        raise CorruptFileError(f"the parts of a {kind} do not fit together: {error}.") from None


def _require(condition, what):
    if not condition:
        raise ValueError(what)


def _random_state(state):
    generator = np.random.RandomState()
    generator.set_state(state)
    return generator


def _generator(state):
    name = state["bit_generator"]
    _require(name in _BIT_GENERATORS, f"unknown bit generator {name!r}")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)


def _torch_generator(state):
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def _dtype(name):
    found = getattr(torch, name, None)
    _require(isinstance(found, torch.dtype), f"torch has no dtype {name!r}")
    return found


def _partial(func, args, keywords):
    _require(isinstance(func, (type, FunctionType, BuiltinFunctionType)), "it calls no function")
    return functools.partial(func, *args, **keywords)


def _columns_of(records):
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names}


def _records(columns, dtype):
    lengths = {len(values) for values in columns.values()}
    _require(set(columns) == set(dtype.names) and len(lengths) == 1, "other fields are needed")
    records = np.zeros(lengths.pop(), dtype=dtype)
    for name, values in columns.items():
        _require(records[name].shape == values.shape, f"{name} has another shape")
        records[name] = values
    return records


def _check_children(left, right, is_leaf):
    """Every way down ends: children come after their parents and are there."""
    places = np.arange(len(left))[~is_leaf]
    for child in (left[~is_leaf], right[~is_leaf]):
        _require(((child > places) & (child < len(left))).all(), "a node has no such child")


def _tree_parts(tree):
    state = tree.__getstate__()
    _, (n_features, n_classes, n_outputs), _ = tree.__reduce__()
    return {
        "n_features": n_features,
        "n_classes": n_classes,
        "n_outputs": n_outputs,
        "max_depth": state["max_depth"],
        "nodes": _columns_of(state["nodes"]),
        "values": state["values"],
    }


def _tree(n_features, n_classes, n_outputs, max_depth, nodes, values):
    records = _records(nodes, NODE_DTYPE)
    n_nodes = len(records)
    is_leaf = records["left_child"] == -1
    _check_children(records["left_child"], records["right_child"], is_leaf)
    asked = records["feature"][~is_leaf]
    _require(((asked >= 0) & (asked < n_features)).all(), "a node asks for no such feature")
    _require(n_nodes > 0 and 0 <= max_depth <= n_nodes, f"a depth of {max_depth} is impossible")
    n_classes = np.asarray(n_classes, dtype=np.intp)
    _require(n_classes.shape == (n_outputs,) and (n_classes >= 1).all(), "no such classes")
    _require(values.shape == (n_nodes, n_outputs, n_classes.max()), "values have another shape")
    tree = Tree(n_features, n_classes, n_outputs)
    tree.__setstate__(
        {"max_depth": max_depth, "node_count": n_nodes, "nodes": records, "values": values}
    )
    return tree


def _has_known_metric(tree):
    metric = tree.__getstate__()[11]
    return type(metric).__name__.removesuffix("64") in _METRICS


def _neighbours_parts(tree):
    data, _, _, _, leaf_size, *_, metric, weights = tree.__getstate__()[:13]
    name = _METRICS[type(metric).__name__.removesuffix("64")]
    return {
        "data": np.asarray(data),
        "leaf_size": leaf_size,
        "metric": name,
        "sample_weight": None if weights is None else np.asarray(weights),
    }


def _neighbours(kind, **parts):
    _require(parts["metric"] in _METRICS.values(), f"unknown metric {parts['metric']!r}")
    _require(np.isfinite(parts["data"]).all(), "its points are not finite")
    return kind(**parts)


def _is_loss(value):
    return type(value).__module__ == losses.__name__ and type(value).__name__ in _LOSSES


def _loss(name, n_classes):
    _require(name in _LOSSES, f"unknown loss {name!r}")
    kind = getattr(losses, name)
    return kind(n_classes=n_classes) if name == "HalfMultinomialLoss" else kind()


def _is_a(kind):
    return lambda value: type(value) is kind


# Kind -> (whether a value is one, its parts, the value of its parts).
_KINDS = {
    "device": (
        _is_a(torch.device),
        lambda value: {"name": str(value)},
        lambda name: torch.device(name),
    ),
    "dtype": (
        _is_a(torch.dtype),
        lambda value: {"name": str(value).removeprefix("torch.")},
        _dtype,
    ),
    "numpy_dtype": (
        lambda value: isinstance(value, np.dtype) and value.kind in "biufcUS",
        lambda value: {"name": value.str},
        lambda name: np.dtype(str(name)),
    ),
    "size": (
        _is_a(torch.Size),
        lambda value: {"lengths": tuple(value)},
        lambda lengths: torch.Size(lengths),
    ),
    "slice": (
        _is_a(slice),
        lambda value: {"ends": (value.start, value.stop, value.step)},
        lambda ends: slice(*ends),
    ),
    "range": (
        _is_a(range),
        lambda value: {"ends": (value.start, value.stop, value.step)},
        lambda ends: range(*ends),
    ),
    "partial": (
        _is_a(functools.partial),
        lambda value: {"func": value.func, "args": value.args, "keywords": value.keywords},
        _partial,
    ),
    "path": (
        lambda value: isinstance(value, pathlib.PurePath),
        lambda value: {"name": str(value)},
        lambda name: pathlib.Path(name),
    ),
    "random_state": (
        _is_a(np.random.RandomState),
        lambda value: {"state": value.get_state(legacy=False)},
        _random_state,
    ),
    "generator": (
        _is_a(np.random.Generator),
        lambda value: {"state": value.bit_generator.state},
        _generator,
    ),
    "torch_generator": (
        lambda value: isinstance(value, torch.Generator) and value.device.type == "cpu",
        lambda value: {"state": value.get_state()},
        _torch_generator,
    ),
    "bunch": (_is_a(Bunch), lambda value: {"items": dict(value)}, lambda items: Bunch(**items)),
    "history": (
        _is_a(History),
        lambda value: {"epochs": list(value)},
        lambda epochs: History(epochs),
    ),
    "tree": (_is_a(Tree), _tree_parts, _tree),
    "kd_tree": (
        lambda value: type(value) is KDTree and _has_known_metric(value),
        _neighbours_parts,
        lambda **parts: _neighbours(KDTree, **parts),
    ),
    "ball_tree": (
        lambda value: type(value) is BallTree and _has_known_metric(value),
        _neighbours_parts,
        lambda **parts: _neighbours(BallTree, **parts),
    ),
    "loss": (
        _is_loss,
        lambda value: {"name": type(value).__name__, "n_classes": value.n_classes},
        _loss,
    ),
}

"""Objects to JSON and tensors: a table of nodes that refer to each other by number.

What is shared stays shared, a classifier and the encoder that reads it for example. Tensors keep
their strides, for other strides are other sums, and so other bits.
"""

from collections import OrderedDict
from types import BuiltinFunctionType, FunctionType

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import nn

from skinvert.persistence.compiled import take_apart
from skinvert.persistence.states import state_of
from skinvert.persistence.trust import name_of, untrusted

__all__ = ["encode"]

SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
MAPPINGS = {"dict": dict, "OrderedDict": OrderedDict}
_DTYPES = frozenset(
    {
        torch.bool,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    }
)


def encode(value):
    """Take an object apart.

    Parameters
    ----------
    value : object

    Returns
    -------
    graph : dict
        ``root``, a value, and ``nodes``, a list; of what JSON can say.
    tensors : bytes
        In the format of safetensors.
    needs : list of str
        Dotted names that `decode` will want to be allowed.

    Raises
    ------
    TypeError
        If a part is code or of an unknown kind; the message says where it sits.

    Examples
    --------
    >>> from skinvert.persistence.decoding import decode
    >>> from skinvert.persistence.encoding import encode
    >>> graph, tensors, needs = encode({"a": (1, 2.5), "b": [None]})
    >>> decode(graph, tensors)
    {'a': (1, 2.5), 'b': [None]}
    """
    encoder = _Encoder()
    root = encoder.value(value)
    graph = {"root": root, "nodes": encoder.nodes}
    return graph, safetensors.save(encoder.tensors), untrusted(names_in(encoder.nodes), ())


class _Encoder:
    def __init__(self):
        self.nodes, self.tensors = [], {}
        self._places, self._kept_alive, self._trail = {}, [], []

    def value(self, value):
        """What stands for a value: itself, or a reference to its node."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float and np.isfinite(value):
            return value
        if id(value) not in self._places:
            # An id is that of another object once its first owner is gone.
            self._kept_alive.append(value)
            self._places[id(value)] = place = len(self.nodes)
            self.nodes.append(None)
            self.nodes[place] = self._node(value, str(place))
        return {"ref": self._places[id(value)]}

    def _part(self, value, where):
        self._trail.append(where)
        encoded = self.value(value)
        self._trail.pop()
        return encoded

    def _node(self, value, key):
        kind = type(value)
        if kind is float:
            return {"kind": "float", "value": str(value)}
        if kind in SEQUENCES.values():
            # Sets of strings have another order in every process.
            ordered = sorted(value, key=repr) if kind in (set, frozenset) else value
            parts = [self._part(part, f"[{k}]") for k, part in enumerate(ordered)]
            return {"kind": kind.__name__, "items": parts}
        if kind in MAPPINGS.values():
            pairs = [
                [self._part(name, " (a key)"), self._part(part, f"[{name!r}]")]
                for name, part in value.items()
            ]
            return {"kind": kind.__name__, "items": pairs}
        if isinstance(value, torch.Tensor):
            return self._tensor_node(value, key)
        if isinstance(value, np.ndarray):
            return self._array_node(value, key)
        if isinstance(value, np.generic):
            return {"kind": "scalar"} | self._array_node(np.asarray(value), key, "of")
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return {"kind": "name", "name": self._name(value)}
        apart = take_apart(value)
        if apart is not None:
            parts = [[name, self._part(part, f".{name}")] for name, part in apart[1].items()]
            return {"kind": "compiled", "of": apart[0], "parts": parts}
        try:
            state = state_of(value)
        except TypeError as error:
            raise self._refusal(str(error)) from None
        parts = [[name, self._part(part, f".{name}")] for name, part in state.items()]
        return {"kind": "object", "name": self._name(kind), "state": parts}

    def _tensor_node(self, tensor, key):
        if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.layout != torch.strided:
            raise self._refusal(f"a {type(tensor).__name__} of layout {tensor.layout}")
        node = {"kind": "tensor", "requires_grad": tensor.requires_grad}
        if isinstance(tensor, nn.Parameter):
            node["kind"] = "parameter"
        plain = tensor.detach().cpu()
        if plain.is_complex():
            node["complex"], plain = True, torch.view_as_real(plain.resolve_conj())
        if plain.dtype not in _DTYPES:
            raise self._refusal(f"a tensor of type {tensor.dtype}")
        # Strides of axes of length one mean nothing, and yet they choose among convolutions.
        usual = torch.empty(plain.shape, device="meta").stride()
        if is_dense(plain.shape, plain.stride()) and plain.stride() != usual:
            node["strides"] = list(plain.stride())
        self._keep(key, plain)
        return node

    def _keep(self, key, tensor):
        # A copy: safetensors refuses tensors that share their memory.
        self.tensors[key] = tensor.resolve_neg().clone(memory_format=torch.contiguous_format)

    def _array_node(self, array, key, tag="kind"):
        if type(array) not in (np.ndarray, np.memmap):
            raise self._refusal(f"an array of type {type(array).__name__}")
        if array.dtype.kind == "U":
            return {
                tag: "strings",
                "shape": list(array.shape),
                "width": array.dtype.itemsize // 4,
                "items": array.ravel().tolist(),
            }
        if array.dtype.kind == "O":
            parts = [self._part(part, f"[{k}]") for k, part in enumerate(array.ravel())]
            return {tag: "objects", "shape": list(array.shape), "items": parts}
        if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16:
            raise self._refusal(f"an array of type {array.dtype}")
        node = {tag: "array"}
        plain = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", ndmin=1)
        if array.dtype.kind == "c":
            node["complex"], plain = True, plain.view(plain.real.dtype)
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            node["order"] = "F"
        shape = (*array.shape, 2) if "complex" in node else array.shape
        self._keep(key, torch.from_numpy(plain).reshape(shape))
        return node

    def _name(self, thing):
        name = name_of(thing)
        if name is None:
            raise self._refusal(
                f"{getattr(thing, '__qualname__', thing)!r}, which cannot be imported by its name "
                f"from {getattr(thing, '__module__', None)!r}; define it at the top of a module"
            )
        return name

    def _refusal(self, what):
        where = "".join(self._trail) or "the object itself"
        return TypeError(
            f"the estimator can't be saved: {where} is {what}. Plain values, arrays, tensors, "
            "importable classes and objects of them can be stored; set that part to one of these, "
            "or use joblib.dump among machines that trust each other."
        )


def is_dense(shape, strides):
    """Whether the strides of a tensor leave no gap and let nothing overlap."""
    step = 1
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if length != 1:
            if stride != step:
                return False
            step *= length
    return True


def names_in(nodes):
    """Names of the classes and functions that nodes refer to."""
    return [node.get("name") for node in nodes if node.get("kind") in ("name", "object")]

"""JSON and tensors to objects: what `skinvert.persistence.encoding` took apart."""

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import nn

from skinvert.persistence.compiled import put_together
from skinvert.persistence.encoding import MAPPINGS, SEQUENCES, is_dense, names_in
from skinvert.persistence.errors import CorruptFileError, UntrustedError
from skinvert.persistence.states import blank, restore
from skinvert.persistence.trust import resolve, untrusted

__all__ = ["decode"]

_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
_MOST_CHARACTERS = 2**28  # of an array of strings, which are all as wide as the longest


def decode(graph, tensors, *, allowed=(), device=None):
    """Put an object together.

    Parameters
    ----------
    graph : dict
    tensors : bytes
        Of `encode`.
    allowed : collection of str, default=()
        Dotted names of classes and functions beyond those of the libraries underneath.
    device : torch.device or None, default=None
        Where generators shall work; None is where they did.

    Returns
    -------
    value : object

    Raises
    ------
    UntrustedError
        If names are neither trusted nor allowed; before anything is made.
    CorruptFileError
        If it is not what `encode` gives.
    """
    nodes = graph.get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise CorruptFileError("the file holds no table of nodes.")
    unknown = untrusted(names_in(nodes), allowed)
    if unknown:
        listed = ", ".join(repr(name) for name in unknown[:20])
        raise UntrustedError(
            f"the file names classes or functions that are not allowed: {listed}. If you trust "
            f"the code behind these names, pass allowed=[{listed}].",
            unknown,
        )
    try:
        return _Decoder(nodes, _loaded(tensors), allowed, device).value(graph.get("root"))
    except CorruptFileError:
        raise
    except RecursionError:
        raise CorruptFileError("the nodes are nested too deeply.") from None
    except (
        # What Python, NumPy and torch raise when parts of the wrong kind are put together.
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        RuntimeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise CorruptFileError(f"the parts of the file do not fit together: {error}.") from None


def _loaded(tensors):
    try:
        return safetensors.load(tensors)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFileError(f"the tensors are no file of safetensors: {error}.") from None


class _Decoder:
    def __init__(self, nodes, tensors, allowed, device):
        self.nodes, self.tensors, self.allowed, self.device = nodes, tensors, allowed, device
        self.made, self._at_work = {}, set()

    def value(self, encoded):
        if encoded is None or type(encoded) in (bool, int, float, str):
            return encoded
        if type(encoded) is not dict or set(encoded) != {"ref"} or type(encoded["ref"]) is not int:
            raise CorruptFileError("the file holds a value that is neither plain nor a reference.")
        place = encoded["ref"]
        if place not in self.made:
            if not 0 <= place < len(self.nodes) or place in self._at_work:
                raise CorruptFileError(f"node {place} is not there, or is a part of itself.")
            self._at_work.add(place)
            self.made[place] = self._made(self.nodes[place], place)
        return self.made[place]

    def _made(self, node, place):
        kind = node.get("kind")
        if kind == "float":
            return _NOT_FINITE[node["value"]]
        if kind == "list":
            self.made[place] = found = []
            found.extend(self.value(part) for part in node["items"])
            return found
        if kind in SEQUENCES:
            return SEQUENCES[kind](self.value(part) for part in node["items"])
        if kind in MAPPINGS:
            self.made[place] = found = MAPPINGS[kind]()
            found.update((self.value(name), self.value(part)) for name, part in node["items"])
            return found
        if kind in ("tensor", "parameter"):
            return self._tensor(node, str(place))
        if kind in ("array", "strings", "objects"):
            return self._array(node, kind, str(place))
        if kind == "scalar":
            return self._array(node, node["of"], str(place))[()]
        if kind == "name":
            return resolve(node["name"], self.allowed)
        if kind == "compiled":
            return put_together(node["of"], {n: self.value(part) for n, part in node["parts"]})
        if kind != "object":
            raise CorruptFileError(f"{str(kind)[:80]!r} is no kind of node.")
        self.made[place] = instance = blank(resolve(node["name"], self.allowed))
        state = {self.value(name): self.value(part) for name, part in node["state"]}
        restore(instance, state, self.device)
        return instance

    def _stored(self, key):
        # A copy: it is aligned as tensors are, so that vectorised sums have the same order.
        return self.tensors[key].clone()

    def _tensor(self, node, key):
        tensor = self._stored(key)
        strides = node.get("strides")
        if strides is not None:
            if len(strides) != tensor.ndim or not is_dense(tensor.shape, strides):
                raise CorruptFileError("a tensor has strides that do not fit its shape.")
            tensor = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)
        if node.get("complex"):
            tensor = torch.view_as_complex(tensor)
        requires_grad = node["requires_grad"] is True
        if node["kind"] == "parameter":
            return nn.Parameter(tensor, requires_grad=requires_grad)
        return tensor.requires_grad_(requires_grad)

    def _array(self, node, kind, key):
        if kind == "strings":
            items, width = node["items"], node["width"]
            if not all(type(item) is str for item in items) or width < 0:
                raise CorruptFileError("an array of strings holds something else.")
            if len(items) * width > _MOST_CHARACTERS:
                raise CorruptFileError("an array of strings is too large.")
            return np.array(items, dtype=f"<U{width}").reshape(node["shape"])
        if kind == "objects":
            array = np.empty(len(node["items"]), dtype=object)
            for index, part in enumerate(node["items"]):
                array[index] = self.value(part)
            return array.reshape(node["shape"])
        array = self._stored(key).numpy()
        if node.get("complex"):
            array = np.ascontiguousarray(array).view(np.result_type(array, 1j))[..., 0]
        return np.asfortranarray(array) if node.get("order") == "F" else array

"""The way back for a row whose objective is no number, while its neighbours go on undisturbed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Block", "Rollback"]

_MOST = 3
_SHRINK = 0.1
_ALIGNED = 64  # bytes: kernels are slower, and round otherwise, between such places


class Block:
    """Tensors that lie in one piece of memory, so that one operation reaches all of them.

    Parameters
    ----------
    tensors : sequence of Tensor (n_slots, ...)
        Copied, of one dtype and device.

    Attributes
    ----------
    memory : Tensor of shape (n,)
        All of them, and zeros between.
    parts : list of Tensor (n_slots, ...)
        What was given, as views of `memory`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.rollback import Block
    >>> block = Block([torch.zeros(2, 3), torch.ones(2)])
    >>> _ = block.memory.mul_(5)
    >>> block.parts[1].tolist()
    [5.0, 5.0]
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        first = tensors[0]
        step = _ALIGNED // first.element_size()
        starts = np.cumsum([0] + [-(-tensor.numel() // step) * step for tensor in tensors]).tolist()
        self.memory = torch.zeros(starts[-1], dtype=first.dtype, device=first.device)
        # `data` anew for each: autograd then counts the changes of each part by itself.
        self.parts = [
            self.memory.data[start : start + tensor.numel()].view(tensor.shape)
            for start, tensor in zip(starts, tensors, strict=False)
        ]
        for part, tensor in zip(self.parts, tensors, strict=True):
            part.copy_(tensor.detach())

    def finite(self):
        """Slots (n_slots,) without a NaN or an infinity."""
        # A sum tells of both. Only where it is none, or overflows, is anything looked at closely.
        if torch.isfinite(self.memory.sum()):
            return np.ones(len(self.parts[0]), dtype=bool)
        rows = [torch.isfinite(part.reshape(len(part), -1)).all(1) for part in self.parts]
        return torch.stack(rows).all(0).cpu().numpy()


class Rollback:
    """Keeps every slot's last good state, and takes the slots back that lost theirs.

    A row whose objective is not finite returns to the state before its last step and goes on with
    steps a tenth as long; after three such returns it is given up, and stays at its last good
    state. Each slot is looked at by itself, so that the others keep their bits.

    Parameters
    ----------
    n_slots : int

    Attributes
    ----------
    counts : ndarray of int of shape (n_slots,)
        Returns of the row in each slot.
    given_up : ndarray of bool of shape (n_slots,)

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.rollback import Block, Rollback
    >>> rollback, state = Rollback(2), Block([torch.zeros(2, 1)])
    >>> rollback.admit(0, state)
    >>> rollback.admit(1, state)
    >>> for total in ([1.0, 1.0], [1.0, float("nan")]):
    ...     rollback.remember(state, torch.tensor(total))
    ...     _ = state.parts[0].add_(1.0)
    ...     rollback.correct(state, n_params=1)
    >>> state.parts[0].flatten().tolist(), rollback.counts.tolist()
    ([2.0, 0.0], [0, 1])
    """

    def __init__(self, n_slots):
        self.counts = np.zeros(n_slots, dtype=int)
        self.given_up = np.zeros(n_slots, dtype=bool)
        self.sound = np.ones(n_slots, dtype=bool)
        self.good = None

    def admit(self, slot, state):
        """Forget the slot's last row; the new one is where it starts."""
        self.counts[slot], self.given_up[slot] = 0, False
        if self.good is None:
            self.good = Block(state.parts)
        for kept, value in zip(self.good.parts, state.parts, strict=True):
            kept[slot] = value.detach()[slot]

    def remember(self, state, total):
        """Keep the state that is about to be moved, where its objective is finite.

        Parameters
        ----------
        state : Block of Tensor (n_slots, ...)
        total : Tensor of shape (n_slots,)
            The objective there.
        """
        self.sound = torch.isfinite(total.detach()).cpu().numpy()
        kept_slots = self.sound & ~self.given_up
        if kept_slots.all():
            self.good.memory.copy_(state.memory)
            return
        for kept, value in zip(self.good.parts, state.parts, strict=True):
            kept.copy_(torch.where(_beside(kept_slots, value), value.detach(), kept))

    def correct(self, state, n_params):
        """Shorten the steps of rows that were taken back, and take back those that went wrong.

        Parameters
        ----------
        state : Block of Tensor (n_slots, ...)
            After the step; changed in place.
        n_params : int
            How many of its parts are parameters; the rest is the memory of their rules.
        """
        if self.counts.any():
            self._shorten(state.parts[:n_params])
        lost = ~(self.sound & state.finite())
        self.counts[lost & ~self.given_up] += 1
        self.given_up |= self.counts > _MOST
        np.minimum(self.counts, _MOST, out=self.counts)
        back = lost | self.given_up
        if not back.any():
            return
        for good, value in zip(self.good.parts, state.parts, strict=True):
            value.copy_(torch.where(_beside(back, value), good, value.detach()))

    def _shorten(self, params):
        for good, value in zip(self.good.parts[: len(params)], params, strict=True):
            factors = _beside(_SHRINK**self.counts, value)
            shorter = good + factors.to(value.dtype) * (value.detach() - good)
            value.copy_(torch.where(factors < 1, shorter, value.detach()))


def _beside(values, other):
    """Values (n_slots,) in the shape that broadcasts against `other` (n_slots, ...)."""
    shaped = torch.from_numpy(values).reshape(-1, *[1] * (other.ndim - 1))
    return shaped.to(other.device)

"""The way back for a row whose objective is no number, while its neighbours go on undisturbed."""

import numpy as np
import torch

__all__ = ["Rollback"]

_MOST = 3
_SHRINK = 0.1


class Rollback:
    """Keeps every slot's last good state, and takes the slots back that lost theirs.

    A row whose objective is not finite returns to the state before its last step and goes on with
    steps a tenth as long; after three such returns it is given up, and stays at its last good
    state. Each slot is looked at by itself, so that the others keep their bits.

    Parameters
    ----------
    n_slots : int
    device : torch.device or str

    Attributes
    ----------
    counts : ndarray of int of shape (n_slots,)
        Returns of the row in each slot.
    given_up : ndarray of bool of shape (n_slots,)

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.rollback import Rollback
    >>> rollback, x = Rollback(2, "cpu"), torch.zeros(2, 1)
    >>> rollback.admit(0, [x])
    >>> rollback.admit(1, [x])
    >>> for total in ([1.0, 1.0], [1.0, float("nan")]):
    ...     rollback.remember([x])
    ...     _ = x.add_(1.0)
    ...     rollback.correct([x], torch.tensor(total), n_params=1)
    >>> x.flatten().tolist(), rollback.counts.tolist()
    ([2.0, 0.0], [0, 1])
    """

    def __init__(self, n_slots, device):
        self.counts = np.zeros(n_slots, dtype=int)
        self.given_up = np.zeros(n_slots, dtype=bool)
        self.good = self.here = None
        self.device = device

    def admit(self, slot, state):
        """Forget the slot's last row; the new one is where it starts."""
        self.counts[slot], self.given_up[slot] = 0, False
        if self.good is None:
            self.good = [value.detach().clone() for value in state]
            self.here = [torch.empty_like(value) for value in self.good]
        for kept, value in zip(self.good, state, strict=True):
            kept[slot] = value.detach()[slot]

    def remember(self, state):
        """Keep the state that the objective was just computed at, before it is moved."""
        for kept, value in zip(self.here, state, strict=True):
            kept.copy_(value.detach())

    def correct(self, state, total, n_params):
        """Shorten the steps of rows that were taken back, and take back those that went wrong.

        Parameters
        ----------
        state : list of Tensor (n_slots, ...)
            After the step; changed in place.
        total : Tensor of shape (n_slots,)
            The objective before it.
        n_params : int
            How many of `state` are parameters; the rest is the memory of their rules.
        """
        if self.counts.any():
            self._shorten(state[:n_params])
        sound = torch.isfinite(total.detach())
        arrived = sound.clone()
        for value in state:
            arrived &= torch.isfinite(value.detach()).reshape(len(value), -1).all(1)
        lost = ~arrived.cpu().numpy()
        if not lost.any() and not self.given_up.any():
            self.good, self.here = self.here, self.good
            return
        self.counts[lost & ~self.given_up] += 1
        self.given_up |= self.counts > _MOST
        self._take_back(state, sound & ~self._mask(self.given_up), self._mask(lost | self.given_up))
        np.minimum(self.counts, _MOST, out=self.counts)

    def _shorten(self, params):
        factors = torch.from_numpy(_SHRINK**self.counts).to(self.device)
        for here, value in zip(self.here[: len(params)], params, strict=True):
            shape = (-1, *[1] * (value.ndim - 1))
            shorter = here + factors.reshape(shape).to(value.dtype) * (value.detach() - here)
            value.copy_(torch.where((factors < 1).reshape(shape), shorter, value.detach()))

    def _take_back(self, state, sound, lost):
        for good, here, value in zip(self.good, self.here, state, strict=True):
            shape = (-1, *[1] * (value.ndim - 1))
            # Where the objective was finite, "here" is the last good state; else it was before.
            good.copy_(torch.where(sound.reshape(shape), here, good))
            value.copy_(torch.where(lost.reshape(shape), good, value.detach()))

    def _mask(self, slots):
        return torch.from_numpy(slots).to(self.device)

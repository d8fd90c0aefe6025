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
    ...     rollback.remember([x], torch.tensor(total))
    ...     _ = x.add_(1.0)
    ...     rollback.correct([x], n_params=1)
    >>> x.flatten().tolist(), rollback.counts.tolist()
    ([2.0, 0.0], [0, 1])
    """

    def __init__(self, n_slots, device):
        self.counts = np.zeros(n_slots, dtype=int)
        self.given_up = np.zeros(n_slots, dtype=bool)
        self.sound = np.ones(n_slots, dtype=bool)
        self.good = None
        self.device = device

    def admit(self, slot, state):
        """Forget the slot's last row; the new one is where it starts."""
        self.counts[slot], self.given_up[slot] = 0, False
        if self.good is None:
            self.good = [value.detach().clone() for value in state]
        for kept, value in zip(self.good, state, strict=True):
            kept[slot] = value.detach()[slot]

    def remember(self, state, total):
        """Keep the state that is about to be moved, where its objective is finite.

        Parameters
        ----------
        state : list of Tensor (n_slots, ...)
        total : Tensor of shape (n_slots,)
            The objective there.
        """
        self.sound = torch.isfinite(total.detach()).cpu().numpy()
        kept_slots = self.sound & ~self.given_up
        for kept, value in zip(self.good, state, strict=True):
            if kept_slots.all():
                kept.copy_(value.detach())
            else:
                kept.copy_(torch.where(_beside(kept_slots, value), value.detach(), kept))

    def correct(self, state, n_params):
        """Shorten the steps of rows that were taken back, and take back those that went wrong.

        Parameters
        ----------
        state : list of Tensor (n_slots, ...)
            After the step; changed in place.
        n_params : int
            How many of `state` are parameters; the rest is the memory of their rules.
        """
        if self.counts.any():
            self._shorten(state[:n_params])
        lost = ~(self.sound & _all_finite(state))
        self.counts[lost & ~self.given_up] += 1
        self.given_up |= self.counts > _MOST
        np.minimum(self.counts, _MOST, out=self.counts)
        back = lost | self.given_up
        if not back.any():
            return
        for good, value in zip(self.good, state, strict=True):
            value.copy_(torch.where(_beside(back, value), good, value.detach()))

    def _shorten(self, params):
        for good, value in zip(self.good[: len(params)], params, strict=True):
            factors = _beside(_SHRINK**self.counts, value)
            shorter = good + factors.to(value.dtype) * (value.detach() - good)
            value.copy_(torch.where(factors < 1, shorter, value.detach()))


def _all_finite(state):
    """Slots (n_slots,) without a NaN or an infinity."""
    # One pass: a sum tells of both. Only a sum that overflows has to be looked at closely.
    rows = [value.detach().reshape(len(value), -1) for value in state]
    finite = torch.isfinite(torch.stack([values.sum(1) for values in rows])).all(0)
    if not finite.all():
        finite = torch.stack([torch.isfinite(values).all(1) for values in rows]).all(0)
    return finite.cpu().numpy()


def _beside(values, other):
    """Values (n_slots,) in the shape that broadcasts against `other` (n_slots, ...)."""
    shaped = torch.from_numpy(values).reshape(-1, *[1] * (other.ndim - 1))
    return shaped.to(other.device)

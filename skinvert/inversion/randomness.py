"""Random numbers that belong to rows: one generator a row, whatever the batch around it."""

import hashlib

import numpy as np
import torch

__all__ = ["RowNoise", "row_seeds"]


def row_seeds(requests, random_state):
    """One 63-bit seed for each requested row.

    Rows that ask for the same thing get different seeds, in the order in which they ask; rows that
    ask for different things share theirs, occurrence by occurrence. A row's seed therefore
    survives a permutation and a truncation of the request, and a strip of mixtures starts from
    common random numbers, so that it changes smoothly.

    Parameters
    ----------
    requests : sequence of bytes, length n
        What each row asks for.
    random_state : int
        Root seed, non-negative.

    Returns
    -------
    seeds : ndarray of shape (n,), dtype int64

    Examples
    --------
    >>> from skinvert.inversion.randomness import row_seeds
    >>> a, b, a_again = row_seeds([b"a", b"b", b"a"], 0)
    >>> bool(a == b), bool(a == a_again)
    (True, False)
    """
    occurrences = {}
    seeds = np.empty(len(requests), dtype=np.int64)
    for row, request in enumerate(requests):
        occurrence = occurrences.get(request, 0)
        occurrences[request] = occurrence + 1
        digest = hashlib.blake2b(f"{random_state}/{occurrence}".encode(), digest_size=8).digest()
        seeds[row] = int.from_bytes(digest, "little") >> 1
    return seeds


class RowNoise:
    """Noise for a batch of slots, each drawn from a generator of its own.

    Draws are made on the CPU, so that a seed means the same numbers on every device, and
    a slot's draws depend on its own seed and its own earlier draws alone.

    Parameters
    ----------
    seeds : sequence of int, length n_slots
    device : torch.device or str, default="cpu"
        Where drawn tensors are moved.

    Examples
    --------
    >>> from skinvert.inversion.randomness import RowNoise
    >>> RowNoise([1, 2]).normal(3, 4).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, seeds, device="cpu"):
        self.device = device
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __len__(self):
        return len(self.generators)

    def restart(self, slot, seed):
        """Give a slot to another row."""
        self.generators[slot].manual_seed(int(seed))

    def slot(self, slot):
        """The noise of one slot, which goes on where that slot's draws ended."""
        view = RowNoise([], self.device)
        view.generators = self.generators[slot : slot + 1]
        return view

    def children(self, n):
        """Noise with `n` slots whose seeds are drawn from the first slot's generator."""
        seeds = torch.randint(2**62, (n,), generator=self.generators[0])
        return RowNoise(seeds.tolist(), self.device)

    def integers(self):
        """One draw in [0, 2^62) for each slot, fit to seed other noise: shape (n_slots,)."""
        drawn = [torch.randint(2**62, (1,), generator=generator) for generator in self.generators]
        return torch.cat(drawn)

    def normal(self, *shape):
        """Standard normal draws of shape (n_slots, *shape)."""
        return self._draw(torch.randn, shape)

    def uniform(self, *shape):
        """Uniform draws in [0, 1) of shape (n_slots, *shape)."""
        return self._draw(torch.rand, shape)

    def _draw(self, sampler, shape):
        drawn = torch.empty((len(self), *shape))
        for row, generator in zip(drawn, self.generators, strict=True):
            sampler(shape, generator=generator, out=row)
        return drawn.to(self.device)

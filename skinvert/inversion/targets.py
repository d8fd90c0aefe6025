"""What to excite: classes, mixtures of classes, channels of a layer, single neurons."""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Target"]


class Target:
    """What each generated image must excite.

    Without a layer the units are the classifier's outputs, in the order of ``classes_``; with one
    they are the channels of that layer's output. `generate` builds targets from `y` and `weights`;
    write one yourself to excite something inside the network.

    Parameters
    ----------
    units : sequence of length n
        One entry an image: a unit's index, a sequence of indices (equal weights), or a mapping
        from index to weight.
    layer : str or None, default=None
        Name as in ``module.named_modules()``. None means the classifier's outputs.
    position : tuple of int or None, default=None
        Indices into the axes after the channel's, (row, column) for a convolution: one neuron.
        None takes the mean over all positions.

    Raises
    ------
    ValueError
        For empty requests, negative indices, and weights that are negative or all zero.

    Examples
    --------
    >>> from skinvert import Target
    >>> target = Target([4, [1, 2], {0: 3.0, 7: 1.0}], layer="features.3")
    >>> len(target), target[1:].matrix(8)[1].tolist()
    (3, [0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25])
    """

    def __init__(
        self, units: Any, *, layer: str | None = None, position: tuple | None = None
    ) -> None:
        if isinstance(units, (str, numbers.Number)) or not hasattr(units, "__len__"):
            raise ValueError(
                f"units must be a sequence with one entry for each image, got {units!r}; for one "
                f"image pass [{units!r}]."
            )
        self.units = units
        self.layer = layer
        self.position = position
        self.is_mixture = False
        self._pairs = [_as_pairs(entry) for entry in units]

    @classmethod
    def _of_pairs(cls, pairs, layer, position):
        target = cls([], layer=layer, position=position)
        target._pairs = target.units = pairs
        return target

    @classmethod
    def of_columns(cls, columns: Any) -> "Target":
        """Ask for one class a row.

        Parameters
        ----------
        columns : sequence of int
            Of the classifier's outputs.

        Returns
        -------
        target : Target
        """
        return cls._of_pairs([((int(column), 1.0),) for column in columns], None, None)

    @classmethod
    def of_weights(cls, weights: np.ndarray) -> "Target":
        """Ask for a mixture of classes a row.

        Parameters
        ----------
        weights : ndarray of shape (n, n_classes)
            Rows sum to one.

        Returns
        -------
        target : Target
        """
        pairs = [tuple((int(c), float(row[c])) for c in np.flatnonzero(row)) for row in weights]
        target = cls._of_pairs(pairs, None, None)
        target.is_mixture = True
        return target

    def __len__(self):
        return len(self._pairs)

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            raise TypeError(f"a Target is cut with slices only, got {rows!r}.")
        cut = Target._of_pairs(self._pairs[rows], self.layer, self.position)
        cut.is_mixture = self.is_mixture
        return cut

    def __repr__(self):
        where = "" if self.layer is None else f", layer={self.layer!r}"
        return f"Target(<{len(self)} images>{where})"

    def requests(self) -> list:
        """Tell what each row asks for.

        Returns
        -------
        requests : list of bytes
            Equal requests have equal bytes.
        """
        return [repr((pairs, self.layer, self.position)).encode() for pairs in self._pairs]

    def matrix(self, n_units: int) -> np.ndarray:
        """Weights of the units, rows summing to one.

        Parameters
        ----------
        n_units : int
            Outputs of the network, or channels of the layer.

        Returns
        -------
        weights : ndarray of shape (n, n_units), dtype float32

        Raises
        ------
        ValueError
            If an index is out of range.
        """
        weights = np.zeros((len(self), n_units), dtype=np.float32)
        for row, pairs in enumerate(self._pairs):
            total = sum(weight for _, weight in pairs)
            for unit, weight in pairs:
                if unit >= n_units:
                    where = "the classifier" if self.layer is None else f"layer {self.layer!r}"
                    raise ValueError(
                        f"row {row} asks for unit {unit}, but {where} has {n_units} units "
                        f"(0 to {n_units - 1})."
                    )
                weights[row, unit] += weight / total
        return weights


def _as_pairs(entry):
    if isinstance(entry, Mapping):
        pairs = tuple((unit, float(weight)) for unit, weight in entry.items())
    elif isinstance(entry, numbers.Integral):
        pairs = ((entry, 1.0),)
    else:
        pairs = tuple((unit, 1.0) for unit in entry)
    if not pairs or any(not isinstance(u, numbers.Integral) or u < 0 for u, _ in pairs):
        raise ValueError(f"each entry of units must name non-negative unit indices, got {entry!r}.")
    values = [weight for _, weight in pairs]
    if not np.isfinite(values).all() or min(values) < 0 or sum(values) == 0:
        raise ValueError(
            f"unit weights must be finite, non-negative and not all zero, got {entry!r}."
        )
    return tuple((int(unit), weight) for unit, weight in pairs)

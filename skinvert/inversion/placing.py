r"""An object moved to where a map asks for it: statistics that know places (IMAGINE, section 4.2).

Eq. 5 compares what is in two pictures and not where, and eq. 10 asks the classifier alone where it
looks, which noise can please. Here the map that was asked for also divides the picture: what lies
under it shall have the statistics of what the reference has around its own object, and the rest
those of the rest. The first image has the object in its place already.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import interpolate

from skinvert.inversion.attribution import grad_cam
from skinvert.inversion.objectives import Term
from skinvert.inversion.statistics import channel_statistics
from skinvert.models.trials import in_batches

__all__ = [
    "PlacedMatching",
    "Placement",
    "object_centres",
    "placed_statistics",
    "position_maps",
    "shifted",
]

_LEAST_VARIANCE = 1e-12
# Objects are larger than the hills that ask for them: the first image has them as far as there is
# a quarter of the hill's height.
_REACH = 4.0


class Placement:
    """Where objects are, and where they shall be.

    Parameters
    ----------
    asked : ndarray of shape (n, h, w)
        Maps of where each object shall be, of any resolution.
    centres : ndarray of shape (n, 2)
        Row and column where it is in the reference, in pixels.
    sides : tuple (H, W)
        Of the images.

    Attributes
    ----------
    asked : Tensor of shape (n, H, W)
        In [0, 1].
    known : Tensor of shape (n, H, W)
        The same maps moved to the reference's own object, and zero beyond what was moved in.
    moves : ndarray of int of shape (n, 2)
        From the object to where it shall be.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.attribution import gaussian_blob
    >>> from skinvert.inversion.placing import Placement
    >>> blob = gaussian_blob((9, 9), center=(2, 6), sigma=1.0)
    >>> Placement(blob[None], np.array([[4.0, 4.0]]), (9, 9)).moves.tolist()
    [[-2, 2]]
    """

    def __init__(self, asked, centres, sides):
        asked = torch.from_numpy(np.ascontiguousarray(asked, dtype=np.float32))
        asked = interpolate(asked[:, None], sides, mode="bilinear", antialias=True)[:, 0]
        self.asked = asked / asked.amax((1, 2), keepdim=True)
        self.moves = np.round(_centroids(self.asked.numpy()) - centres).astype(int)
        moved = [
            shifted(one[None], -move, fill="zero")[0]
            for one, move in zip(self.asked, self.moves, strict=True)
        ]
        self.known = torch.stack(moved)

    def start(self, row, image, reference):
        """The reference, moved, where the map asks for it, and `image` (1, C, H, W) elsewhere."""
        share = (_REACH * self.asked[row]).clamp(max=1).to(image)
        return torch.lerp(image, shifted(reference, self.moves[row]), share)


def position_maps(position: ArrayLike, n_rows: int) -> NDArray[np.float32]:
    """Maps of where objects shall be, one for each picture.

    Parameters
    ----------
    position : array-like of shape (H, W), (1, H, W) or (n_rows, H, W)
    n_rows : int
        Pictures that are varied.

    Returns
    -------
    maps : ndarray of shape (n_rows, H, W), float32
        Not to be written to.

    Raises
    ------
    ValueError
        For other shapes, and for maps that are negative or zero everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.placing import position_maps
    >>> position_maps(np.eye(4), 3).shape
    (3, 4, 4)
    """
    maps = np.asarray(position, dtype=np.float32)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or len(maps) not in (1, n_rows):
        raise ValueError(
            f"position must be one map (H, W) or one for each of {n_rows} pictures, (n, H, W), "
            f"got shape {np.shape(position)}."
        )
    if not np.isfinite(maps).all() or maps.min() < 0 or not maps.any(axis=(1, 2)).all():
        raise ValueError("position must be finite, not negative, and not zero everywhere.")
    return np.broadcast_to(maps, (n_rows, *maps.shape[1:]))


def shifted(images, move, *, fill="reflect"):
    """Images (..., H, W) moved by whole pixels (down, right).

    Parameters
    ----------
    images : Tensor of shape (..., H, W)
    move : sequence of two int
    fill : {"reflect", "zero"}, default="reflect"
        What comes in from beyond the border.

    Returns
    -------
    moved : Tensor of shape (..., H, W)

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.placing import shifted
    >>> shifted(torch.tensor([[1, 2, 3]]), (0, 1)).tolist()
    [[2, 1, 2]]
    """
    for axis, amount in zip((-2, -1), move, strict=True):
        size = images.shape[axis]
        places = torch.arange(size) - int(amount)
        inside = (places >= 0) & (places < size)
        # A triangle wave, which is what reflecting at both borders again and again makes.
        folded = (places + size - 1).remainder(max(2 * size - 2, 1)) - (size - 1)
        images = images.index_select(axis, folded.abs().to(images.device))
        if fill == "zero":
            shape = (-1, 1) if axis == -2 else (-1,)
            images = images * inside.reshape(shape).to(images)
    return images


def object_centres(classifier, layer, rows, weights, *, shape, batch_size, device):
    """Where the classifier sees the class in each picture: Grad-CAM's centre of mass.

    Parameters
    ----------
    classifier : FrozenClassifier
    layer : str
    rows : ndarray of shape (n, n_features)
    weights : ndarray of shape (n, n_classes)
    shape : tuple (C, H, W)
    batch_size : int
    device : torch.device

    Returns
    -------
    centres : ndarray of shape (n, 2)
        Row and column in pixels; the middle where the map is zero everywhere.
    """
    n_values = rows.shape[1]

    def answer(packed):
        with torch.enable_grad():
            images = packed[:, :n_values].reshape(-1, *shape).clone().requires_grad_()
            logits, activations = classifier.with_activations(images, [layer])
            scores = (packed[:, n_values:] * logits).sum(1)
            return (grad_cam(scores, activations[layer]).detach(),)

    (maps,) = in_batches(answer, np.concatenate([rows, weights], 1), batch_size, device)
    cells = np.array(shape[1:]) / maps.shape[1:]
    return (_centroids(maps) + 0.5) * cells - 0.5


def _centroids(maps):
    """Centre of mass (n, 2) of maps (n, h, w)."""
    mass = maps.sum((1, 2), keepdims=True)
    maps = np.where(mass > 0, maps, 1.0)
    height, width = maps.shape[1:]
    mass = maps.sum((1, 2))
    rows = (maps.sum(2) * np.arange(height)).sum(1) / mass
    columns = (maps.sum(1) * np.arange(width)).sum(1) / mass
    return np.column_stack([rows, columns])


def placed_statistics(features, maps):
    r"""Mean and standard deviation of each channel under a map, and under what it leaves.

    Parameters
    ----------
    features : Tensor of shape (n, C, h, w), or of another layout
        Layers without rows and columns have the same statistics everywhere: `channel_statistics`.
    maps : Tensor of shape (n, H, W)
        In [0, 1]; resized to the layer's resolution.

    Returns
    -------
    mean, std : Tensor of shape (n, 2, C), or (n, 1, C) without rows and columns
    """
    if features.ndim != 4:
        return tuple(part[:, None] for part in channel_statistics(features))
    sides = features.shape[2:]
    under = interpolate(maps[:, None], sides, mode="bilinear", antialias=True).flatten(1)
    shares = torch.stack([under, 1 - under], 1)
    shares = shares / shares.sum(2, keepdim=True).clamp_min(_LEAST_VARIANCE)
    positions = features.permute(0, 2, 3, 1).flatten(1, 2)
    mean = shares @ positions
    spread = [shares[:, k : k + 1] @ (positions - mean[:, k : k + 1]).square() for k in range(2)]
    return mean, torch.cat(spread, 1).clamp_min(_LEAST_VARIANCE).sqrt()


@dataclass(eq=False, repr=False)
class PlacedMatching(Term):
    r"""Eq. 5 twice: where the object shall be, and where it shall not; their mean.

    Parameters
    ----------
    weight : float, default=5.0
        The paper's λ.
    statistics : dict of str to tuple (mean, std) of Tensor (n_rows, 2, C)
        Of the references, by `placed_statistics`.
    maps : Tensor of shape (n_rows, H, W)
        Where the object shall be, in [0, 1].
    """

    weight: float = 5.0
    statistics: dict | None = None
    maps: torch.Tensor | None = None

    @property
    def layers(self):
        return tuple(self.statistics)

    def __call__(self, images, state):
        total, maps = 0.0, self.maps[state.rows]
        for layer, asked in self.statistics.items():
            found = placed_statistics(state.activations[layer], maps)
            for here, there in zip(found, asked, strict=True):
                gap = torch.linalg.vector_norm(here - there[state.rows], dim=2)
                total = total + gap.mean(1)
        return total

r"""Which places of an image a classifier's answer comes from, as something to optimise for.

Grad-CAM (Selvaraju et al., ICCV 2017) and the discriminant regions of SCOUT (Wang and Vasconcelos,
CVPR 2020) are both read off a layer's maps and the slope of a score in them. With
``create_graph=True`` the maps can be differentiated in turn, all the way to the pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch

from skinvert.inversion.objectives import Term

__all__ = [
    "Location",
    "discriminant_maps",
    "gaussian_blob",
    "grad_cam",
    "positional_attribution",
    "regions_of",
]

_TINY = 1e-8


def grad_cam(scores, activations, *, create_graph=False):
    r"""Grad-CAM maps :math:`m(f(x), y)`.

    :math:`\max(0, \sum_k \alpha_k A_k)`, where :math:`\alpha_k` is the slope of the score in map
    :math:`A_k`, averaged over positions.

    Parameters
    ----------
    scores : Tensor of shape (n,)
        One score for each image, the logit of its class.
    activations : Tensor of shape (n, C, h, w) or (n, n_tokens, C)
        What a layer answered on the way to the scores, attached to their graph. Tokens are laid out
        in a square, without those that come before it.
    create_graph : bool, default=False
        Whether the maps shall be differentiable.

    Returns
    -------
    maps : Tensor of shape (n, h, w)
        Not negative, not normalised.

    Raises
    ------
    ValueError
        If the scores do not depend on the layer, or it has no positions.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.attribution import grad_cam
    >>> maps = torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]]], requires_grad=True)
    >>> scores = maps[:, 0].sum((1, 2)) - maps[:, 1].sum((1, 2))
    >>> grad_cam(scores, maps).tolist()
    [[[0.0, 1.0]]]
    """
    slopes = _slopes(scores, activations, create_graph)
    maps, slopes = _as_maps(activations), _as_maps(slopes)
    return (slopes.mean((2, 3), keepdim=True) * maps).sum(1).clamp_min(0)


def positional_attribution(scores, activations, *, create_graph=False):
    r"""Slope times activation at each position, summed over channels and rectified.

    Unlike Grad-CAM it keeps apart where a score comes from in networks whose last layers know
    positions. SCOUT's attribution.

    Parameters
    ----------
    scores, activations, create_graph
        As of `grad_cam`.

    Returns
    -------
    maps : Tensor of shape (n, h, w)
    """
    slopes = _slopes(scores, activations, create_graph)
    return (_as_maps(slopes) * _as_maps(activations)).sum(1).clamp_min(0)


def _slopes(scores, activations, create_graph):
    if not (activations.requires_grad and scores.requires_grad):
        raise ValueError(
            "scores and activations must be attached to one graph; got detached ones. Run the "
            "network on images that require gradients, outside torch.no_grad()."
        )
    (slopes,) = torch.autograd.grad(
        scores.sum(), activations, create_graph=create_graph, retain_graph=True, allow_unused=True
    )
    if slopes is None:
        raise ValueError(
            "the scores do not depend on this layer's output; choose a layer that the network "
            "passes on the way to them."
        )
    return slopes


def _as_maps(values):
    """Maps (n, C, h, w) of a convolution's answer, or of a square of tokens."""
    if values.ndim == 4:
        return values
    side = int(values.shape[1] ** 0.5) if values.ndim == 3 else 0
    if side < 1:
        raise ValueError(
            f"attribution needs maps (n, C, h, w) or tokens (n, n_tokens, C), got a layer that "
            f"answers with shape {tuple(values.shape)}; choose a layer with positions."
        )
    # Class tokens and registers come first.
    return values[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def normalized(maps):
    """Maps (n, h, w) divided by their largest value; all-zero ones stay zero."""
    return maps / maps.amax((1, 2), keepdim=True).clamp_min(_TINY)


def discriminant_maps(logits, activations, columns, others):
    r"""Where an image is of one class and not of another: :math:`m_y (1 - m_{y'})`.

    SCOUT's discriminant explanation, from `positional_attribution` of both classes, each divided
    by its largest value.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    activations : Tensor of shape (n, C, h, w)
        Attached to the graph of the logits.
    columns, others : LongTensor of shape (n,)
        The class y, and the class y' that it is told from.

    Returns
    -------
    maps : Tensor of shape (n, h, w)
        In [0, 1].
    """
    each = torch.arange(len(logits), device=logits.device)
    for_it = normalized(positional_attribution(logits[each, columns], activations))
    against = normalized(positional_attribution(logits[each, others], activations))
    return for_it * (1 - against)


def regions_of(maps, sides, share):
    """The places where maps are largest, as masks of the image.

    Parameters
    ----------
    maps : Tensor of shape (n, h, w)
        Enlarged to the image bilinearly.
    sides : tuple (H, W)
    share : float
        Of the pixels, in (0, 1]; rounded down, and at least one.

    Returns
    -------
    masks : Tensor of shape (n, H, W), bool
        Exactly so many pixels each; where values are equal the upper left comes first.
    """
    wide = torch.nn.functional.interpolate(
        maps[:, None], size=sides, mode="bilinear", align_corners=False
    ).flatten(1)
    n_pixels = max(int(share * wide.shape[1]), 1)
    best = wide.argsort(dim=1, descending=True, stable=True)[:, :n_pixels]
    masks = torch.zeros_like(wide, dtype=torch.bool).scatter_(1, best, True)
    return masks.unflatten(1, tuple(sides))


def gaussian_blob(sides, center, sigma):
    """A map of where an object shall be: one Gaussian hill, 1 at its top (section 4.2).

    Parameters
    ----------
    sides : tuple (H, W)
        Of the images.
    center : tuple (row, column)
        In pixels, (0, 0) being the middle of the upper left one.
    sigma : float
        Standard deviation in pixels, positive.

    Returns
    -------
    blob : ndarray of shape (H, W), float32

    Raises
    ------
    ValueError
        If the centre lies outside the picture or `sigma` is not positive.

    Examples
    --------
    >>> from skinvert.inversion.attribution import gaussian_blob
    >>> gaussian_blob((3, 5), center=(1, 1), sigma=1.0).round(2)[1].tolist()
    [0.6100000143051147, 1.0, 0.6100000143051147, 0.14000000059604645, 0.009999999776482582]
    """
    height, width = sides
    row, column = center
    if not (0 <= row <= height - 1 and 0 <= column <= width - 1):
        raise ValueError(
            f"center={tuple(center)} lies outside the picture of {height} x {width} pixels; rows "
            f"run from 0 to {height - 1} and columns from 0 to {width - 1}."
        )
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, in pixels, got {sigma!r}.")
    rows, columns = np.arange(height)[:, None] - row, np.arange(width) - column
    return np.exp(-(rows**2 + columns**2) / (2 * sigma**2)).astype(np.float32)


@dataclass(eq=False, repr=False)
class Location(Term):
    r"""Distance of the Grad-CAM map from the map that was asked for.

    :math:`\lVert m(f(\hat x), y^*) - a^0 \rVert_2`, IMAGINE's eq. 10. Both maps have the layer's
    resolution and are divided by their largest value.

    Parameters
    ----------
    weight : float, default=10.0
        The paper's ν.
    layer : str
        Whose activations are read.
    maps : Tensor of shape (n_rows, h, w)
        One for each row of the request; shrunk to the layer's resolution by averaging.
    """

    weight: float = 10.0
    layer: str | None = None
    maps: torch.Tensor | None = None

    @property
    def layers(self):
        return (self.layer,)

    def __call__(self, images, state):
        activations = state.activations[self.layer]
        scores = (state.weights * state.logits).sum(1)
        found = normalized(grad_cam(scores, activations, create_graph=True))
        asked = torch.nn.functional.adaptive_avg_pool2d(
            self.maps[state.rows][:, None], found.shape[1:]
        )[:, 0]
        gap = (found - normalized(asked)).square().sum((1, 2))
        return gap.clamp_min(_TINY).sqrt()

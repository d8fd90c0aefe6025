"""Several classifiers as one: images that all of them agree on are less of an accident of one."""

import copy
from typing import Any

from torch import nn

__all__ = ["ClassifierEnsemble"]


class ClassifierEnsemble(nn.Module):
    """The weighted mean of several networks' logits; any estimator takes it as its `classifier`.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        From images to logits (n, n_classes) of the same classes in the same order. They are copied
        and set to eval mode.
    weights : sequence of float, default=None
        Non-negative, one a network; normalised. None weighs all alike.
    sizes : sequence of int or None, default=None
        Side at which each network sees the images, resized bilinearly; None leaves them as they
        are.

    Raises
    ------
    ValueError
        Without networks, for weights that are negative, all zero or not one a network, and from
        `forward` where networks differ in their number of classes.
    TypeError
        For anything that is no module.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.ensembles import ClassifierEnsemble
    >>> nets = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)) for _ in range(2)]
    >>> ClassifierEnsemble(nets, weights=[3, 1])(torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(self, networks: Any, weights: Any = None, sizes: Any = None) -> None:
        super().__init__()
        networks = list(networks)
        weights = [1.0] * len(networks) if weights is None else [float(w) for w in weights]
        sizes = [None] * len(networks) if sizes is None else list(sizes)
        for network in networks:
            if not isinstance(network, nn.Module):
                raise TypeError(
                    f"networks must be torch modules, got {type(network).__name__}; a scikit-learn "
                    "classifier becomes one with skinvert.models.frozen.freeze."
                )
        if not networks or not len(networks) == len(weights) == len(sizes):
            raise ValueError(
                f"got {len(networks)} networks, {len(weights)} weights and {len(sizes)} sizes; "
                "expected at least one network, and one of each for it."
            )
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(
                f"weights must be non-negative, finite and not all zero, got {weights}."
            )
        self.networks = nn.ModuleList(copy.deepcopy(network).eval() for network in networks)
        self.weights = [weight / sum(weights) for weight in weights]
        self.sizes = sizes

    def forward(self, images: Any) -> Any:
        """Weighted mean of the networks' logits.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W)
            In data units; resized for networks that have a size of their own.

        Returns
        -------
        logits : Tensor of shape (n, n_classes)

        Raises
        ------
        ValueError
            If networks differ in their number of classes.
        """
        answers = [
            network(self._resized(images, size))
            for network, size in zip(self.networks, self.sizes, strict=True)
        ]
        shapes = [tuple(answer.shape) for answer in answers]
        if len(set(shapes)) > 1:
            raise ValueError(f"the networks answer in the shapes {shapes}; expected one shape.")
        return sum(weight * answer for weight, answer in zip(self.weights, answers, strict=True))

    @staticmethod
    def _resized(images, size):
        if size is None:
            return images
        return nn.functional.interpolate(
            images, (size, size), mode="bilinear", align_corners=False, antialias=True
        )

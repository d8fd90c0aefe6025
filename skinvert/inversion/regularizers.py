r"""What images are asked for on their own account: :math:`\alpha R_{TV} + \beta \lVert x \rVert^2`.

Eq. 2 of IMAGINE (CVPR 2021), which is DeepInversion's.
"""

from collections.abc import Sequence

import numpy as np
import torch

from skinvert.inversion.objectives import PriorEnergy, Term, TotalVariation
from skinvert.inversion.priors import MeanPrior
from skinvert.models.frozen import FrozenClassifier

__all__ = ["image_terms"]


def image_terms(
    classifier: FrozenClassifier,
    image_shape: Sequence[int],
    *,
    tv_weight: float,
    l2_weight: float,
    scale: str,
    device: torch.device | str = "cpu",
) -> list[tuple[str, Term]]:
    """Total variation, and the squared distance from what the network takes for zero.

    Parameters
    ----------
    classifier : FrozenClassifier
        Its mean is the zero.
    image_shape : tuple (C, H, W)
    tv_weight, l2_weight : float
        The paper's α and β.
    scale : {"squared", "mean_squared"}
        Whether pixels are summed or averaged in the second term; the first one is an average.
    device : torch.device or str, default="cpu"

    Returns
    -------
    terms : list of tuple (name, Term)
        "tv" and "l2".

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.regularizers import image_terms
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(torch.nn.Flatten(), (1, 2, 2))
    >>> terms = image_terms(net, (1, 2, 2), tv_weight=1.0, l2_weight=1.0, scale="squared")
    >>> [name for name, _ in terms]
    ['tv', 'l2']
    """
    mean = classifier.mean.cpu().numpy() if classifier.is_normalized else 0.0
    zero = MeanPrior(np.broadcast_to(mean, image_shape).reshape(-1).copy(), scale=scale).to(device)
    return [
        ("tv", TotalVariation(tv_weight)),
        ("l2", PriorEnergy(l2_weight, zero)),
    ]

r"""The terms of the coupled network's loss, :math:`-a(c_i) + \lambda \sum_{j \ne i} a(c_j)`.

Eq. 2 of Despraz et al. (IJCCI 2017), where the activations :math:`a` of the last layer are
rectified logits. Units are classes, or channels of the layer that a target names.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import leaky_relu

from skinvert.inversion.objectives import Excitation

__all__ = ["OtherEvidence", "TargetEvidence"]


@dataclass(eq=False, repr=False)
class TargetEvidence(Excitation):
    r"""Minus the activation that is asked for, :math:`-\sum_i w_i\, a(c_i)`.

    Parameters
    ----------
    weight : float, default=1.0
    leak : float, default=1.0
        Slope of :math:`a` below zero. At 0 it is the paper's, whose gradient vanishes as soon as
        the target falls silent.
    centred : bool, default=False
        Measure logits from their mean over the classes, which leaves their softmax as it is. For
        classifiers that fix no zero, as log-probabilities do.
    balanced : bool, default=False
        Of several classes, take the soft minimum :math:`-\log \sum_i w_i\, e^{-a(c_i)}` rather than
        the sum, which is soon that of the easiest class alone. For one class both are the same.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.evidence import TargetEvidence
    >>> from skinvert.inversion.objectives import State
    >>> state = State(logits=torch.tensor([[-2.0, 3.0]]), weights=torch.tensor([[1.0, 0.0]]))
    >>> float(TargetEvidence()(None, state)), float(TargetEvidence(leak=0.1)(None, state))
    (2.0, 0.20000000298023224)
    """

    weight: float = 1.0
    leak: float = 1.0
    centred: bool = False
    balanced: bool = False
    excites_layers = True

    def __call__(self, images, state):
        evidence = leaky_relu(_units(state, self.centred), self.leak)
        if self.balanced:
            return torch.logsumexp(state.weights.log() - evidence, dim=1)
        return -(state.weights * evidence).sum(1)


@dataclass(eq=False, repr=False)
class OtherEvidence(Excitation):
    r"""The activations that are not asked for, :math:`\sum_j a(c_j)`.

    Parameters
    ----------
    weight : float, default=0.01
        The paper's λ.
    centred : bool, default=False
        As of `TargetEvidence`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.evidence import OtherEvidence
    >>> from skinvert.inversion.objectives import State
    >>> state = State(logits=torch.tensor([[1.0, 3.0, -1]]), weights=torch.tensor([[1.0, 0.0, 0]]))
    >>> float(OtherEvidence()(None, state))  # the weight is applied by the sum of terms
    3.0
    """

    weight: float = 0.01
    centred: bool = False
    excites_layers = True

    def __call__(self, images, state):
        units = _units(state, self.centred)
        return units.clamp_min(0).masked_fill(state.weights > 0, 0.0).sum(1)


def _units(state, centred):
    units = state.units()
    return units - units.mean(1, keepdim=True) if centred and state.layer is None else units

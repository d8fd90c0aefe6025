"""Named terms and their weighted sum: what an optimised input is asked to minimise.

A term is called with ``(images, state)`` and returns one value for each image; it is always
minimised, and its weight is applied here and nowhere else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import _BaseComposition
from torch import Tensor
from torch.nn.functional import log_softmax

__all__ = [
    "Activation",
    "CrossEntropy",
    "Excitation",
    "Logit",
    "Margin",
    "Norm",
    "Objective",
    "PriorEnergy",
    "State",
    "Term",
    "TotalVariation",
    "as_objective",
]


@dataclass
class State:
    """What terms may look at, computed once a step for the whole batch.

    Attributes
    ----------
    logits : Tensor of shape (n, n_classes)
        The classifier's answer to the (transformed) images.
    weights : Tensor of shape (n, n_units)
        What each row asks for; rows sum to one. Units are classes, or channels of `layer`.
    activations : dict of str to Tensor
        Outputs of the layers that some term asked for.
    layer : str or None
        Layer whose channels are excited; None excites classes.
    position : tuple of int or None
        Where in the layer's maps, row and column; None takes the mean over all positions.
    rows : LongTensor of shape (n,) or None
        Which row of the request each image answers, for terms that know something of each.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import State
    >>> maps = torch.tensor([[[[1.0, 3.0]], [[5.0, 9.0]]]])
    >>> state = State(
    ...     torch.zeros(1, 3), torch.eye(2)[:1], activations={"conv": maps}, layer="conv")
    >>> state.units().tolist()
    [[2.0, 7.0]]
    """

    logits: torch.Tensor
    weights: torch.Tensor
    activations: dict = field(default_factory=dict)
    layer: str | None = None
    position: tuple | None = None
    rows: torch.Tensor | None = None

    def units(self) -> Tensor:
        """What can be excited: the logits, or the layer's channels.

        Returns
        -------
        units : Tensor of shape (n, n_units)
            Channels are taken at the position, or in the mean over all of them.
        """
        if self.layer is None:
            return self.logits
        answer = self.activations[self.layer]
        if self.position is not None:
            answer = answer[(..., *self.position)]
        return answer.flatten(2).mean(2) if answer.ndim > 2 else answer


class Term(BaseEstimator):
    """Base of all terms: a weight, a name, and ``+``.

    Subclasses are dataclasses with a ``weight`` that return a tensor of shape (n,) from
    ``__call__(images, state)``. ``layers`` names the activations that the term reads.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from skinvert.inversion.objectives import CrossEntropy, Term
    >>> @dataclass(eq=False, repr=False)
    ... class Brightness(Term):
    ...     weight: float = 1.0
    ...
    ...     def __call__(self, images, state):
    ...         return images.flatten(1).mean(1)
    >>> [name for name, term in (CrossEntropy() + Brightness(weight=0.5)).terms]
    ['cross_entropy', 'brightness']
    """

    layers: tuple[str, ...] = ()
    weight: float

    def __call__(self, images: Any, state: Any) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define __call__(images, state).")

    def __add__(self, other: "str | Term | Objective") -> "Objective":
        return as_objective(self) + other


class Excitation(Term):
    """Base of the terms that say how strongly the target is excited.

    ``excites_layers`` is True for those that read ``state.units()``, and so excite channels of a
    layer as they do classes; all others give way to `Activation` where a layer is asked for.

    Examples
    --------
    >>> from skinvert.inversion.objectives import CrossEntropy, Excitation, TotalVariation
    >>> isinstance(CrossEntropy(), Excitation), isinstance(TotalVariation(), Excitation)
    (True, False)
    """

    excites_layers = False


@dataclass(eq=False, repr=False)
class CrossEntropy(Excitation):
    r"""Cross-entropy between the asked weights and the classifier's answer.

    :math:`-\sum_c w_c \log f(x)_c`: the surrogate loss :math:`L(f(x), y)` of input optimisation,
    eq. 6 (arXiv:2209.09210).

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import CrossEntropy, State
    >>> state = State(logits=torch.zeros(1, 4), weights=torch.eye(4)[:1])
    >>> round(float(CrossEntropy()(None, state)), 4)
    1.3863
    """

    weight: float = 1.0

    def __call__(self, images: Tensor | None, state: State) -> Tensor:
        return -(state.weights * log_softmax(state.logits, dim=1)).sum(1)


@dataclass(eq=False, repr=False)
class Logit(Excitation):
    r"""Minus the weighted logits, :math:`-\sum_c w_c a_c(x)`.

    The "direct loss" of input optimisation's interpolations (arXiv:2209.09210, section 5.4). Unlike
    the cross-entropy it does not fade once the class is certain.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import Logit, State
    >>> state = State(logits=torch.tensor([[3.0, 1.0]]), weights=torch.tensor([[1.0, 0.0]]))
    >>> Logit()(None, state)
    tensor([-3.])
    """

    weight: float = 1.0

    def __call__(self, images: Tensor | None, state: State) -> Tensor:
        return -(state.weights * state.logits).sum(1)


@dataclass(eq=False, repr=False)
class Margin(Excitation):
    """Largest logit that was not asked for, minus the weighted logits that were.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import Margin, State
    >>> state = State(logits=torch.tensor([[3.0, 1.0]]), weights=torch.tensor([[1.0, 0.0]]))
    >>> Margin()(None, state)
    tensor([-2.])
    """

    weight: float = 1.0

    def __call__(self, images: Tensor | None, state: State) -> Tensor:
        asked = (state.weights * state.logits).sum(1)
        others = state.logits.masked_fill(state.weights > 0, -torch.inf).amax(1)
        # A mixture of all classes leaves no other: the margin is then the logits alone.
        return torch.where(others.isfinite(), others, 0.0) - asked


@dataclass(eq=False, repr=False)
class Activation(Excitation):
    """Minus the weighted mean activation of the target's channels, or of one neuron.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import Activation, State
    >>> state = State(
    ...     logits=torch.zeros(1, 3), weights=torch.tensor([[0.0, 1.0]]), layer="conv",
    ...     activations={"conv": torch.tensor([[[[1.0, 3.0]], [[5.0, 9.0]]]])})
    >>> Activation()(None, state)
    tensor([-7.])
    """

    weight: float = 1.0
    excites_layers = True

    def __call__(self, images: Tensor | None, state: State) -> Tensor:
        return -(state.weights * state.units()).sum(1)


@dataclass(eq=False, repr=False)
class TotalVariation(Term):
    """Mean of :math:`|x_{i+1,j} - x_{ij}|^p + |x_{i,j+1} - x_{ij}|^p` over pixels and channels.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.
    power : float, default=2.0
        The exponent p; 1 keeps edges, 2 smooths them.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import TotalVariation
    >>> TotalVariation()(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), None)
    tensor([0.5000])
    """

    weight: float = 1.0
    power: float = 2.0

    def __call__(self, images: Tensor, state: State) -> Tensor:
        down = (images[..., 1:, :] - images[..., :-1, :]).abs().pow(self.power)
        right = (images[..., :, 1:] - images[..., :, :-1]).abs().pow(self.power)
        return (down.flatten(1).sum(1) + right.flatten(1).sum(1)) / images[0].numel()


@dataclass(eq=False, repr=False)
class Norm(Term):
    """Mean of the pixels' absolute values, to a power: pulls images towards zero.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.
    power : float, default=2.0
        The exponent of the absolute values, before the mean is taken.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import Norm
    >>> Norm()(torch.tensor([[[[1.0, -3.0]]]]), None)
    tensor([5.])
    """

    weight: float = 1.0
    power: float = 2.0

    def __call__(self, images: Tensor, state: State) -> Tensor:
        return images.flatten(1).abs().pow(self.power).mean(1)


@dataclass(eq=False, repr=False)
class PriorEnergy(Term):
    r"""Minus the log-density of the images, :math:`-\log p(x)`, up to a constant.

    The second loss :math:`L_2(x)` of input optimisation, eq. 5 (arXiv:2209.09210).

    Parameters
    ----------
    weight : float, default=1.0
        The paper's λ.
    prior : callable ``(images, weights) -> Tensor (n,)`` or None, default=None
        The energy, one of `skinvert.inversion.priors`. A term without one cannot be called.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.objectives import PriorEnergy, State
    >>> from skinvert.inversion.priors import MeanPrior
    >>> term = PriorEnergy(prior=MeanPrior(torch.zeros(4), scale="squared"))
    >>> term(torch.ones(1, 1, 2, 2), State(logits=torch.zeros(1, 3), weights=torch.eye(3)[:1]))
    tensor([4.])
    """

    weight: float = 1.0
    prior: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, images: Tensor, state: State) -> Tensor:
        if self.prior is None:
            raise ValueError(
                "PriorEnergy needs a prior, got None; take one of skinvert.inversion.priors."
            )
        return self.prior(images, state.weights)


class Objective(_BaseComposition):
    """A named, weighted sum of terms; written ``CrossEntropy() + TotalVariation(0.1)``.

    Parameters
    ----------
    terms : list of (str, Term)
        ``+`` names each term after its class, in lower case with underscores.

    Examples
    --------
    >>> from skinvert.inversion.objectives import CrossEntropy, TotalVariation
    >>> objective = CrossEntropy() + TotalVariation(weight=0.1)
    >>> objective.set_params(total_variation__weight=0.5)["total_variation"].weight
    0.5
    """

    def __init__(self, terms: list[tuple[str, Term]]) -> None:
        self.terms = terms

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the sum and, by ``name__parameter``, of its terms.

        Parameters
        ----------
        deep : bool, default=True
            Whether the terms, and their parameters, are among them.

        Returns
        -------
        params : dict of str to object
        """
        return self._get_params("terms", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the sum or of its terms, by name.

        Parameters
        ----------
        **params : dict of str to object
            ``name=term`` puts another term in, ``name__parameter=value`` changes one.

        Returns
        -------
        self : Objective
        """
        self._set_params("terms", **params)
        return self

    def __getitem__(self, name: str) -> Term:
        return dict(self.terms)[name]

    def __add__(self, other: "str | Term | Objective") -> "Objective":
        added = list(self.terms)
        for name, term in as_objective(other).terms:
            taken, unique, number = {known for known, _ in added}, name, 2
            while unique in taken:
                unique, number = f"{name}_{number}", number + 1
            added.append((unique, term))
        return Objective(added)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose activations the terms read."""
        return tuple(dict.fromkeys(layer for _, term in self.terms for layer in term.layers))

    @property
    def excites_layers(self) -> bool:
        """Whether all excitations of the sum know channels of a layer as well as classes."""
        return all(term.excites_layers for _, term in self.terms if isinstance(term, Excitation))

    def excited_by(self, excitation: type[Excitation]) -> "Objective":
        """The same sum with another class of excitation, at the same weights.

        Parameters
        ----------
        excitation : type
            Subclass of `Excitation`, which every excitation of the sum becomes.

        Returns
        -------
        objective : Objective
        """
        return Objective(
            [
                (_snake_case(excitation.__name__), excitation(term.weight))
                if isinstance(term, Excitation)
                else (name, term)
                for name, term in self.terms
            ]
        )

    def evaluate(self, images: Tensor, state: State) -> dict[str, Tensor]:
        """Weighted value of every term.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            What is optimised, as it is before any transform.
        state : State
            What the classifier said of the images, and what each row asks for.

        Returns
        -------
        values : dict of str to Tensor of shape (n,)
            A term of weight zero is not computed.
        """
        return {name: term.weight * term(images, state) for name, term in self.terms if term.weight}


_BY_NAME = {"cross_entropy": CrossEntropy, "logit": Logit, "margin": Margin}


def as_objective(objective: str | Term | Objective) -> Objective:
    """An `Objective` from a name, a term or a sum.

    Parameters
    ----------
    objective : {"cross_entropy", "logit", "margin"}, Term or Objective
        A name stands for the excitation of that name at weight 1.

    Returns
    -------
    objective : Objective

    Raises
    ------
    ValueError
        For an unknown name, and for terms with a negative or non-finite weight.
    TypeError
        For anything else.

    Examples
    --------
    >>> from skinvert.inversion.objectives import as_objective
    >>> as_objective("logit").terms
    [('logit', Logit())]
    """
    if isinstance(objective, str):
        if objective not in _BY_NAME:
            raise ValueError(f"objective must be one of {sorted(_BY_NAME)}, got {objective!r}.")
        objective = _BY_NAME[objective]()
    if isinstance(objective, Term):
        objective = Objective([(_snake_case(type(objective).__name__), objective)])
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective must be a name, a Term or a sum of terms, got {objective!r} of type "
            f"{type(objective).__name__}."
        )
    for name, term in objective.terms:
        if not 0 <= term.weight < float("inf"):
            raise ValueError(
                f"the weight of term {name!r} must be finite and non-negative, got {term.weight}."
            )
    return objective


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

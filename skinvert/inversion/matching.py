"""Terms that look at more than the classifier's answer: the data's statistics, and a student.

They read a `FeatureState`, which `FeatureObjective` fills once a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from torch import Tensor
from torch.nn.functional import log_softmax

from skinvert.inversion.objectives import Objective, State, Term
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.statistics import LayerStatistics, shared_copy
from skinvert.inversion.targeted import TargetedObjective
from skinvert.inversion.targets import Target
from skinvert.inversion.views import staged_views
from skinvert.inversion.watching import WatchedClassifier
from skinvert.models.frozen import FrozenClassifier, freeze

__all__ = [
    "Competition",
    "FeatureObjective",
    "FeatureState",
    "FeatureStatistics",
    "frozen_student",
]

_LEAST_SQUARE = 1e-12


@dataclass
class FeatureState(State):
    """A `State` with the moments of the layers that are watched, and with a student's answer.

    Attributes
    ----------
    moments : dict of str to tuple (mean, variance) of Tensor (n_groups, C)
        As `skinvert.inversion.statistics.channel_moments` takes them; the variance is None where a
        layer has but one position.
    student_logits : Tensor of shape (n, n_classes) or None
    """

    moments: dict = field(default_factory=dict)
    student_logits: torch.Tensor | None = None


@dataclass(eq=False, repr=False)
class FeatureStatistics(Term):
    r"""Distance of the features' moments from those of the training data: DeepInversion, eq. 3.

    :math:`\sum_l m_l \left(\lVert\mu_l(x) - \langle\mu_l\rangle\rVert_2 +
    \lVert\sigma_l^2(x) - \langle\sigma_l^2\rangle\rVert_2\right)`, where :math:`m_l` is
    `first_layer_multiplier` for the first layer and 1 for the others. Dense layers have no
    variance within an image: without groups only their means count. By default each channel is
    measured in units of its spread in the data, and each layer's distance is the root mean square
    over its channels.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.
    statistics : LayerStatistics or None, default=None
        Of the training data. A term without them cannot be called.
    first_layer_multiplier : float, default=1.0
        Factor of the first layer's distance.
    group_size : int, default=1
        Neighbouring rows whose moments are taken together; each row's value is its group's.
    standardize : bool, default=True
        False is the equation as printed.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.matching import FeatureState, FeatureStatistics
    >>> from skinvert.inversion.statistics import LayerStatistics
    >>> term = FeatureStatistics(
    ...     statistics=LayerStatistics({"conv": (torch.zeros(1), torch.ones(1))}))
    >>> moments = {"conv": (torch.tensor([[2.0]]), torch.tensor([[1.0]]))}
    >>> term(None, FeatureState(logits=None, weights=None, moments=moments))
    tensor([2.0000])
    """

    weight: float = 1.0
    statistics: LayerStatistics | None = None
    first_layer_multiplier: float = 1.0
    group_size: int = 1
    standardize: bool = True

    def __call__(self, images: Tensor | None, state: FeatureState) -> Tensor:
        statistics = self.statistics
        if not statistics:
            raise ValueError(f"FeatureStatistics needs statistics of layers, got {statistics!r}.")
        total = torch.zeros(())
        for index, layer in enumerate(statistics):
            mean, variance = state.moments[layer]
            average_mean, average_variance = statistics[layer]
            unit = statistics.unit(layer) if self.standardize else torch.ones_like(mean[0])
            distance = _length((mean - average_mean) / unit.sqrt())
            if variance is not None:
                distance = distance + _length((variance - average_variance) / unit)
            if self.standardize:
                distance = distance / mean.shape[1] ** 0.5
            total = total + (distance if index else self.first_layer_multiplier * distance)
        return total.repeat_interleave(self.group_size)


@dataclass(eq=False, repr=False)
class Competition(Term):
    r"""One minus the Jensen-Shannon divergence of classifier and student: adaptive DeepInversion.

    :math:`1 - \mathrm{JS}(f(x), f_S(x))` (Yin et al., CVPR 2020, eq. 7), smallest where the
    student errs and the classifier does not. The divergence is in nats, at most log 2.

    Parameters
    ----------
    weight : float, default=1.0
        Factor of the term in a sum.
    temperature : float, default=3.0
        Logits are divided by it.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.matching import Competition, FeatureState
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> agreed = FeatureState(logits=logits, weights=None, student_logits=logits)
    >>> Competition()(None, agreed)
    tensor([1.])
    """

    weight: float = 1.0
    temperature: float = 3.0

    def __call__(self, images: Tensor | None, state: FeatureState) -> Tensor:
        if state.student_logits is None:
            raise ValueError("Competition needs a student's answer; the state has none.")
        teacher = log_softmax(state.logits / self.temperature, dim=1)
        student = log_softmax(state.student_logits / self.temperature, dim=1)
        middle = torch.logaddexp(teacher, student) - math.log(2)
        of_teacher, of_student = ((law.exp() * (law - middle)).sum(1) for law in (teacher, student))
        return 1 - (of_teacher + of_student) / 2


def frozen_student(
    student: Any,
    n_classes: int,
    *,
    example: NDArray[np.float32],
    image_shape: tuple[int, int, int],
    trailing_shape: tuple[int, ...] | None = None,
    normalize: Any = None,
    device: torch.device | str = "cpu",
) -> FrozenClassifier:
    """A student that answers the classifier's question, made ready to compete with it.

    Parameters
    ----------
    student : torch.nn.Module or FrozenEstimator
        Not changed.
    n_classes : int
        Of the classifier.
    example : ndarray of shape (1, n_features), float32
        A row to ask.
    image_shape : tuple (C, H, W)
    trailing_shape : tuple of int or None, default=None
        What X had beyond its rows.
    normalize : tuple (mean, std), torch.nn.Module or None, default=None
    device : torch.device or str, default="cpu"

    Returns
    -------
    student : FrozenClassifier

    Raises
    ------
    TypeError
        For what is not trained.
    ValueError
        For another number of classes.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.inversion.matching import frozen_student
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> student = frozen_student(
    ...     net, 3, example=np.zeros((1, 4), np.float32), image_shape=(1, 2, 2))
    >>> student(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """
    if not isinstance(student, (torch.nn.Module, FrozenEstimator)):
        raise TypeError(
            f"student must be a torch.nn.Module or a FrozenEstimator, got {type(student).__name__}."
        )
    frozen, classes, _ = freeze(
        student,
        example,
        image_shape=image_shape,
        trailing_shape=trailing_shape,
        normalize=normalize,
        device=device,
    )
    if len(classes) != n_classes:
        raise ValueError(
            f"the student tells {len(classes)} classes apart, the classifier {n_classes}; they "
            "must answer the same question."
        )
    return shared_copy(frozen)


class FeatureObjective(TargetedObjective):
    """A `TargetedObjective` whose terms read a `FeatureState`.

    Parameters
    ----------
    objective : Objective
        Terms to be summed; its excitation gives way to `Activation` where the target is a layer's.
    classifier : FrozenClassifier
        The network that is asked.
    target : Target of length n_rows
        What each row asks for.
    watched : sequence of str, default=()
        Layers whose moments the terms read.
    group_size : int, default=1
        Neighbouring rows whose moments are taken together.
    student : FrozenClassifier or None, default=None
        Sees the same views.
    **settings
        As of `TargetedObjective`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinvert import Target
    >>> from skinvert.inversion.matching import FeatureObjective, FeatureStatistics
    >>> from skinvert.inversion.objectives import CrossEntropy
    >>> from skinvert.inversion.statistics import LayerStatistics
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    >>> statistics = LayerStatistics({"0": (torch.zeros(4), torch.ones(4))})
    >>> ask = FeatureObjective(
    ...     CrossEntropy() + FeatureStatistics(statistics=statistics),
    ...     FrozenClassifier(net, (1, 8, 8)), Target([2, 0]),
    ...     watched=["0"], example=torch.zeros(1, 1, 8, 8))
    >>> values = ask(torch.zeros(2, 1, 8, 8), torch.arange(2), None, None)
    >>> {name: tuple(value.shape) for name, value in values.items()}
    {'cross_entropy': (2,), 'feature_statistics': (2,)}
    """

    def __init__(
        self,
        objective: Objective,
        classifier: FrozenClassifier,
        target: Target,
        *,
        watched: Sequence[str] = (),
        group_size: int = 1,
        student: FrozenClassifier | None = None,
        **settings: Any,
    ) -> None:
        if objective.layers or target.layer is not None:
            # Hooks go to a copy of this run's own: runs in other threads use the same network.
            classifier = shared_copy(classifier)
        super().__init__(objective, classifier, target, **settings)
        self.student, self.watched = student, None
        if watched:
            self.watched = WatchedClassifier(
                classifier, watched, activations=self.layers, group_size=group_size
            )

    def _look(self, images):
        if self.watched is None:
            logits, activations = self.classifier.with_activations(images, self.layers)
            moments = {}
        else:
            logits, activations, moments = self.watched(images)
        student_logits = None if self.student is None else self.student(images)
        return logits, activations, moments, student_logits

    def answers(self, images: Tensor, steps: Tensor, noise: RowNoise) -> tuple[Any, ...]:
        """What the networks say to one view of every image.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W)
            In data units.
        steps : LongTensor of shape (n,)
            How many steps each row has taken: they say which stage's views it is shown under.
        noise : RowNoise with n slots
            Where views are drawn.

        Returns
        -------
        answers : tuple (logits, activations, moments, student_logits)
            As `values` takes them; ``student_logits`` is None where there is no student.
        """
        if any(self.stages):
            stage = (steps * len(self.stages)) // self.n_steps
            images = staged_views(self.stages, images, noise, stage, self.value_range)
        return self._look(images)

    def values(self, images: Tensor, answers: tuple[Any, ...], rows: Tensor) -> dict[str, Tensor]:
        """Weighted value of every term, for what the networks said.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W)
            As they are, without views: for the terms on the image.
        answers : tuple (logits, activations, moments, student_logits)
            As `answers` returns them.
        rows : LongTensor of shape (n,)
            Which row of the request each image answers.

        Returns
        -------
        values : dict of str to Tensor of shape (n,)
            By the terms' names.
        """
        logits, activations, moments, student_logits = answers
        state = FeatureState(
            logits=logits,
            weights=self.weights[rows],
            activations=activations,
            layer=self.target.layer,
            position=self.target.position,
            moments=moments,
            rows=rows,
            student_logits=student_logits,
        )
        return self.objective.evaluate(images, state)


def _length(vectors):
    """Length of each row; its gradient is zero, not NaN, where it is zero."""
    return vectors.square().sum(1).clamp_min(_LEAST_SQUARE).sqrt()

r"""DeepInversion: images from the statistics that a trained network keeps of its own training data.

DeepInversion (Yin et al., CVPR 2020), in the form and with the equation numbers of IMAGINE
(Wang et al., CVPR 2021):

.. math:: x^* = \arg\min_x L(f(x), y) + R_{img}(x) + R_{feat}(x). \tag{1}
"""

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.inversion.canvas import (
    PARAMETERIZATIONS,
    canvas_shape,
    fitted_canvas,
    range_of_values,
)
from skinvert.inversion.features import check_layers
from skinvert.inversion.guidance import matching_of_references
from skinvert.inversion.loop import Problem
from skinvert.inversion.matching import (
    Competition,
    FeatureObjective,
    FeatureStatistics,
    frozen_student,
)
from skinvert.inversion.objectives import Objective, Term, as_objective
from skinvert.inversion.optimizers import Adam
from skinvert.inversion.pictures import given_images
from skinvert.inversion.regularizers import image_terms
from skinvert.inversion.resolution import at_resolution
from skinvert.inversion.stages import WarmUpCosine, optimize_in_stages, steps_of_stages
from skinvert.inversion.statistics import (
    LayerStatistics,
    measured_statistics,
    running_statistics,
    statistics_layers,
)
from skinvert.inversion.transforms import RandomAffine
from skinvert.inversion.views import as_stages, stages_of_run
from skinvert.layout import resolve_image_shape
from skinvert.models.training import resolve_device

__all__ = ["DeepInversion"]

_BETAS = (0.5, 0.9)
_JITTER = (RandomAffine(translate=(0.08, 0.08)),)
_N_PROBES = 64


class DeepInversion(GeneratorMixin, BaseEstimator):
    r"""Generate images from the statistics that a trained network keeps of its training data.

    An image shall be of the class, and its features shall have the means :math:`\mu_l` and the
    variances :math:`\sigma_l^2` that those of the training data had, at every layer l. Batch
    normalisations remember them, so that no data is needed: ``fit()`` takes neither X nor y then.

    .. math::
        R_{img}(x) &= \alpha\, \mathrm{TV}(x) + \beta \lVert x \rVert^2 \tag{2} \\
        R_{feat}(x) &= \sum_l \lVert\mu_l(x) - \langle\mu_l\rangle\rVert
            + \sum_l \lVert\sigma_l^2(x) - \langle\sigma_l^2\rangle\rVert \tag{3}

    Parameters
    ----------
    classifier : None, estimator or torch.nn.Module, default=None
        None trains a small network, which takes X and y. An unfitted scikit-learn or skorch
        classifier is cloned and fitted; a ``FrozenEstimator`` is used as it is; a module is taken
        as trained. None of them is changed.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares. Without X it must be given, and says how `generate` lays images out.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std), default=None
        What a trained network expects of its input, numbers or one value a channel. `generate`
        stays in the units of X.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    objective : {"cross_entropy", "logit", "margin"}, Term or Objective, default="cross_entropy"
        The loss L of eq. 1, to which terms may be added.
    statistics_weight : float, default=1.0
        Weight of eq. 3.
    standardize : bool, default=True
        Measure eq. 3 in units of each channel's spread in the training data, and average it over
        the channels of a layer, so that no layer rules by the size of its values. False is the
        equation as printed, with norms that are not squared, as the authors' code has it.
    first_layer_multiplier : float, default=1.0
        Weight of the first layer among the others; the authors' code has 10.
    layers : "auto" or list of str, default="auto"
        Layers of eq. 3, by name. "auto" takes all batch normalisations, at their inputs; in
        networks without any the outputs of all convolutions and other normalisations, and without
        those of all hidden linear layers, whose statistics are then measured on X. Read by `fit`.
    group_size : int, default=1
        Rows that share their statistics: each image's own by default, those of so many
        neighbouring rows of a request together otherwise. An incomplete last group is completed by
        rows that are made and dropped.
    tv_weight, l2_weight : float, default=0.0
        The paper's α and β. Both terms are means over pixels; ℓ2 pulls towards the network's zero,
        ``normalize``'s mean.
    student : torch.nn.Module, FrozenEstimator or None, default=None
        A second network over the same classes: images on which it disagrees with the classifier
        are favoured (adaptive DeepInversion). It is not changed and not trained.
    competition_weight : float, default=0.2
        Of that term, :math:`1 - \mathrm{JS}`.
    reference : array-like of images, of any shape that `fit` takes, default=None
        Image-guided mode: the channel statistics of these pictures are matched (IMAGINE, eq. 5)
        besides eq. 3, as in the baseline of its Table 1. One for all rows, or one a row.
    reference_layers : list of str or None, default=None
        Where; None picks four by depth.
    feature_weight : float, default=5.0
        Of that term, the paper's λ.
    init : "noise" or array-like of images, of any shape that `fit` takes, default="noise"
        Where rows start: the parameterization's own noise, or given images (one, or one a row).
    parameterization : {"pixels", "pyramid", "fourier", "phase"} or object, default="pixels"
        What is optimised. Read by `fit`.
    transforms : "jitter", "robust", None, list of transforms or of such lists, default="jitter"
        Random views that the networks see. "jitter" shifts images of at least 8 pixels by up to
        8 %; "robust" is `robust_stages`, for photographs. Several lists divide the steps of a run,
        or are one for each stage of `n_steps`.
    clip : "auto", tuple (low, high) or None, default="auto"
        Valid range of values. "auto" is the range of X, and [0, 1] without X. Read by `fit`.
    n_steps : int or tuple of int, default=200
        A tuple runs stages, each from the best of the last with a fresh optimiser. The last works
        at full resolution, every earlier one at half the resolution of the next: the network sees
        a smaller image, or the same one enlarged again if it takes no other size.
    learning_rate : float, default=0.1
        Largest step size of Adam, whose moments decay by 0.5 and 0.9.
    warm_up : float, default=0.05
        First share of each stage's steps, in which the step size climbs; it then falls to zero
        along a cosine.
    checkpoint : str or Path, default=None
        File in which the training of the default classifier is stored after every epoch. A
        `fit` with the same data and parameters goes on from there, and ends with the same result.
    batch_size : int or "auto", default="auto"
        Rows at work together, always padded to this size: other sizes give other bits.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    acceleration : {"auto", "bfloat16"} or None, default="auto"
        Precision in which the classifier answers; all else stays float32. "auto" is float32 on
        CPUs; on a GPU `fit` tries both, and takes bfloat16 where that is faster and says the same.
    random_state : int, RandomState instance or None, default=None
        Seeds training and generation. With an int every `generate` gives the same images.
    verbose : int, default=0
        1 draws a progress bar on anything longer than a second.

    Attributes
    ----------
    classifier_ : FrozenClassifier
        The differentiable copy that is inverted: a torch module from images to logits.
    classes_ : ndarray of shape (n_classes,)
        Labels in the order of the classifier's outputs, sorted or not.
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in y; equal shares without y.
    layers_ : list of str
        The layers of eq. 3.
    statistics_ : LayerStatistics
        :math:`\langle\mu_l\rangle, \langle\sigma_l^2\rangle` by the layer's name.
    surrogate_fidelity_ : float
        Agreement of a distilled student with its teacher on held-out rows; only where one was.
    image_shape_ : tuple (C, H, W) or None
    value_range_ : tuple (low, high) or None
    device_ : torch.device
    acceleration_ : {"bfloat16"} or None
    history_ : dict of str to ndarray
        ``train_loss`` per epoch, where a network was trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    See Also
    --------
    InputOptimizationGenerator : From a density of the data in place of features.

    Notes
    -----
    Each row keeps the best image that it has been, by its objective, in every stage; what is
    returned is the best of the last. ``info.best_step`` and ``info.best_value`` of
    ``generate(..., return_info=True)`` have one column a stage.

    With groups, rows depend on their group: ``generate(y)[:k]`` equals ``generate(y[:k])`` where
    `group_size` divides k.

    References
    ----------
    Yin et al., "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", CVPR 2020.
    Wang et al., "IMAGINE: Image Synthesis by Image-Guided Model Inversion", CVPR 2021, whose
    equation numbers are used.

    Examples
    --------
    Without data, from a network alone (here one that was never trained):

    >>> from torch import nn
    >>> from skinvert import DeepInversion
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
    ...                     nn.Flatten(), nn.Linear(72, 10))
    >>> generator = DeepInversion(net, image_shape=(8, 8), n_steps=20, random_state=0).fit()
    >>> generator.generate([3, 5]).shape
    (2, 8, 8)
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "classifier": "no_validation",
        "image_shape": [tuple, list, None],
        "classes": ["array-like", None],
        "normalize": [tuple, list, torch.nn.Module, None],
        "outputs": [StrOptions({"auto", "logits", "probabilities"})],
        "objective": [StrOptions({"cross_entropy", "logit", "margin"}), Term, Objective],
        "statistics_weight": [Interval(Real, 0, None, closed="left")],
        "standardize": ["boolean"],
        "first_layer_multiplier": [Interval(Real, 0, None, closed="left")],
        "layers": [StrOptions({"auto"}), list, tuple],
        "group_size": [Interval(Integral, 1, None, closed="left")],
        "tv_weight": [Interval(Real, 0, None, closed="left")],
        "l2_weight": [Interval(Real, 0, None, closed="left")],
        "student": "no_validation",
        "competition_weight": [Interval(Real, 0, None, closed="left")],
        "reference": ["array-like", None],
        "reference_layers": [list, tuple, None],
        "feature_weight": [Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"noise"}), "array-like"],
        "parameterization": [StrOptions(set(PARAMETERIZATIONS)), HasMethods("render")],
        "transforms": [StrOptions({"jitter", "robust"}), list, tuple, None],
        "clip": [StrOptions({"auto"}), tuple, list, None],
        "n_steps": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "warm_up": [Interval(Real, 0, 1, closed="left")],
        "checkpoint": "no_validation",
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "acceleration": [StrOptions({"auto", "bfloat16"}), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        classifier: Any = None,
        *,
        image_shape: Sequence[int] | None = None,
        classes: ArrayLike | None = None,
        normalize: Sequence[Any] | torch.nn.Module | None = None,
        outputs: Literal["auto", "logits", "probabilities"] = "auto",
        objective: str | Term | Objective = "cross_entropy",
        statistics_weight: float = 1.0,
        standardize: bool = True,
        first_layer_multiplier: float = 1.0,
        layers: Sequence[str] | Literal["auto"] = "auto",
        group_size: int = 1,
        tv_weight: float = 0.0,
        l2_weight: float = 0.0,
        student: Any = None,
        competition_weight: float = 0.2,
        reference: ArrayLike | None = None,
        reference_layers: Sequence[str] | None = None,
        feature_weight: float = 5.0,
        init: ArrayLike = "noise",
        parameterization: Any = "pixels",
        transforms: Sequence[Any] | Literal["jitter", "robust"] | None = "jitter",
        clip: Sequence[float] | Literal["auto"] | None = "auto",
        n_steps: int | Sequence[int] = 200,
        learning_rate: float = 0.1,
        warm_up: float = 0.05,
        checkpoint: str | Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        acceleration: Literal["auto", "bfloat16"] | None = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.classifier = classifier
        self.image_shape = image_shape
        self.classes = classes
        self.normalize = normalize
        self.outputs = outputs
        self.objective = objective
        self.statistics_weight = statistics_weight
        self.standardize = standardize
        self.first_layer_multiplier = first_layer_multiplier
        self.layers = layers
        self.group_size = group_size
        self.tv_weight = tv_weight
        self.l2_weight = l2_weight
        self.student = student
        self.competition_weight = competition_weight
        self.reference = reference
        self.reference_layers = reference_layers
        self.feature_weight = feature_weight
        self.init = init
        self.parameterization = parameterization
        self.transforms = transforms
        self.clip = clip
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.warm_up = warm_up
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.device = device
        self.acceleration = acceleration
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_nothing
    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> Self:
        """Take the classifier and the statistics that it keeps; train and measure what is missing.

        Parameters
        ----------
        X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W), default=None
            In the units that the classifier takes; nothing is rescaled. A trained network with
            batch normalisation needs none, where `image_shape` is given: X then tells the layout,
            the range of values and the colours of the parameterization, no more.
        y : array-like of shape (n,), default=None
            Labels. Without X they are of any number and tell ``class_prior_`` alone.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            For bad data and parameters, and where X is missing and needed.
        """
        self._validate_params()
        self.device_ = resolve_device(self.device)
        rows, y = self._layout_alone(y) if X is None else self._check_fit_data(X, y)
        seed = self._root_seed(self.random_state)
        self._take_classifier(rows, y, seed)
        if hasattr(self, "surrogate_fidelity_"):
            self._refuse_probes(X, "a student of the classifier has to be trained")
        if y is None:
            self.class_prior_ = np.full(len(self.classes_), 1 / len(self.classes_))
        else:
            self._learn_class_prior(y)
        self._fit_canvas(None if X is None else rows)
        self._fit_statistics(X, rows)
        self._accelerate()
        return self

    def _layout_alone(self, y):
        """Random rows in place of data, to ask the network what it is."""
        trained = isinstance(self.classifier, (torch.nn.Module, FrozenEstimator))
        if not trained or self.image_shape is None:
            raise ValueError(
                "without X a trained classifier (a torch.nn.Module or a FrozenEstimator) and "
                f"image_shape are needed; got classifier={self.classifier!r} and image_shape="
                f"{self.image_shape!r}. Pass them, or pass X."
            )
        vars(self).pop("feature_names_in_", None)
        self._trailing_shape = tuple(self.image_shape)
        self.n_features_in_ = int(np.prod(self._trailing_shape))
        self.image_shape_ = resolve_image_shape(
            self.image_shape, self._trailing_shape, self.n_features_in_
        )
        low, high = (0.0, 1.0) if isinstance(self.clip, str) or self.clip is None else self.clip
        probes = np.random.default_rng(0).uniform(low, high, (_N_PROBES, self.n_features_in_))
        return probes.astype(np.float32), None if y is None else np.asarray(y)

    @staticmethod
    def _refuse_probes(X, reason):
        if X is None:
            raise ValueError(f"{reason}, and that takes data: fit(X, y).")

    def _fit_canvas(self, rows):
        """Settle the range of values and fit the parameterization."""
        self.value_range_ = range_of_values(self.clip, rows)
        self.canvas_ = fitted_canvas(
            self.parameterization,
            rows,
            image_shape=canvas_shape(self.image_shape_, self.n_features_in_),
            value_range=self.value_range_,
        )

    def _fit_statistics(self, X, rows):
        """The data's statistics of eq. 3, remembered by the network or measured."""
        network = self.classifier_.network
        layers = statistics_layers(network) if isinstance(self.layers, str) else list(self.layers)
        check_layers(network, layers)
        moments = running_statistics(network, layers)
        missing = [layer for layer in layers if layer not in moments]
        if missing and X is None and self.statistics_weight:
            self._refuse_probes(X, f"layers {missing[:3]} keep no statistics")
        if missing and X is not None:
            images = torch.from_numpy(rows).to(self.device_)
            moments |= measured_statistics(self.classifier_, images, missing)
        self.layers_ = layers
        self.statistics_ = LayerStatistics({k: moments[k] for k in layers if k in moments})
        if not layers and self.statistics_weight:
            warnings.warn(
                "the classifier has no hidden layer whose statistics could be matched: images "
                "follow its answer alone. Set statistics_weight=0 to say that this is meant.",
                UserWarning,
                stacklevel=4,
            )

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        n_steps = self._n_steps()
        if callback is not None:
            whole, callback = callback, lambda n: whole(n / sum(n_steps))
        student = self._frozen_student()
        return optimize_in_stages(
            lambda stage, length: self._problem(target, rows, stage, length, student),
            seeds,
            n_steps=n_steps,
            batch_size=batch_size,
            optimizer_of_stage=lambda length: Adam(
                WarmUpCosine(self.learning_rate, length, self.warm_up), _BETAS
            ),
            device=self.device_,
            callback=callback,
        )

    def _problem(self, target, rows, stage, n_steps, student):
        """Eq. 1 for one stage."""
        canvas, last = self.canvas_, len(target) - 1
        factor = 2 ** (len(self._n_steps()) - 1 - stage)
        classifier, resize = at_resolution(
            self.classifier_, canvas.image_shape_, factor, self.device_
        )
        starts = self._given("init", rows)
        matching = self._matching(classifier, resize, rows)
        loss = FeatureObjective(
            self._terms(matching, student),
            classifier,
            target,
            watched=self._watched(),
            group_size=self.group_size,
            student=student,
            example=resize(self._middle()),
            stages=self._stages(stage),
            n_steps=n_steps,
            value_range=self.value_range_,
        )

        def start(row, noise):
            if starts is None:
                return canvas.start(noise)
            return canvas.from_images(starts[min(row, len(starts) - 1)][None])

        return Problem(
            start=start,
            objective=lambda params, rows, *time: loss(
                resize(canvas.render(params)), rows.clamp(max=last), *time
            ),
            render=canvas.render,
            project=canvas.project,
        )

    def _matching(self, classifier, resize, rows):
        """Eq. 5 towards the references of a shard, or None."""
        references = self._given("reference", rows)
        if references is None:
            return None
        return matching_of_references(
            classifier,
            resize(references),
            self.reference_layers,
            n_rows=rows.stop - rows.start,
            weight=self.feature_weight,
        )

    def _terms(self, matching, student):
        r""":math:`L + R_{img} + R_{feat}`, and what else is asked for."""
        terms = image_terms(
            self.classifier_,
            self.canvas_.image_shape_,
            tv_weight=self.tv_weight,
            l2_weight=self.l2_weight,
            scale="mean_squared",
            device=self.device_,
        )
        if self._watched():
            statistics = FeatureStatistics(
                self.statistics_weight,
                self.statistics_,
                self.first_layer_multiplier,
                self.group_size,
                self.standardize,
            )
            terms.append(("statistics", statistics))
        if matching is not None:
            terms.append(("reference", matching))
        if student is not None:
            terms.append(("competition", Competition(self.competition_weight)))
        return as_objective(self.objective) + Objective(terms)

    def _watched(self):
        """Layers of eq. 3, where it has a weight."""
        if not self.statistics_weight:
            return ()
        missing = [layer for layer in self.layers_ if layer not in self.statistics_.layers]
        if missing:
            raise ValueError(
                f"statistics_weight={self.statistics_weight} asks for statistics of the layers "
                f"{missing[:3]}, which were not measured: call fit(X, y), or set it to 0."
            )
        return self.statistics_.layers

    def _stages(self, stage):
        """Lists of transforms that divide the steps of one stage."""
        transforms = self.transforms
        if isinstance(transforms, str) and transforms == "jitter":
            is_large = self.image_shape_ is not None and min(self.image_shape_[1:]) >= 8
            transforms = _JITTER if is_large else ()
        return stages_of_run(as_stages(transforms), self._n_steps(), stage)

    def _n_steps(self):
        return steps_of_stages(self.n_steps)

    def _middle(self):
        low, high = self.value_range_ or (0.0, 0.0)
        shape = (1, *self.canvas_.image_shape_)
        return torch.full(shape, (low + high) / 2, device=self.device_)

    def _given(self, name, rows):
        """Images of the parameter `name` for a shard: one for all rows, or one a row; or None."""
        images = getattr(self, name)
        if images is None or isinstance(images, str):
            return None
        images = given_images(images, name, rows.stop, self.n_features_in_)
        images = images if len(images) == 1 else images[rows]
        return torch.from_numpy(images).to(self.device_).reshape(-1, *self.canvas_.image_shape_)

    def _frozen_student(self):
        if self.student is None or not self.competition_weight:
            return None
        return frozen_student(
            self.student,
            len(self.classes_),
            example=self._middle().flatten(1).cpu().numpy(),
            image_shape=self.canvas_.image_shape_,
            trailing_shape=self._trailing_shape,
            normalize=self.normalize,
            device=self.device_,
        )

    def _resolved_batch_size(self):
        batch_size, group = super()._resolved_batch_size(), self.group_size
        if self.batch_size == "auto":
            return -(-batch_size // group) * group
        if batch_size % group:
            raise ValueError(
                f"batch_size={batch_size} is no multiple of group_size={group}: statistics are "
                "taken over groups that are at work together."
            )
        return batch_size

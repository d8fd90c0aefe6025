r"""InputOptimizationGenerator: images from a plainly trained classifier and a density.

Input optimisation (arXiv:2209.09210): with :math:`f(x)_y \approx p(y \mid x)`,

.. math:: \hat x = \arg\max_x p(x, y) \approx \arg\max_x \log f(x)_y + \log p(x).
"""

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.inversion.canvas import (
    PARAMETERIZATIONS,
    canvas_shape,
    fitted_canvas,
    range_of_values,
)
from skinvert.inversion.loop import Problem, optimize
from skinvert.inversion.objectives import Logit, Objective, PriorEnergy, Term, as_objective
from skinvert.inversion.optimizers import SGD, Adam, Cooldown, Langevin
from skinvert.inversion.pictures import given_images
from skinvert.inversion.priors import DensityPrior, MeanPrior, as_density_prior
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.sampling import PosteriorSampler
from skinvert.inversion.targeted import TargetedObjective
from skinvert.inversion.transforms import RandomAffine
from skinvert.inversion.views import as_stages
from skinvert.layout import columns_of
from skinvert.models.acceleration import ACCELERATIONS
from skinvert.models.training import resolve_device

__all__ = ["InputOptimizationGenerator"]

_SHIFTS = (RandomAffine(translate=(0.04, 0.04)),)
_LEAST_SHIFTED = 16  # pixels: below it 4 % is no whole pixel


class InputOptimizationGenerator(GeneratorMixin, BaseEstimator):
    r"""Generate images from a classifier that was trained in the ordinary way.

    A classifier's :math:`f(x)_y` estimates :math:`p(y \mid x)`; a density learned from the images,
    without their labels, stands for :math:`p(x)`. By default images are *drawn*: each row takes
    `n_candidates` from the density, keeps one of them with probability proportional to
    :math:`f(x)_y^{1/\lambda}`, and walks `n_steps` Langevin steps on
    :math:`\frac{1}{\lambda} \log f(x)_y + \log p(x)`. With any other `init` it is *optimised*, as
    the paper does (eq. 6): one image a start, which minimises
    :math:`L(f(x), y) + \lambda \lVert x - \mu \rVert`. The paper's own settings are
    ``InputOptimizationGenerator(prior="mean", prior_scale="mean_squared", prior_weight=50.0,
    init="zeros", optimizer="sgd", learning_rate=0.05, n_steps=100, clip=None)``.

    Parameters
    ----------
    classifier : None, estimator or torch.nn.Module, default=None
        None trains a small network. An unfitted scikit-learn or skorch classifier is cloned and
        fitted; a ``FrozenEstimator`` is used as it is; a module is taken as trained. None of them
        is changed. Linear models and their pipelines are translated to torch exactly; other
        scikit-learn classifiers are distilled, see ``surrogate_fidelity_``.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std) or torch.nn.Module, default=None
        What a trained network expects of its input, numbers or one value a channel, or the
        transform that says so: ``weights.transforms()`` of torchvision, whose resizing is left to
        you. `generate`
        stays in the units of X.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    prior : {"parzen", "gaussian", "mean", "class_means"}, estimator or None, default="parzen"
        The density :math:`p(x)`: thin Gaussians along the data (`ManifoldParzen` on principal
        components of the pixels' logits), one Gaussian, the distance to the mean image (the
        paper), the distance to the mean image of each class (which needs labels), or any
        ``GaussianMixture``, ``KernelDensity``, ``ManifoldParzen`` or ``PCA``, alone or in a
        Pipeline; unfitted ones are fitted on X. None leaves it out. Read by `fit`.
    prior_weight : float, default=0.003
        The paper's λ. Against a distance it depends on `prior_scale`; against a density, 1 is
        Bayes' rule, and smaller values trust the classifier more.
    prior_norm : {"l2", "l1"}, default="l2"
        Distance of the "mean" and "class_means" priors (sections 4 and 5.3). Read by `fit`.
    prior_scale : {"norm", "squared", "mean", "mean_squared"}, default="norm"
        Scale of that distance: :math:`\lVert x-\mu\rVert` as eq. 6 prints it, its square, or
        either divided by the number of pixels. The paper's λ = 50 fits "mean_squared"; with
        "norm" it leaves nothing but the mean image. Read by `fit`.
    objective : {"cross_entropy", "logit", "margin"}, Term or Objective, default="cross_entropy"
        The surrogate loss L, to which terms may be added: ``CrossEntropy() + TotalVariation(0.1)``.
    init : {"prior", "noise", "mean", "zeros"} or array-like of any shape, default="prior"
        Where rows start. "prior" draws and resamples; all others optimise, from the
        parameterization's own noise, the mean image, zeros, or given images: one of shape
        (n_features,) or one a row, or as `fit` takes images.
    n_candidates : int, default=256
        Draws of the prior among which each row chooses; ``init="prior"`` only.
    noise_scale : float, default=1.0
        Scale of the Langevin noise; 0 climbs. ``init="prior"`` only.
    augmentation : "auto", list of geometric transforms or None, default="auto"
        Views under which images are taken to be equally likely: every draw of the prior is shown
        under one. "auto" shifts images of 16 pixels or more by up to 4 % of their side, and
        leaves everything else alone. ``init="prior"`` only.
    parameterization : {"pixels", "pyramid", "fourier", "phase"} or object, default="pixels"
        What is optimised where nothing is drawn. Read by `fit`.
    transforms : None, "robust", list of transforms, or list of such lists, default=None
        Random views under which the classifier must answer. Several lists are stages of equal
        length; "robust" is `robust_stages`, for photographs: small and turned at first, then
        crops, with flips and a little noise.
    clip : "auto", tuple (low, high) or None, default="auto"
        Valid range of values: projected gradient descent (section 5.2). "auto" is the range of
        X. Read by `fit`.
    n_steps : int, default=0
        Gradient steps, Langevin or descent.
    learning_rate : float, default=0.05
        Step size η.
    cooldown : float, default=0.0
        Last share of the steps over which the learning rate of optimised images falls to zero.
    optimizer : {"adam", "sgd"}, default="adam"
        Of optimised images.
    tol : float, default=None
        An optimised row stops once its objective has not fallen by more than `tol` in twenty steps,
        and its slot goes to the next row. None takes all steps.
    adversarial_radius : float, default=0.0
        ℓ2 radius, in the units of X, of the adversarial rows that the default classifier is
        trained on. Robust classifiers have gradients that look like their classes.
    checkpoint : str or Path, default=None
        File in which the training of the default classifier is stored after every epoch. A
        `fit` with the same data and parameters goes on from there, and ends with the same result.
    batch_size : int or "auto", default="auto"
        Rows at work together, always padded to this size: other sizes give other bits.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    acceleration : {"auto", "bfloat16", "compile", "bfloat16+compile"} or None, default="auto"
        How the classifier answers; all else stays float32. "auto" is float32 on CPUs; on a GPU
        `fit` tries both, and takes bfloat16 where that is faster and says the same. "compile" adds
        torch.compile, as CUDA graphs on a GPU: for long runs, as that takes up to minutes.
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
        Share of each class in y.
    mean_image_ : ndarray of shape (n_features,)
        The paper's µ.
    prior_ : torch.nn.Module or None
        The density, as an energy.
    prior_estimator_ : estimator
        The fitted scikit-learn density, where there is one.
    surrogate_fidelity_ : float
        Agreement of a distilled student with its teacher on held-out rows; only where one was.
    image_shape_ : tuple (C, H, W) or None
    value_range_ : tuple (low, high) or None
    device_ : torch.device
    acceleration_ : {"bfloat16", "compile", "bfloat16+compile"} or None
    history_ : dict of str to ndarray
        ``train_loss`` per epoch, where a network was trained. The objective's terms per step are
        in the ``info`` of ``generate(..., return_info=True)``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    See Also
    --------
    skinvert.generate : Generate through a fitted Pipeline or search.

    Notes
    -----
    Equation and section numbers are those of "Use Classifier as Generator", arXiv:2209.09210.
    Langevin steps follow Nguyen et al., "Plug & Play Generative Networks", CVPR 2017, with the
    density in place of a denoiser.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert import InputOptimizationGenerator
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = InputOptimizationGenerator(random_state=0).fit(X, y)
    >>> generator.generate([3, 8]).shape
    (2, 64)
    >>> generator.score(X, y) > 0.85
    True
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "classifier": "no_validation",
        "image_shape": [tuple, list, None],
        "classes": ["array-like", None],
        "normalize": [tuple, list, torch.nn.Module, None],
        "outputs": [StrOptions({"auto", "logits", "probabilities"})],
        "prior": [
            StrOptions({"parzen", "gaussian", "mean", "class_means"}),
            HasMethods("fit"),
            None,
        ],
        "prior_weight": [Interval(Real, 0, None, closed="left")],
        "prior_norm": [StrOptions({"l2", "l1"})],
        "prior_scale": [StrOptions({"norm", "squared", "mean", "mean_squared"})],
        "objective": [StrOptions({"cross_entropy", "logit", "margin"}), Term, Objective],
        "init": [StrOptions({"prior", "noise", "mean", "zeros"}), "array-like"],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "noise_scale": [Interval(Real, 0, None, closed="left")],
        "augmentation": [StrOptions({"auto"}), list, tuple, None],
        "parameterization": [StrOptions(set(PARAMETERIZATIONS)), HasMethods("render")],
        "transforms": [StrOptions({"robust"}), list, tuple, None],
        "clip": [StrOptions({"auto"}), tuple, list, None],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "cooldown": [Interval(Real, 0, 1, closed="both")],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "adversarial_radius": [Interval(Real, 0, None, closed="left")],
        "checkpoint": "no_validation",
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "acceleration": [StrOptions(ACCELERATIONS), None],
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
        prior: Any = "parzen",
        prior_weight: float = 0.003,
        prior_norm: Literal["l2", "l1"] = "l2",
        prior_scale: Literal["norm", "squared", "mean", "mean_squared"] = "norm",
        objective: str | Term | Objective = "cross_entropy",
        init: ArrayLike = "prior",
        n_candidates: int = 256,
        noise_scale: float = 1.0,
        augmentation: Sequence[Any] | Literal["auto"] | None = "auto",
        parameterization: Any = "pixels",
        transforms: Sequence[Any] | Literal["robust"] | None = None,
        clip: Sequence[float] | Literal["auto"] | None = "auto",
        n_steps: int = 0,
        learning_rate: float = 0.05,
        cooldown: float = 0.0,
        optimizer: Literal["adam", "sgd"] = "adam",
        tol: float | None = None,
        adversarial_radius: float = 0.0,
        checkpoint: str | Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        acceleration: str | None = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.classifier = classifier
        self.image_shape = image_shape
        self.classes = classes
        self.normalize = normalize
        self.outputs = outputs
        self.prior = prior
        self.prior_weight = prior_weight
        self.prior_norm = prior_norm
        self.prior_scale = prior_scale
        self.objective = objective
        self.init = init
        self.n_candidates = n_candidates
        self.noise_scale = noise_scale
        self.augmentation = augmentation
        self.parameterization = parameterization
        self.transforms = transforms
        self.clip = clip
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.cooldown = cooldown
        self.optimizer = optimizer
        self.tol = tol
        self.adversarial_radius = adversarial_radius
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.device = device
        self.acceleration = acceleration
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train or take the classifier and learn the density and the layout.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
            In the units that the classifier takes; nothing is rescaled.
        y : array-like of shape (n,)
            Labels; some of the classifier's classes may be missing.

        Returns
        -------
        self : object
            The fitted generator.

        Raises
        ------
        ValueError
            For bad data and parameters; a fitted classifier that is not frozen is refused.
        """
        self._validate_params()
        rows, y = self._check_fit_data(X, y)
        self.device_ = resolve_device(self.device)
        seed = self._root_seed(self.random_state)
        self._take_classifier(rows, y, seed, adversarial_radius=self.adversarial_radius)
        columns = self._learn_class_prior(y)
        self._fit_density(rows, columns, seed)
        self._fit_canvas(rows)
        self._accelerate()
        return self

    def interpolate(
        self,
        start: Any,
        end: Any,
        n_images: int = 5,
        *,
        random_state: int | np.random.RandomState | None = None,
    ) -> NDArray[np.float32]:
        """Generate a series from one class to another (section 5.4).

        Optimised images maximise the weighted logits of both classes; drawn ones are chosen by the
        weighted log-probabilities. All images of the series start from the same noise.

        Parameters
        ----------
        start, end : label
            Two of ``classes_``.
        n_images : int, default=5
            Length of the series, both ends included.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.

        Returns
        -------
        X : ndarray of shape (n_images, n_features), or as `generate` lays images out

        Raises
        ------
        ValueError
            For unknown labels and fewer than two images.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skinvert import InputOptimizationGenerator
        >>> generator = InputOptimizationGenerator(
        ...     LogisticRegression(), prior="mean", init="mean", n_steps=20, random_state=0)
        >>> generator.fit(*load_digits(return_X_y=True)).interpolate(0, 6, n_images=3).shape
        (3, 64)
        """
        check_is_fitted(self)
        if not isinstance(n_images, Integral) or n_images < 2:
            raise ValueError(f"n_images must be an integer of at least 2, got {n_images!r}.")
        first, last = np.eye(len(self.classes_))[columns_of([start, end], self.classes_)]
        ratios = np.linspace(0, 1, n_images)[:, None]
        weights = (1 - ratios) * first + ratios * last
        return self.generate(weights=weights, random_state=random_state)

    def _fit_density(self, rows, columns, seed):
        """Learn p(x), from the rows alone unless class means are asked for."""
        self.mean_image_ = rows.mean(axis=0)
        if self.prior is None:
            prior = None
        elif isinstance(self.prior, str) and self.prior == "mean":
            prior = MeanPrior(self.mean_image_, self.prior_norm, self.prior_scale)
        elif isinstance(self.prior, str) and self.prior == "class_means":
            means = [
                rows[columns == c].mean(0) if (columns == c).any() else self.mean_image_
                for c in range(len(self.classes_))
            ]
            prior = MeanPrior(means, self.prior_norm, self.prior_scale)
        else:
            prior, self.prior_estimator_ = as_density_prior(self.prior, rows, seed)
        self.prior_ = prior if prior is None else prior.to(self.device_)

    def _fit_canvas(self, rows):
        """Settle the range of values and fit the parameterization to the training images."""
        self.value_range_ = range_of_values(self.clip, rows)
        self.canvas_ = fitted_canvas(
            self.parameterization,
            rows,
            image_shape=canvas_shape(self.image_shape_, self.n_features_in_),
            value_range=self.value_range_,
        )

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        if callback is not None:
            whole, callback = callback, lambda n: whole(n / max(self.n_steps, 1))
        settings = {
            "batch_size": batch_size,
            "n_steps": self.n_steps,
            "device": self.device_,
            "callback": callback,
        }
        if not self._is_sampled():
            problem = self._arg_max_problem(target, rows)
            if rows.start == 0:
                self._warn_of_dead_start(problem, seeds)
            rate = self.learning_rate
            if self.cooldown:
                rate = Cooldown(rate, self.n_steps, self.cooldown)
            rule = {"adam": Adam, "sgd": SGD}[self.optimizer](rate)
            return optimize(problem, seeds, optimizer=rule, tol=self.tol, **settings)
        sampler = self._posterior_sampler(target, seeds)
        rule = Langevin(self.learning_rate, self.noise_scale)
        result = optimize(sampler.problem(), seeds, optimizer=rule, **settings)
        result.diagnostics["effective_sample_size"] = sampler.effective_sizes
        self._warn_of_collapse(sampler.effective_sizes)
        return result

    def _is_sampled(self):
        return isinstance(self.init, str) and self.init == "prior"

    def _arg_max_problem(self, target, rows):
        r"""Eq. 6: :math:`\arg\min_x L(f(x), y) + \lambda\, L_2(x)`."""
        canvas = self.canvas_
        surrogate_loss = as_objective(self.objective)
        if target.is_mixture:
            # Section 5.4: interpolations maximise the weighted logits, "a direct loss".
            surrogate_loss = surrogate_loss.excited_by(Logit)
        if self.prior_ is not None:
            surrogate_loss += Objective([("prior", PriorEnergy(self.prior_weight, self.prior_))])
        loss = self._bind(surrogate_loss, target)
        starts = self._starts(rows.stop)

        def start(row, noise):
            return (
                canvas.start(noise)
                if starts is None
                else canvas.from_images(starts[rows.start + row if len(starts) > 1 else 0][None])
            )

        return Problem(
            start=start,
            objective=lambda params, *row: loss(canvas.render(params), *row),
            render=canvas.render,
            project=canvas.project,
        )

    def _posterior_sampler(self, target, seeds):
        r"""Draws from :math:`f(x)_y^{1/\lambda}\, p(x)`: resampled starts, then Langevin steps."""
        return PosteriorSampler(
            self._density_to_draw_from(),
            self._bind(as_objective(self.objective), target),
            seeds,
            power=1 / self.prior_weight,
            n_candidates=self.n_candidates,
            image_shape=self.canvas_.image_shape_,
            value_range=self.value_range_,
            augmentation=self._resolved_augmentation(),
        )

    def _bind(self, objective, target):
        return TargetedObjective(
            objective,
            self.classifier_,
            target,
            example=self._mean_image(),
            stages=as_stages(self.transforms),
            n_steps=self.n_steps,
            value_range=self.value_range_,
        )

    def _density_to_draw_from(self):
        if isinstance(self.prior_, DensityPrior) and self.prior_weight > 0:
            return self.prior_
        raise ValueError(
            f"init='prior' draws from a density, and prior={self.prior!r} with prior_weight="
            f"{self.prior_weight} is none. Set prior='parzen', 'gaussian' or a scikit-learn "
            "density and a positive prior_weight, or optimise: init='noise', 'mean' or 'zeros'."
        )

    def _resolved_augmentation(self):
        if not isinstance(self.augmentation, str):
            return self.augmentation or ()
        shape = self.image_shape_
        return _SHIFTS if shape is not None and min(shape[1:]) >= _LEAST_SHIFTED else ()

    def _mean_image(self):
        mean = torch.from_numpy(self.mean_image_).to(self.device_)
        return mean.reshape(1, *self.canvas_.image_shape_)

    def _starts(self, n_rows):
        """First images, one for all rows or one a row; None where each row draws its own."""
        if isinstance(self.init, str):
            mean = self._mean_image()
            return {"mean": mean, "zeros": torch.zeros_like(mean), "noise": None}[self.init]
        images = given_images(self.init, "init", n_rows, self.n_features_in_)
        return torch.from_numpy(images).to(self.device_).reshape(-1, *self.canvas_.image_shape_)

    def _warn_of_dead_start(self, problem, seeds):
        """Say so where the classifier gives the first row no direction to go."""
        noise = RowNoise(seeds[:1], self.device_)
        params = tuple(value.detach().requires_grad_() for value in problem.start(0, noise))
        images = problem.render(params)
        logits = self.classifier_(images)
        (gradient,) = torch.autograd.grad(logits.abs().sum(), images)
        if gradient.abs().max() > 0:
            return
        certain = float(torch.softmax(logits.detach(), dim=1).amax()) > 1 - 1e-6
        cause = "its answer is saturated" if certain else "no unit between them is active"
        warnings.warn(
            f"the classifier's scores do not depend on the first image: {cause}. If the network "
            "expects other values than those of X, set normalize=(mean, std); else start "
            "elsewhere, with init='noise' or init='mean'.",
            UserWarning,
            stacklevel=2,
        )

    def _warn_of_collapse(self, sizes):
        share = float(np.mean(sizes < 1.5))
        if share > 0.5 and self.n_candidates > 1:
            warnings.warn(
                f"in {share:.0%} of the rows one of {self.n_candidates} draws of the prior has "
                "almost all the weight: images will be few and alike. Raise prior_weight, or "
                "n_candidates.",
                UserWarning,
                stacklevel=2,
            )

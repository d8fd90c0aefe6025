r"""ReGene: images from the latent space of a classifier.

Classify and Generate (Neurocomputing 471, 2022): a decoder learns to invert the latents of a
trained classifier, :math:`x \approx f_{dec}(z)` with :math:`z = f_{enc}(x)`, and convex
combinations of latents of one class, which keep their class (Lemma 1), are decoded to new images.
"""

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.inversion.loop import DivergenceError
from skinvert.inversion.targets import Target
from skinvert.latent_images import LatentImagesMixin
from skinvert.layout import columns_of
from skinvert.models.class_trials import ClassTrials
from skinvert.models.decoders import DECODERS, make_decoder, resolve_range
from skinvert.models.decoding import train_decoder
from skinvert.models.latent_samplers import make_sampler
from skinvert.models.latent_space import learn_latent_space
from skinvert.models.schedules import resolve_schedule
from skinvert.models.training import resolve_device
from skinvert.models.trials import ExhaustionError, exhaustion

__all__ = ["ExhaustionError", "ReGene"]

_MOST_MEASURED = 2000
_USEFUL_BATCH = 64  # larger ones decode no faster on a CPU


class ReGene(LatentImagesMixin, GeneratorMixin, BaseEstimator):
    r"""Decode combinations of a classifier's latents to new images of a class.

    `fit` takes or trains the classifier, keeps the latent of every row, and trains one decoder for
    all classes. `generate` combines latents of one class, accepts them if the classifier's last
    layer still says so (which Lemma 1 promises for convex combinations), decodes them, and accepts
    the images if the classifier is as sure of them as it is of real held-out rows on average.

    Parameters
    ----------
    classifier : None, estimator or torch.nn.Module, default=None
        As of `InputOptimizationGenerator`: None trains a small network, an unfitted estimator is
        cloned and fitted, a ``FrozenEstimator`` and a module are taken as trained.
    layer : str or list of str, default="penultimate"
        Where latents are read: the input of the last linear layer, or outputs of named layers.
    merge : {"concatenate", "sum"}, default="concatenate"
        How several layers make one latent.
    decoder : {"conv", "vgg", "dense"}, torch.nn.Module or None, default=None
        "vgg" is the paper's (Tables A.5 to A.7); "conv" is small; "dense" is for rows that are no
        images. None takes "conv" for images of 8 pixels or more and "dense" otherwise. A module
        maps latents (n, n_latents) to data, and is copied and trained on.
    decoder_width : int, default=None
        Channels of a named decoder; None is its own default.
    n_combine : int, default=2
        The paper's n: latents that are combined. Read by `generate`.
    ratios : {"uniform", "dirichlet"} or array-like of shape (n_combine,), default="uniform"
        Weights of the combination. Read by `generate`.
    sampler : {"convex", "convex_matched", "gmm", "flow"} or GaussianMixture, default="convex"
        Where latents come from. "convex" is the paper's: it combines rows that the last layer
        gives their class, as Lemma 1 supposes. "convex_matched" restores the spread that averaging
        takes away; "gmm" fits a mixture to the latents of each class, "flow" a small normalizing
        flow to those of all.
    loss : {"sharp", "paper"}, default="sharp"
        "paper" is eq. 6. "sharp" adds the terms of `class_weight`, `cycle_weight`,
        `adversarial_weight` and `latent_noise`, which "paper" does without.
    mae_weight, ssim_weight, perceptual_weight : float, default=1.0
        λ1, λ2 and λ3 of eq. 6. `schedule` multiplies them.
    class_weight : float, default=0.03
        Weight of the cross-entropy of the decoded image's class.
    cycle_weight : float, default=0.05
        Weight of the squared distance between a latent and that of its decoded image.
    adversarial_weight : float, default=0.0
        Weight of what a critic says that learns, beside the decoder, to tell decoded images from
        real ones.
    latent_noise : float, default=0.0
        Largest noise under which latents are decoded in training, in units of their spread.
    perceptual_network : torch.nn.Module, default=None
        From images to features, for λ3: Inception or VGG where weights are at hand. None takes the
        classifier's own first convolutions.
    schedule : "auto" or list of Phase, default="auto"
        Weights and learning rates by epoch. "auto" is that of the loss, for "paper" that of A.1.1
        for one channel and of A.1.3 for several.
    n_epochs : int or "auto", default="auto"
        Epochs of the decoder, over which the schedule is stretched. "auto" shows it some 80,000
        rows, and at least 10 epochs.
    decoder_batch_size : int, default=64
        Rows of a training step; 512 in the paper.
    threshold : {"mean_confidence"}, float or None, default="mean_confidence"
        Least confidence of the classifier in a generated image (6.2): that of each class on
        held-out rows, a number, or no check. Read by `generate`.
    max_trials : int, default=100
        Images that a row may decode, and latents that it may draw for each. Read by `generate`.
    validation_fraction : float, default=0.1
        Share of each class that is held out from all training, for the thresholds and
        ``reconstruction_error_``; its latents are combined like all others. Where it comes to
        no row at all, both are taken on the training rows.
    latent_dtype : {"float32", "float16"}, default="float32"
        Of the stored latents.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std) or torch.nn.Module, default=None
        What a trained network expects of its input, numbers or one value a channel, or the
        transform that says so: ``weights.transforms()`` of torchvision, whose resizing is left to
        you.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    clip : "auto" or tuple (low, high), default="auto"
        Range of the images, which the decoder cannot leave; X must lie in it. "auto" is that of X.
    checkpoint : str or Path, default=None
        File in which the training of the default classifier and of the decoder is stored after
        every epoch. A `fit` with the same data and parameters goes on from there, and ends with
        the same result.
    batch_size : int or "auto", default="auto"
        Rows that are generated together, always padded to this size.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    random_state : int, RandomState instance or None, default=None
        Seeds training and generation. With an int every `generate` gives the same images.
    verbose : int, default=0
        1 draws a progress bar on anything longer than a second.

    Attributes
    ----------
    classifier_ : FrozenClassifier
        The differentiable copy that is inverted.
    encoder_ : LatentEncoder
        Images to latents: a torch module.
    decoder_ : torch.nn.Module
        Latents to images, in data space.
    latents_ : ndarray of shape (n, n_latents)
        Of the rows of `fit`, in their order.
    head_ : torch.nn.Linear
        Latents to class scores, of the latent check: the classifier's last layer, or for other
        layers a logistic regression that learned from the classifier's answers.
    variance_ratio_ : float
        Within-class over between-class variance of the latents.
    mean_confidence_ : ndarray of shape (n_classes,)
        The classifier's mean confidence in held-out rows of each class, or of all classes for
        those with fewer than ten; NaN for classes that `fit` did not see.
    reconstruction_error_ : float
        Mean absolute error on held-out rows, in units of the data's range (of each feature's
        standard deviation, where rows are no images).
    surrogate_fidelity_ : float
        Agreement of a distilled student with its teacher; only where one was.
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of shape (n_classes,)
    image_shape_ : tuple (C, H, W) or None
    value_range_ : tuple (low, high)
    device_ : torch.device
    history_ : dict of str to ndarray of shape (n_epochs,)
        ``train_loss`` of the classifier where one was trained; ``decoder_loss`` and the unweighted
        terms of the decoder.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    Section, equation and table numbers are those of "Classify and Generate: Using Classification
    Latent Space Representations for Image Generations", Neurocomputing 471 (2022), 296 to 334.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.regene import ReGene
    >>> X, y = load_digits(return_X_y=True)
    >>> regene = ReGene(n_epochs=2, random_state=0).fit(X[:300], y[:300])
    >>> regene.transform(X[:5]).shape, regene.reconstruct(X[:5]).shape
    ((5, 128), (5, 64))
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "classifier": "no_validation",
        "layer": [str, list, tuple],
        "merge": [StrOptions({"concatenate", "sum"})],
        "decoder": [StrOptions(set(DECODERS)), nn.Module, None],
        "decoder_width": [Interval(Integral, 1, None, closed="left"), None],
        "n_combine": [Interval(Integral, 2, None, closed="left")],
        "ratios": [StrOptions({"uniform", "dirichlet"}), "array-like"],
        "sampler": [StrOptions({"convex", "convex_matched", "gmm", "flow"}), GaussianMixture],
        "loss": [StrOptions({"sharp", "paper"})],
        "mae_weight": [Interval(Real, 0, None, closed="left")],
        "ssim_weight": [Interval(Real, 0, None, closed="left")],
        "perceptual_weight": [Interval(Real, 0, None, closed="left")],
        "class_weight": [Interval(Real, 0, None, closed="left")],
        "cycle_weight": [Interval(Real, 0, None, closed="left")],
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "latent_noise": [Interval(Real, 0, None, closed="left")],
        "perceptual_network": [nn.Module, None],
        "schedule": [StrOptions({"auto"}), list, tuple],
        "n_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "decoder_batch_size": [Interval(Integral, 2, None, closed="left")],
        "threshold": [
            StrOptions({"mean_confidence"}),
            Interval(Real, 0, 1, closed="both"),
            None,
        ],
        "max_trials": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "latent_dtype": [StrOptions({"float32", "float16"})],
        "image_shape": [tuple, list, None],
        "classes": ["array-like", None],
        "normalize": [tuple, list, torch.nn.Module, None],
        "outputs": [StrOptions({"auto", "logits", "probabilities"})],
        "clip": [StrOptions({"auto"}), tuple, list],
        "checkpoint": "no_validation",
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        classifier: Any = None,
        *,
        layer: str | Sequence[str] = "penultimate",
        merge: Literal["concatenate", "sum"] = "concatenate",
        decoder: Any = None,
        decoder_width: int | None = None,
        n_combine: int = 2,
        ratios: str | ArrayLike = "uniform",
        sampler: Any = "convex",
        loss: Literal["sharp", "paper"] = "sharp",
        mae_weight: float = 1.0,
        ssim_weight: float = 1.0,
        perceptual_weight: float = 1.0,
        class_weight: float = 0.03,
        cycle_weight: float = 0.05,
        adversarial_weight: float = 0.0,
        latent_noise: float = 0.0,
        perceptual_network: nn.Module | None = None,
        schedule: Sequence[Any] | Literal["auto"] = "auto",
        n_epochs: int | Literal["auto"] = "auto",
        decoder_batch_size: int = 64,
        threshold: float | Literal["mean_confidence"] | None = "mean_confidence",
        max_trials: int = 100,
        validation_fraction: float = 0.1,
        latent_dtype: Literal["float32", "float16"] = "float32",
        image_shape: Sequence[int] | None = None,
        classes: ArrayLike | None = None,
        normalize: Sequence[Any] | torch.nn.Module | None = None,
        outputs: Literal["auto", "logits", "probabilities"] = "auto",
        clip: Sequence[float] | Literal["auto"] = "auto",
        checkpoint: str | Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.classifier = classifier
        self.layer = layer
        self.merge = merge
        self.decoder = decoder
        self.decoder_width = decoder_width
        self.n_combine = n_combine
        self.ratios = ratios
        self.sampler = sampler
        self.loss = loss
        self.mae_weight = mae_weight
        self.ssim_weight = ssim_weight
        self.perceptual_weight = perceptual_weight
        self.class_weight = class_weight
        self.cycle_weight = cycle_weight
        self.adversarial_weight = adversarial_weight
        self.latent_noise = latent_noise
        self.perceptual_network = perceptual_network
        self.schedule = schedule
        self.n_epochs = n_epochs
        self.decoder_batch_size = decoder_batch_size
        self.threshold = threshold
        self.max_trials = max_trials
        self.validation_fraction = validation_fraction
        self.latent_dtype = latent_dtype
        self.image_shape = image_shape
        self.classes = classes
        self.normalize = normalize
        self.outputs = outputs
        self.clip = clip
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @whole_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train or take the classifier, keep its latents, and train the decoder.

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
            For bad data and parameters, unknown layers, a decoder of another shape, and values
            outside the range of the decoder.
        FloatingPointError
            If the decoder's loss is not finite.
        """
        self._validate_params()
        rows, y = self._check_fit_data(X, y)
        self.device_ = resolve_device(self.device)
        seed = self._root_seed(self.random_state)
        training, held_out = _divided(y, self.validation_fraction, seed)
        self._fit_classifier(rows, y, training, seed)
        columns = self._columns = self._learn_class_prior(y)
        judged = held_out if len(held_out) else np.arange(len(rows))
        self._fit_latents(rows, columns, judged)
        unit = self._fit_decoder(rows, columns, training, seed)
        self.reconstruction_error_ = self._error(rows, judged, unit)
        self._seed, self._sampler = seed, None
        self._make_sampler()
        return self

    def _fit_classifier(self, rows, y, training, seed):
        is_trained_here = not isinstance(self.classifier, (nn.Module, FrozenEstimator))
        # Held-out rows are held out from the classifier too, where it is trained here.
        seen = training if is_trained_here and len(training) < len(rows) else slice(None)
        self._take_classifier(rows[seen], y[seen], seed)

    def _fit_latents(self, rows, columns, held_out):
        space = learn_latent_space(
            self.classifier_,
            rows,
            columns,
            len(self.classes_),
            layer=self.layer,
            merge=self.merge,
            latent_dtype=self.latent_dtype,
            batch_size=self._resolved_batch_size(),
            device=self.device_,
        )
        self.encoder_, self.latents_, self.head_ = space.encoder, space.latents, space.head
        self.variance_ratio_ = space.variance_ratio
        self._n_features_out = space.encoder.n_latents
        self.mean_confidence_ = space.mean_confidence(columns, held_out, len(self.classes_))

    def _fit_decoder(self, rows, columns, training, seed):
        """Train the decoder; returns the unit of its errors."""
        self.value_range_ = resolve_range(self.clip, rows)
        shape = self.image_shape_ or (self.n_features_in_,)
        self.decoder_, scale = make_decoder(
            self.decoder,
            self.encoder_.n_latents,
            rows,
            image_shape=self.image_shape_,
            width=self.decoder_width,
            value_range=self.value_range_,
            seed=seed,
        )
        self.decoder_.to(self.device_).check(self.encoder_.n_latents)
        is_sharp = self.loss == "sharp"
        history = train_decoder(
            self.decoder_,
            self.encoder_,
            self.latents_,
            rows.reshape(-1, *shape),
            columns,
            training,
            scale=scale,
            schedule=resolve_schedule(
                self.schedule, self.n_epochs, self.loss, shape[0], len(training)
            ),
            weights={
                "mae_weight": self.mae_weight,
                "ssim_weight": self.ssim_weight,
                "perceptual_weight": self.perceptual_weight,
                "class_weight": self.class_weight if is_sharp else 0.0,
                "cycle_weight": self.cycle_weight if is_sharp else 0.0,
                "adversarial_weight": self.adversarial_weight if is_sharp else 0.0,
            },
            perceptual_network=self.perceptual_network,
            latent_noise=self.latent_noise if is_sharp else 0.0,
            batch_size=self.decoder_batch_size,
            seed=seed,
            checkpoint=self.checkpoint,
            verbose=self.verbose,
        )
        self.history_ |= history
        return scale

    def _error(self, rows, judged, unit):
        """Mean absolute error of reconstructions, in such units."""
        judged = judged[:_MOST_MEASURED]
        decoded = self._decode(self.latents_[judged])
        scale = np.broadcast_to(unit, decoded.shape[1:]).reshape(-1)
        return float((np.abs(decoded.reshape(len(judged), -1) - rows[judged]) / scale).mean())

    def _make_sampler(self):
        """The sampler that the parameters ask for, made once."""
        wanted = repr((self.sampler, self.n_combine, self.ratios))
        if self._sampler is None or self._sampler_of != wanted:
            self._sampler = make_sampler(
                self.sampler,
                self.latents_,
                self._columns,
                head=self.head_,
                n_combine=self.n_combine,
                ratios=self.ratios,
                seed=self._seed,
            )
        self._sampler_of = wanted

    def _resolved_batch_size(self):
        # Without gradients four times as many rows fit where an optimiser has its batch.
        size = super()._resolved_batch_size()
        return size if self.batch_size != "auto" else max(size, min(4 * size, _USEFUL_BATCH))

    def generate(
        self,
        y: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        target: Target | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        out: str | Path | None = None,
        return_info: bool = False,
    ) -> Any:
        """Generate one image for each requested row, in order (3.4 and 6.2).

        Each row draws latents from a stream of its own until one passes the latent check, decodes
        it, and starts again unless the image passes too.

        Parameters
        ----------
        y : array-like of shape (n,), default=None
            Labels, all among those of the rows of `fit`.
        weights : array-like or DataFrame of shape (n, n_classes), default=None
            Class weights, normalised by row: one latent is drawn for each class from the same
            random numbers, and their weighted sum is decoded. What lies between classes belongs to
            none, so that only rows of one class are checked.
        target : None, default=None
            Not supported: latents know classes, not units.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.
        n_jobs : int or None, default=None
            Workers that share the shards, through joblib; the images have the same bits.
        out : str or Path or None, default=None
            A ``.npy`` file to write, shard by shard.
        return_info : bool, default=False
            Whether to return `info` beside the images.

        Returns
        -------
        X : ndarray of shape (n, n_features), or (n, H, W) or (n, C, H, W) as `fit` saw, float32
        info : Bunch
            Only with ``return_info=True``. Per row: ``latents``; ``n_latent_trials`` (drawn) and
            ``n_image_trials`` (decoded), which are Table 2's counts; ``confidence`` of the
            classifier in the label; ``sources`` and ``ratios``, the rows of `fit` that were
            combined, where they were; ``status``, ``n_steps``, ``seed`` and ``batch_size``;
            and ``n_sample_steps``, the images decoded in all, padding included.

        Raises
        ------
        ValueError
            For unknown labels, classes with too few rows, bad weights and bad parameters.
        ExhaustionError
            If rows find no image in `max_trials` trials; what was found is on it.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self._validate_params()
        if target is not None:
            raise ValueError(
                "ReGene decodes latents of classes, and can't excite other units; got target=. Ask "
                "with y= or weights=, or use InputOptimizationGenerator for units of a layer."
            )
        self._make_sampler()
        try:
            return super().generate(
                y,
                weights=weights,
                random_state=random_state,
                n_jobs=n_jobs,
                out=out,
                return_info=return_info,
            )
        except DivergenceError as error:
            # The way in which shards hand over what they have when they can't go on.
            raise exhaustion(error) from None

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        weights = target.matrix(len(self.classes_))
        for column in np.flatnonzero(weights.any(0)):
            self._sampler.check_class(column, self.classes_.tolist()[column])

        def decode(latents):
            images = self._rendered(latents)
            return images, self.classifier_(images).softmax(1)

        trials = ClassTrials(
            weights, self._sampler, self.head_, decode, self._thresholds(), self.max_trials
        )
        return trials.run(seeds, batch_size=batch_size, device=self.device_, callback=callback)

    def _thresholds(self):
        """Least confidence for each class."""
        if self.threshold is None:
            return np.zeros(len(self.classes_))
        if isinstance(self.threshold, str):
            return self.mean_confidence_
        return np.full(len(self.classes_), float(self.threshold))

    def generations(
        self,
        y: ArrayLike,
        n_generations: int = 2,
        *,
        parents: Literal["latents", "images"] = "latents",
        random_state: int | np.random.RandomState | None = None,
    ) -> list[NDArray[np.float32]]:
        """Generate from what was generated, and so on (6.5).

        Every generation combines the one before it. What it may be combined of is the request
        itself, so that each class in `y` needs at least `n_combine` rows. The first is checked as
        `generate` does; later images are not, so that what is lost on the way can be seen.

        Parameters
        ----------
        y : array-like of shape (n,)
        n_generations : int, default=2
            How many, the first included.
        parents : {"latents", "images"}, default="latents"
            "latents" combines the latents of the last generation (the paper's siblings), "images"
            those of its images, encoded anew (its children).
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.

        Returns
        -------
        images : list of ndarray of shape (n, n_features), or as `generate` lays images out
            One for each generation.

        Raises
        ------
        ValueError, ExhaustionError
            As `generate`.
        """
        check_is_fitted(self)
        if parents not in ("latents", "images"):
            raise ValueError(f"parents must be 'latents' or 'images', got {parents!r}.")
        if not isinstance(n_generations, Integral) or n_generations < 1:
            raise ValueError(
                f"n_generations must be an integer of at least 1, got {n_generations!r}."
            )
        root = self._root_seed(self.random_state if random_state is None else random_state)
        breeder, found = copy.copy(self), []
        for depth in range(n_generations):
            images, info = breeder.generate(y, random_state=root + depth, return_info=True)
            found.append(images)
            breeder = copy.copy(self)
            breeder.latents_ = info.latents if parents == "latents" else self.transform(images)
            breeder._columns = columns_of(y, self.classes_)
            breeder._sampler, breeder.threshold = None, None
        return found


def _divided(y, fraction, seed):
    """Rows that are trained on, and rows held out: so many of every class, rounded down."""
    rng = np.random.default_rng(seed)
    held_out = [
        rng.permutation(of_class)[: int(len(of_class) * fraction)]
        for of_class in (np.flatnonzero(y == label) for label in np.unique(y))
    ]
    held_out = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(y)), held_out), held_out

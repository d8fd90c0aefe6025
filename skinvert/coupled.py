r"""CoupledDreamer: preferred inputs from a generator network coupled to a frozen classifier.

Despraz, Gomez, Satizábal and Peña-Reyes, "Towards a Better Understanding of Deep Neural Networks
Representations using Deep Generative Networks", IJCCI 2017: latent → generator → image →
classifier, where the generator learns, for each picture anew, to excite what is asked for.
"""

import copy
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.export import DecoderModule, write_onnx
from skinvert.inversion.coupling import FreeCoefficients, FreeGenerators, started_alive
from skinvert.inversion.evidence import OtherEvidence, TargetEvidence
from skinvert.inversion.loop import Problem, optimize
from skinvert.inversion.optimizers import SGD, AdaMax
from skinvert.inversion.targeted import TargetedObjective
from skinvert.inversion.transforms import RandomAffine
from skinvert.inversion.views import as_stages
from skinvert.models.acceleration import ACCELERATIONS
from skinvert.models.autoencoder import colour_root, moments, train_autoencoder
from skinvert.models.coupled_networks import CoupledGenerator, DenseGenerator, table_latents
from skinvert.models.decoders import ScaledDecoder
from skinvert.models.rowwise import RowwiseNetwork
from skinvert.models.training import resolve_device

__all__ = ["CoupledDreamer"]

_VIEWS = (RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.8, 1.2)),)
_LEAST_VIEWED = 16  # pixels: below it a shift is no whole pixel
_LEAST_IMAGE = 8  # pixels, for convolutions
_DENSE_LATENTS = 32
_MOST_CODES = 1000

_DEFAULTS = {
    "untrained": {
        "n_steps": 200,
        "learning_rate": 0.002,
        "noise_scale": 0.3,
        "regularization_weight": 0.01,
    },
    "pretrained": {
        "n_steps": 300,
        "learning_rate": 0.1,
        "noise_scale": 0.05,
        "regularization_weight": 0.1,
    },
}


class CoupledDreamer(GeneratorMixin, BaseEstimator):
    r"""Generate preferred inputs of classes, mixtures, neurons and filters with a coupled network.

    A generator network feeds the frozen classifier, and what is free in it is optimised, for each
    picture by itself, to minimise :math:`-a(c_i) + \lambda \sum_{j \ne i} a(c_j) + R(\xi)` (eq. 2),
    where :math:`a` are the rectified logits. "untrained" generators start from random weights, and
    all of them are free (section 4.1); "pretrained" is the decoder of a denoising autoencoder that
    `fit` trains on X, and only the latent's coefficients are free (section 4.2).

    The paper's settings are ``width=512, other_class_weight=0.01, transforms=None, clip=None`` and
    ``generator="untrained", n_steps=500, noise_scale=2.0, statistics="running"``, or
    ``generator="pretrained", n_steps=1200, learning_rate=0.01, init_scale=0.0``.

    Parameters
    ----------
    classifier : None, estimator or torch.nn.Module, default=None
        As of `InputOptimizationGenerator`: None trains a small network, an unfitted estimator is
        cloned and fitted, a ``FrozenEstimator`` and a module are taken as trained. Several
        networks at once: `ClassifierEnsemble`.
    generator : {"untrained", "pretrained"}, module or estimator, default="pretrained"
        A module from latents (n, n_latents) to images, or an estimator with ``decoder_`` and
        ``latents_`` (a fitted `ReGene`), takes the place of the pretrained decoder.
    n_latents : int, default=None
        Length of the latent. None is what Table 2 needs: 3,200 at full width. Read by `fit`.
    width : int, default=32
        Channels of the generator's first block, 512 in the paper. Read by `fit`.
    other_class_weight : float or "auto", default="auto"
        The paper's λ. "auto" is 10 over the number of classes, at most 1: the paper's 0.01 for its
        1,000 classes. Channels of a layer are excited whatever the others do ("auto" is 0 there).
    regularization_weight : float or "auto", default="auto"
        Of R(ξ): 0.01, on :math:`\ell_1(\gamma)` of the image's channels, or 0.1, on
        :math:`\ell_2(\alpha)`.
    noise_scale : float or "auto", default="auto"
        The σ of Table 1: 2 in the paper, additive, for "untrained", and 0.05, multiplicative, for
        decoders. "auto" is 0.3 and 0.05: 2 drowns the pattern of the latent itself.
    init_scale : float, default=1.0
        Decoders only: rows start from draws of a Gaussian with the covariance of X's codes, at
        this scale. At 0 they all start from the mean code.
    statistics : {"image", "running"}, default="image"
        Untrained only: whether the batch normalisations of the finished generator use the
        statistics of the picture, as they do while it learns, or running averages.
    transforms : "auto", "robust", list of transforms, list of such lists or None, default="auto"
        Random views under which the classifier must answer, as of `InputOptimizationGenerator`.
        "auto" turns, shifts and zooms images of 16 pixels or more a little; None is the paper.
    clip : "auto", tuple (low, high) or None, default="auto"
        Range of values. "auto" is that of X; None leaves images as the generator makes them.
    n_steps : int or "auto", default="auto"
        "auto" is 200 untrained and 300 for decoders; 500 and 1,200 in the paper.
    learning_rate : float or "auto", default="auto"
        "auto" is 0.002 of AdaMax untrained, as in the paper, and 0.1 of SGD with Nesterov momentum
        0.1 for decoders, 0.01 in the paper.
    n_snapshots : int, default=10
        Decoders only: the image is the median of so many, taken every 40 steps until the last.
    n_epochs : int or "auto", default="auto"
        Of the autoencoder. "auto" shows it some 20,000 rows.
    input_noise : float, default=0.3
        Of the autoencoder, in standard deviations of X.
    adversarial_radius : float, default=0.0
        As of `InputOptimizationGenerator`: robust training of the default classifier.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std) or torch.nn.Module, default=None
        What a trained network expects of its input: numbers, one value a channel, or the transform
        that says so, ``weights.transforms()`` of torchvision.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    checkpoint : str or Path, default=None
        File in which the training of the default classifier and of the autoencoder is stored after
        every epoch. A `fit` with the same data and parameters goes on from there, and ends with the
        same result.
    batch_size : int or "auto", default="auto"
        Rows at work together, always padded to this size.
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
    decoder_ : torch.nn.Module
        From latents to images, in data space; not for "untrained".
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of shape (n_classes,)
    surrogate_fidelity_ : float
        Agreement of a distilled student with its teacher; only where one was.
    image_shape_ : tuple (C, H, W) or None
    value_range_ : tuple (low, high) or None
    device_ : torch.device
    acceleration_ : {"bfloat16", "compile", "bfloat16+compile"} or None
    history_ : dict of str to ndarray of shape (n_epochs,)
        ``train_loss`` of the classifier and ``autoencoder_loss``, where they were trained.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    The paper's ReLU on the target's logit is leaky here, with slope one below zero: a silent target
    would have no gradient, and the paper asks for :math:`a(c_i) > 0` at all times. A channel of a
    layer that is silent at the start is started from stronger pictures. What stays silent is
    warned about, and has the status "inactive". Logits of classifiers that leave a class of X below
    zero in all its rows are measured from their mean.

    Of several classes (Figure 9) the soft minimum of their activations is maximised, not the sum.

    The generator's answers are in standard deviations of X about its mean, channel by channel; an
    untrained one's channels are mixed by the root of the covariance of X's colours, without which
    photographs would have to be found among garish ones.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.coupled import CoupledDreamer
    >>> X, y = load_digits(return_X_y=True)
    >>> dreamer = CoupledDreamer(n_epochs=2, n_steps=20, random_state=0).fit(X, y)
    >>> dreamer.generate([3, 8]).shape
    (2, 64)
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "classifier": "no_validation",
        "generator": "no_validation",
        "n_latents": [Interval(Integral, 1, None, closed="left"), None],
        "width": [Interval(Integral, 4, None, closed="left")],
        "other_class_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "regularization_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "noise_scale": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "init_scale": [Interval(Real, 0, None, closed="left")],
        "statistics": [StrOptions({"image", "running"})],
        "transforms": [StrOptions({"auto", "robust"}), list, tuple, None],
        "clip": [StrOptions({"auto"}), tuple, list, None],
        "n_steps": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "n_snapshots": [Interval(Integral, 1, None, closed="left")],
        "n_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "adversarial_radius": [Interval(Real, 0, None, closed="left")],
        "image_shape": [tuple, list, None],
        "classes": ["array-like", None],
        "normalize": [tuple, list, torch.nn.Module, None],
        "outputs": [StrOptions({"auto", "logits", "probabilities"})],
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
        generator: Any = "pretrained",
        n_latents: int | None = None,
        width: int = 32,
        other_class_weight: float | Literal["auto"] = "auto",
        regularization_weight: float | Literal["auto"] = "auto",
        noise_scale: float | Literal["auto"] = "auto",
        init_scale: float = 1.0,
        statistics: Literal["image", "running"] = "image",
        transforms: Sequence[Any] | Literal["auto", "robust"] | None = "auto",
        clip: Sequence[float] | Literal["auto"] | None = "auto",
        n_steps: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        n_snapshots: int = 10,
        n_epochs: int | Literal["auto"] = "auto",
        input_noise: float = 0.3,
        adversarial_radius: float = 0.0,
        image_shape: Sequence[int] | None = None,
        classes: ArrayLike | None = None,
        normalize: Sequence[Any] | torch.nn.Module | None = None,
        outputs: Literal["auto", "logits", "probabilities"] = "auto",
        checkpoint: str | Path | None = None,
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        acceleration: str | None = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.classifier = classifier
        self.generator = generator
        self.n_latents = n_latents
        self.width = width
        self.other_class_weight = other_class_weight
        self.regularization_weight = regularization_weight
        self.noise_scale = noise_scale
        self.init_scale = init_scale
        self.statistics = statistics
        self.transforms = transforms
        self.clip = clip
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.n_snapshots = n_snapshots
        self.n_epochs = n_epochs
        self.input_noise = input_noise
        self.adversarial_radius = adversarial_radius
        self.image_shape = image_shape
        self.classes = classes
        self.normalize = normalize
        self.outputs = outputs
        self.checkpoint = checkpoint
        self.batch_size = batch_size
        self.device = device
        self.acceleration = acceleration
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Take or train the classifier, and prepare the generator.

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
            For bad data and parameters, and a generator whose images do not fit those of X.
        TypeError
            For a generator that is neither a name, a module nor a fitted estimator with a decoder.
        """
        self._validate_params()
        rows, y = self._check_fit_data(X, y)
        self.device_ = resolve_device(self.device)
        seed = self._root_seed(self.random_state)
        self._take_classifier(rows, y, seed, adversarial_radius=self.adversarial_radius)
        columns = self._learn_class_prior(y)
        self._fit_range(rows, columns)
        self._fit_generator(rows, seed)
        self._accelerate()
        return self

    def to_torch(self) -> DecoderModule:
        """The decoder as a plain module on the CPU.

        Returns
        -------
        module : torch.nn.Module
            From latents (n, n_latents), float32, to images (n, C, H, W) in the range of X, or
            (n, n_features) of rows that are no images. Latents of ``generator="pretrained"`` have
            mean 0 and variance 1 in each coordinate over the rows that `fit` saw.

        Raises
        ------
        ValueError
            For ``generator="untrained"``: every picture then has a network of its own.
        """
        check_is_fitted(self)
        if self.decoder_ is None:
            raise ValueError(
                "generator='untrained' trains a network anew for every picture and keeps none, so "
                "that there is nothing to hand out. Use generator='pretrained', or a decoder of "
                "your own."
            )
        return DecoderModule(self.decoder_, self.value_range_)

    def export_onnx(self, path: str | Path) -> Path:
        """Write the decoder as an ONNX file; see `to_torch`.

        Parameters
        ----------
        path : str or Path
            Written in full or not at all.

        Returns
        -------
        path : Path
            Its input is ``latents``, its output ``images``, both float32, of any number of rows.

        Raises
        ------
        ImportError
            If the packages onnx and onnxscript are not installed.
        ValueError
            For ``generator="untrained"``, as `to_torch`.
        """
        return write_onnx(self.to_torch(), self._codes.shape[1], path)

    def _fit_range(self, rows, columns):
        """Units and range of the images, and whether logits have a zero of their own."""
        self.value_range_ = self.clip
        if isinstance(self.clip, str):
            low, high = float(rows.min()), float(rows.max())
            self.value_range_ = (low, high) if low < high else None
        elif self.clip is not None and (len(self.clip) != 2 or not self.clip[0] < self.clip[1]):
            raise ValueError(f"clip must be 'auto', (low, high) or None, got {self.clip!r}.")
        mean, spread = moments(rows, self.image_shape_)
        self._colours = (mean, colour_root(rows, self.image_shape_) if self._is_image() else spread)
        with torch.no_grad():
            parts = torch.from_numpy(rows).split(256)
            logits = torch.cat([self.classifier_(part.to(self.device_)).cpu() for part in parts])
        own = logits[torch.arange(len(rows)), torch.from_numpy(columns)].numpy()
        silent = [own[columns == column].max() <= 0 for column in np.unique(columns)]
        self._centred = bool(np.any(silent))

    def _fit_generator(self, rows, seed):
        """The decoder that rows share; untrained generators are made when they are asked for."""
        self.decoder_ = self._codes = None
        if isinstance(self.generator, str) and self.generator == "untrained":
            return
        codes = None
        if isinstance(self.generator, str) and self.generator == "pretrained":
            decoder, codes, loss = train_autoencoder(
                rows,
                self.image_shape_,
                n_latents=self._table_latents(),
                width=self.width,
                input_noise=self.input_noise,
                n_epochs=self.n_epochs,
                device=self.device_,
                seed=seed,
                checkpoint=self.checkpoint,
            )
            self.history_["autoencoder_loss"] = loss
        else:
            decoder, codes = self._decoder_of_the_user()
        n_latents = self.n_latents or _first_latents(decoder) if codes is None else codes.shape[1]
        if n_latents is None:
            raise ValueError(
                "generator is a module whose latents' length cannot be read off its first layer; "
                "set n_latents."
            )
        self.decoder_ = decoder.to(self.device_).eval().requires_grad_(False)
        self.decoder_.check(n_latents)
        if codes is None:
            codes = torch.zeros(0, n_latents)
        chosen = np.random.default_rng(seed).permutation(len(codes))[:_MOST_CODES]
        self._codes = codes[np.sort(chosen)]

    def _decoder_of_the_user(self):
        """A private copy of a module or of an estimator's decoder, and known latents."""
        generator, codes = self.generator, None
        if not isinstance(generator, nn.Module):
            codes = getattr(generator, "latents_", None)
            generator = getattr(generator, "decoder_", None)
            if not isinstance(generator, nn.Module) or codes is None:
                raise TypeError(
                    "generator must be 'untrained', 'pretrained', a torch module from latents to "
                    "images, or a fitted estimator with decoder_ and latents_, got "
                    f"{self.generator!r}."
                )
            codes = torch.as_tensor(np.asarray(codes, dtype=np.float32))
        shape = self.image_shape_ or (self.n_features_in_,)
        return ScaledDecoder(copy.deepcopy(generator), shape), codes

    def _table_latents(self):
        if self.n_latents is not None:
            return self.n_latents
        return table_latents(self.image_shape_, self.width) if self._is_image() else _DENSE_LATENTS

    def _is_image(self):
        return self.image_shape_ is not None and min(self.image_shape_[1:]) >= _LEAST_IMAGE

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        n_steps = self._resolved("n_steps")
        if callback is not None:
            whole, callback = callback, lambda n: whole(n / n_steps)
        free, optimizer = self._free(n_steps)
        loss = self._bind(target, n_steps)
        penalty_weight = self._resolved("regularization_weight")

        def start(row, noise):
            return started_alive(free, loss, row, noise)

        def objective(params, rows, steps, noise):
            values = loss(free.shown(params, steps, noise), rows, steps, noise)
            return values | {"regularization": penalty_weight * free.penalty(params)}

        settings = {"batch_size": batch_size, "device": self.device_, "callback": callback}
        problem = Problem(start=start, objective=objective, render=free.render)
        result = optimize(problem, seeds, n_steps=n_steps, optimizer=optimizer, **settings)
        if self.value_range_ is not None:
            result.images = result.images.clip(*self.value_range_)
        self._report_silence(result, target, rows)
        return result

    def _resolved(self, name):
        given = getattr(self, name)
        kind = "untrained" if self.decoder_ is None else "pretrained"
        return _DEFAULTS[kind][name] if given == "auto" else given

    def _free(self, n_steps):
        """What is free in a row, and the optimiser of Table 1."""
        rate = self._resolved("learning_rate")
        if self.decoder_ is None:
            return self._free_generators(), AdaMax(rate)
        shape = self.image_shape_ or (self.n_features_in_,)
        free = FreeCoefficients(
            lambda latents: self._in_range(self.decoder_(latents)),
            self._codes.to(self.device_),
            shape,
            init_scale=self.init_scale,
            noise_scale=self._resolved("noise_scale"),
            n_steps=n_steps,
            n_snapshots=self.n_snapshots,
        )
        return free, SGD(rate, momentum=0.1, nesterov=True)

    def _free_generators(self):
        shape = self.image_shape_ or (self.n_features_in_,)
        # The rows' weights are their own; made without numbers, the template draws none either.
        with torch.device("meta"):
            if self._is_image():
                network = CoupledGenerator(shape, self.width, self.n_latents)
            else:
                network = DenseGenerator(self._table_latents(), self.n_features_in_)
        mean, root = (torch.from_numpy(values).to(self.device_) for values in self._colours)

        def coloured(answers):
            if self._is_image():
                return self._in_range(mean + torch.einsum("ij,njhw->nihw", root, answers))
            return self._in_range(mean + root * answers)

        return FreeGenerators(
            RowwiseNetwork(network, shape),
            self._table_latents(),
            coloured,
            noise_scale=self._resolved("noise_scale"),
            running_statistics=self.statistics == "running",
        )

    def _in_range(self, images):
        return images if self.value_range_ is None else images.clamp(*self.value_range_)

    def _bind(self, target, n_steps):
        """Eq. 2 without R, for the rows of a target."""
        asked = TargetEvidence(centred=self._centred, balanced=target.is_mixture)
        weight = self.other_class_weight
        if weight == "auto":
            weight = min(1.0, 10 / len(self.classes_)) if target.layer is None else 0.0
        others = OtherEvidence(weight, centred=self._centred)
        return TargetedObjective(
            asked + others,
            self.classifier_,
            target,
            example=torch.zeros(
                1, *(self.image_shape_ or (self.n_features_in_,)), device=self.device_
            ),
            stages=self._stages(),
            n_steps=n_steps,
            value_range=self.value_range_,
        )

    def _stages(self):
        """Lists of transforms, one for each part of a run."""
        transforms = self.transforms
        if isinstance(transforms, str) and transforms != "robust":
            shape = self.image_shape_
            transforms = _VIEWS if shape is not None and min(shape[1:]) >= _LEAST_VIEWED else ()
        return as_stages(transforms)

    def _report_silence(self, result, target, rows):
        """The activation that each row reached, and a word on those that excited nothing."""
        activation = -result.terms["target_evidence"]
        result.diagnostics["activation"] = activation
        silent = (activation <= 0) & ~np.isin(result.status, ["unfinished", "diverged"])
        result.status[silent] = "inactive"
        if silent.any():
            found = (np.flatnonzero(silent) + rows.start).tolist()
            where = "class" if target.layer is None else f"channel of {target.layer!r}"
            warnings.warn(
                f"rows {found[:10]} never made the {where} that they ask for active: their images "
                "say nothing of it. Take more n_steps, start from stronger images (init_scale), "
                "drop transforms, or take it for dead.",
                UserWarning,
                stacklevel=2,
            )


def _first_latents(decoder):
    """Length of the latents that a network's first dense layer takes, or None."""
    layers = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)]
    return layers[0].in_features if layers else None

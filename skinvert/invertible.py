r"""InvertibleFlowClassifier: a classifier that is a bijection between images and noise.

"Inverting MNIST Neural Networks for Image Generation" (Guo and Wang 2026) trains square networks
to send an image of class k to noise around a mean, and inverts them. What its loss leaves out is
the log-determinant of the change of variables,

.. math:: \log p(x \mid k) = \log N(f(x);\, \mu_k, I) + \log \lvert \det J_f(x) \rvert,

and with it nothing keeps the network from collapsing. Here it is one argument.
"""

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skinvert.base import GeneratorMixin, whole_or_nothing
from skinvert.export import FlowModule, write_onnx
from skinvert.flows.bases import fitted_spreads
from skinvert.flows.build import build_network
from skinvert.flows.diagnosis import diagnose, warn_of_conditions
from skinvert.flows.preprocessing import quantization_step
from skinvert.flows.settings import (
    check_combination,
    resolved_clip,
    resolved_epochs,
    resolved_settings,
    resolved_views,
)
from skinvert.flows.training import history_of, train
from skinvert.flows.use import (
    as_latents,
    decoded,
    encoded,
    generated,
    interpolated,
    log_joint,
    spread_over_cells,
)
from skinvert.inversion.loop import Result
from skinvert.layout import restore_layout, validate_rows
from skinvert.models.training import local_seed, pinned_threads, resolve_device

__all__ = ["InvertibleFlowClassifier"]

_LITTLE = 0.01  # shrinkage of class covariances that noise on images ridges in every direction


class InvertibleFlowClassifier(
    ClassNamePrefixFeaturesOutMixin,
    ClassifierMixin,
    TransformerMixin,
    GeneratorMixin,
    BaseEstimator,
):
    r"""Classify, generate, reconstruct and give exact likelihoods with one invertible map.

    A flow f carries images of class k to noise from :math:`N(\mu_k, I)`. Bayes' rule on
    :math:`p(x \mid k)` classifies, and the inverse of f turns noise into images. The defaults fit
    one flow a class without backpropagation. The paper's three models are::

        Base          InvertibleFlowClassifier("square", "paper", "label_line")
        Small         InvertibleFlowClassifier("square", "paper", "label_line", n_blocks=1)
        NoActivations InvertibleFlowClassifier("square", "paper", "label_line", activation=False)

    and ``objective="mle"`` is their repair.

    Parameters
    ----------
    architecture : {"square", "coupling", "sliced"}, default="sliced"
        "square": linear layers as wide as the data with LeakyReLUs between them, shared by all
        classes (the paper). "coupling": each class's principal axes, then class-conditional affine
        coupling blocks. "sliced": each class's principal axes, along which the monotone transports
        of a mixture of Gaussians are fitted by EM, coordinate by coordinate; no network is
        trained.
    objective : {"paper", "kl", "mle", "ib"}, default="mle"
        "paper": Gaussian negative log-likelihood of the output plus (variance - 1)², without
        log-determinant. "kl": KL divergence of each output's empirical Gaussian from the target,
        without log-determinant (the paper's section VI). "mle": the exact likelihood. "ib": the
        likelihood per dimension plus `cross_entropy_weight` times the cross-entropy of the
        posterior. "sliced" takes "mle" alone.
    class_means : {"label_line", "random", "learned"}, default="learned"
        Where the classes' noise sits: at 2k in every coordinate for the k-th class (the paper), at
        random, or where training moves it. Flows with one map a class need no more than that the
        means are far apart.
    class_covariances : {"auto", "identity", "fitted"}, default="auto"
        Spread of the noise around the means of a map that all classes share ("square"): unit
        spheres, or the covariance of each class's latents, fitted after training. "auto" fits for
        "mle".
    n_blocks : int or "auto", default="auto"
        Linear layers, coupling blocks, or layers that all classes of "sliced" share (a spline a
        pixel, then mixtures of patches); "auto" is 4, 8 (2 residual layers for pixels) and 0.
    activation : bool, default=True
        Whether square layers are followed by a LeakyReLU.
    negative_slope : float or "auto", default="auto"
        Of the LeakyReLU, in (0, 1]. Each one may stretch the inverse by 1/slope. "auto" is torch's
        own 0.01 for the paper's objectives and 0.5 for the likelihoods.
    linear : {"auto", "free", "bounded"}, default="auto"
        Square weight matrices as they are, or with a condition number of at most `max_condition`
        by construction. "auto" is free for the paper's objectives and bounded for the likelihoods.
    max_condition : float, default=1000.0
        Bound, or level above which a warning names the layer.
    coupled : {"axes", "pixels"}, default="axes"
        What coupling blocks move: the leading principal axes of each class; or the pixels of
        quantised images, coarse to fine, by conditional distribution functions ("coupling" only).
    n_components : int, default=80
        Leading principal axes that coupling blocks and mixtures work on; along the others a class
        is Gaussian.
    n_mixture : int, default=30
        Gaussians of a class's mixture, or of a patch's, at most; fewer where rows are few.
        "sliced" only.
    hidden_size : int or "auto", default="auto"
        Width of the networks inside coupling blocks; "auto" is 256 for axes, 64 for pixels.
    noise : float or "auto", default="auto"
        Standard deviation of the noise that training adds, relative to that of the data. It
        bounds the likelihood where pixels are constant and ridges every covariance. "auto" is 0.3
        ("square"), 0.45 ("coupling") or 0.7 ("sliced") for images, 0.05 for other rows, and 0 for
        the paper's objectives.
    dequantize : bool or "auto", default="auto"
        Spread quantised values evenly over their cells in training. "auto" does where all values
        lie on a grid and a likelihood is trained.
    logit : float or None, default=None
        α of a first map logit(α + (1 - 2α) u), with u a value's place in its range.
    augmentation : "auto", list of geometric transforms or None, default="auto"
        Views under which training sees images. "auto" turns, shifts and scales images of 16 pixels
        or more a little where a likelihood is trained.
    cross_entropy_weight : float, default=1.0
        β of "ib": weight of the cross-entropy, with label smoothing of 0.02.
    max_epochs : int or "auto", default="auto"
        Passes over the rows, all calls of a warm start together. "auto" is 40,000 / n, between 5
        and 40.
    learning_rate : float, default=0.001
        Of Adam.
    training_batch_size : int, default=128
        Rows of a training step.
    cooldown : float, default=0.5
        Last share of the epochs over which the learning rate falls to zero.
    patience : int or None, default=None
        Stop after so many epochs without a better loss on a tenth of the rows, held out, and keep
        the best weights.
    warm_start : bool, default=False
        Whether `fit` goes on from where it stopped to `max_epochs`. With ``cooldown=0`` ten epochs
        and forty more are, bit for bit, fifty.
    temperature : float, default=1.0
        Scale of the noise that images are generated from.
    denoise : bool, default=True
        Take the noise that training added out of generated images, by Tweedie's formula
        :math:`x + \sigma^2 \nabla \log p(x)`.
    clip : "auto", tuple (low, high) or None, default="auto"
        Range of generated images; "auto" is that of X.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and one-channel squares.
    batch_size : int or "auto", default="auto"
        Rows that are generated together.
    checkpoint : str or Path, default=None
        File that holds the training after every epoch; `fit` goes on from it if it was interrupted
        and nothing else has changed. "sliced" has no use for it.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    random_state : int, RandomState instance or None, default=None
        Seeds training and generation. With an int every `generate` gives the same images.
    verbose : int, default=0
        1 draws a progress bar on anything longer than a second.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    class_prior_ : ndarray of shape (n_classes,)
        Share of each class in y.
    class_means_ : ndarray of shape (n_classes, n_features)
        In the latent space.
    network_ : FlowNetwork
        The flow in float64, ready for use.
    quantization_step_ : float or None
        Distance of neighbouring values of X, if they lie on a grid.
    value_range_ : tuple (low, high)
        Of X.
    history_ : dict of str to ndarray of shape (n_epochs,)
        ``train_loss``, and ``valid_loss`` with `patience`. Empty for "sliced".
    image_shape_ : tuple (C, H, W) or None
    device_ : torch.device
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    The paper: E. Guo and Y. Wang, "Inverting MNIST Neural Networks for Image Generation", 2026.
    "ib": Ardizzone et al., "Training Normalizing Flows with the Information Bottleneck for
    Competitive Generative Classification", NeurIPS 2020. "sliced": after Dai and Seljak, "Sliced
    Iterative Normalizing Flows", ICML 2021, with Rosenblatt's (1952) conditional transports of a
    mixture in place of most iterations.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.invertible import InvertibleFlowClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> flow = InvertibleFlowClassifier(random_state=0).fit(X[:1000], y[:1000])
    >>> flow.generate([3, 8]).shape
    (2, 64)
    >>> flow.score(X[1000:], y[1000:]) > 0.9
    True
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "architecture": [StrOptions({"square", "coupling", "sliced"})],
        "objective": [StrOptions({"paper", "kl", "mle", "ib"})],
        "class_means": [StrOptions({"label_line", "random", "learned"})],
        "class_covariances": [StrOptions({"auto", "identity", "fitted"})],
        "n_blocks": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "activation": ["boolean"],
        "negative_slope": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="right")],
        "linear": [StrOptions({"auto", "free", "bounded"})],
        "max_condition": [Interval(Real, 1, None, closed="neither")],
        "coupled": [StrOptions({"axes", "pixels"})],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_mixture": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "noise": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "dequantize": [StrOptions({"auto"}), "boolean"],
        "logit": [Interval(Real, 0, 0.5, closed="neither"), None],
        "augmentation": [StrOptions({"auto"}), list, tuple, None],
        "cross_entropy_weight": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "training_batch_size": [Interval(Integral, 1, None, closed="left")],
        "cooldown": [Interval(Real, 0, 1, closed="both")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "denoise": ["boolean"],
        "clip": [StrOptions({"auto"}), tuple, list, None],
        "image_shape": [tuple, list, None],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "checkpoint": "no_validation",
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        architecture: Literal["square", "coupling", "sliced"] = "sliced",
        objective: Literal["paper", "kl", "mle", "ib"] = "mle",
        class_means: Literal["label_line", "random", "learned"] = "learned",
        *,
        class_covariances: Literal["auto", "identity", "fitted"] = "auto",
        n_blocks: int | Literal["auto"] = "auto",
        activation: bool = True,
        negative_slope: float | Literal["auto"] = "auto",
        linear: Literal["auto", "free", "bounded"] = "auto",
        max_condition: float = 1000.0,
        coupled: Literal["axes", "pixels"] = "axes",
        n_components: int = 80,
        n_mixture: int = 30,
        hidden_size: int | Literal["auto"] = "auto",
        noise: float | Literal["auto"] = "auto",
        dequantize: bool | Literal["auto"] = "auto",
        logit: float | None = None,
        augmentation: Sequence[Any] | Literal["auto"] | None = "auto",
        cross_entropy_weight: float = 1.0,
        max_epochs: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        training_batch_size: int = 128,
        cooldown: float = 0.5,
        patience: int | None = None,
        warm_start: bool = False,
        temperature: float = 1.0,
        denoise: bool = True,
        clip: Sequence[float] | Literal["auto"] | None = "auto",
        image_shape: Sequence[int] | None = None,
        batch_size: int | Literal["auto"] = "auto",
        checkpoint: str | Path | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.architecture = architecture
        self.objective = objective
        self.class_means = class_means
        self.class_covariances = class_covariances
        self.n_blocks = n_blocks
        self.activation = activation
        self.negative_slope = negative_slope
        self.linear = linear
        self.max_condition = max_condition
        self.coupled = coupled
        self.n_components = n_components
        self.n_mixture = n_mixture
        self.hidden_size = hidden_size
        self.noise = noise
        self.dequantize = dequantize
        self.logit = logit
        self.augmentation = augmentation
        self.cross_entropy_weight = cross_entropy_weight
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.training_batch_size = training_batch_size
        self.cooldown = cooldown
        self.patience = patience
        self.warm_start = warm_start
        self.temperature = temperature
        self.denoise = denoise
        self.clip = clip
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @whole_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the flow.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
        y : array-like of shape (n,)

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            For bad data and parameters, constant columns that nothing gives a spread, and a warm
            start on other data or to fewer epochs.

        Warns
        -----
        RuntimeWarning
            If the loss breaks, naming the block; the last good weights are kept. If a layer's
            condition number exceeds `max_condition`.
        """
        self._validate_params()
        check_combination(self)
        rows, y = self._check_fit_data(X, y)
        # A net that was broken off in the middle of an epoch is none to go on from.
        net = getattr(self, "_net", None)
        goes_on = self.warm_start and net is not None and not getattr(net, "stopped_", False)
        self.device_ = resolve_device(self.device)
        classes, columns = np.unique(y, return_inverse=True)
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"a warm start needs the classes of the first fit, {self.classes_.tolist()}, got "
                f"{classes.tolist()}. Set warm_start=False to start afresh."
            )
        self.classes_ = classes
        self._n_features_out = self.n_features_in_
        self._learn_class_prior(y)
        self.quantization_step_ = quantization_step(rows)
        self.value_range_ = (float(rows.min()), float(rows.max()))
        if not goes_on:
            self._seed = self._root_seed(self.random_state)
        settings = resolved_settings(self, self._seed)
        views = resolved_views(self)
        with pinned_threads(1), local_seed(self._seed):
            if self.architecture == "sliced":
                self._fit_sliced(settings, rows, columns, views)
            else:
                self._fit_by_gradient(settings, rows, columns, views, goes_on)
        # Training's float32 is no reason for rounded class shares.
        self.network_.log_prior = torch.from_numpy(np.log(self.class_prior_)).to(
            self.network_.log_prior.device
        )
        spreads = self.network_.spreads
        means = self.network_.means if spreads is None else spreads.means
        self.class_means_ = means.detach().double().cpu().numpy()
        if self.architecture == "square":
            warn_of_conditions(self.network_, self.max_condition)
        return self

    def _fit_sliced(self, settings, rows, columns, views):
        n_views = int(np.clip(60_000 // len(rows), 1, 15)) if views else 0
        n_parts = settings.n_blocks + len(self.classes_)
        with tqdm(total=n_parts, unit="part", disable=not self.verbose, delay=1) as bar:
            self.network_ = build_network(
                settings, rows, columns, views, n_views, progress=bar.update
            )
        self.network_.for_use().to(self._device_of_use())
        self.history_ = {}

    def _fit_by_gradient(self, settings, rows, columns, views, goes_on):
        network = None if goes_on else build_network(settings, rows, columns)
        self._net, network = train(
            self._net if goes_on else None,
            network,
            rows.reshape(len(rows), *(self.image_shape_ or rows.shape[1:])),
            columns,
            views=views,
            seed=self._seed,
            checkpoint=self.checkpoint,
            facts=repr(settings),
            learning_rate=self.learning_rate,
            batch_size=self.training_batch_size,
            n_epochs=resolved_epochs(self.max_epochs, len(rows)),
            cooldown=self.cooldown,
            patience=self.patience,
            device=self.device_,
            verbose=self.verbose,
        )
        self.network_ = network.for_use().to(self._device_of_use())
        if settings.fits_covariances:
            self.network_.spreads = fitted_spreads(
                self.network_,
                rows,
                columns,
                move_means=self.class_means == "learned",
                shrinkage=_LITTLE if settings.noise and settings.image_shape else None,
                seed=self._seed,
            )
        self.history_ = history_of(self._net)
        if not self.warm_start:
            del self._net

    def _device_of_use(self):
        # Inverses are worth float64, which mps lacks.
        return torch.device("cpu") if self.device_.type == "mps" else self.device_

    # What it says of images

    def _standard_rows(self, X):
        check_is_fitted(self)
        rows = validate_rows(self, X, dtype=np.float64, reset=False)
        return torch.from_numpy(np.array(rows)).to(self._device_of_use())

    def _log_joint(self, X, with_log_det=True):
        """log p(x, k) of every row and class: (n, n_classes)."""
        rows = self._standard_rows(X)
        with pinned_threads(1):
            return log_joint(self.network_, rows, with_log_det)

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logarithms of the class probabilities, by Bayes' rule.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
        """
        joint = self._log_joint(X, with_log_det=False)
        return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities, by Bayes' rule on the exact likelihoods.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row of X.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        y : ndarray of shape (n,)
        """
        columns = self._columns(X)
        return self.classes_[columns]

    def _columns(self, X):
        return self._log_joint(X, with_log_det=False).argmax(1)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """log p(x) of each row in nats, in the units of X.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        log_density : ndarray of shape (n,)
            Every Jacobian is counted. It is the density of rows with the training noise on them.
        """
        return np.logaddexp.reduce(self._log_joint(X), axis=1)

    def bits_per_dim(self, X: ArrayLike) -> NDArray[np.float64]:
        """Bits that a lossless code needs for each value of a row, at most.

        The rows are spread evenly over their quantisation cells, once, with the constructor's
        seed; all Jacobians are counted.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them
            On the grid of the values that `fit` saw.

        Returns
        -------
        bits : ndarray of shape (n,)

        Raises
        ------
        ValueError
            If the values that `fit` saw were not quantised, or those of X lie off their grid.
        """
        x = self._standard_rows(X).cpu()
        step = self.quantization_step_
        if step is None:
            raise ValueError(
                "bits_per_dim needs quantised data, and the values that fit saw lie on no common "
                "grid; a density of real numbers has no bits. Use score_samples, or quantise X "
                "before fit, for instance np.round(255 * X) / 255."
            )
        spread = spread_over_cells(self.network_, x, step, self._seed)
        log_density = np.logaddexp.reduce(self._log_joint(spread.numpy()), axis=1)
        return -(log_density / x.shape[1] + np.log(step)) / np.log(2)

    # Between images and latents

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Latents of images: noise around the mean of the class.

        Where every class has its own map ("coupling", "sliced") it is that of the predicted class.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        Z : ndarray of shape (n, n_features), float64
        """
        x = self._standard_rows(X)
        columns = self._columns(X) if self.network_.flow.conditional else np.zeros(len(x), int)
        with pinned_threads(1):
            return encoded(self.network_, x, columns).cpu().numpy()

    def inverse_transform(self, Z: ArrayLike) -> NDArray[np.float64]:
        """Images of latents: the exact inverse of `transform`.

        Parameters
        ----------
        Z : array-like of shape (n, n_features)
            Where every class has its own map, the nearest class mean says which is inverted; the
            means are 1,000 apart for that.

        Returns
        -------
        X : ndarray of shape (n, n_features), float64

        Raises
        ------
        ValueError
            If the width is not that of the images.
        """
        check_is_fitted(self)
        z = as_latents(Z, self.n_features_in_).to(self._device_of_use())
        columns = np.zeros(len(z), int)
        if self.network_.flow.conditional:
            columns = torch.cdist(z, self.network_.means.double()).argmin(1).cpu().numpy()
        with pinned_threads(1):
            return decoded(self.network_, z, columns).cpu().numpy()

    def reconstruct(self, X: ArrayLike) -> NDArray[np.float64]:
        """Images after a way to the latent space and back.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        X : ndarray of shape (n, n_features), or as `generate` lays images out, float64
            X itself but for rounding, if the network is well conditioned.
        """
        images = self.inverse_transform(self.transform(X))
        return restore_layout(images, self._trailing_shape)

    def interpolate(
        self, start: ArrayLike, end: ArrayLike, n_images: int = 5
    ) -> NDArray[np.float64]:
        """A series of images between two, straight in the latent space.

        Where every class has its own map, the noise moves straight from one latent to the other,
        and each image is the mean of the images that the two classes' maps make of it, weighted by
        the place in the series.

        Parameters
        ----------
        start, end : array-like of shape (n_features,), or one image as `fit` takes them
            Its ends.
        n_images : int, default=5
            Both ends included.

        Returns
        -------
        X : ndarray of shape (n_images, n_features), or as `generate` lays images out, float64

        Raises
        ------
        ValueError
            If `n_images` is less than 2.
        """
        check_is_fitted(self)
        if not isinstance(n_images, (int, np.integer)) or n_images < 2:
            raise ValueError(f"n_images must be an integer of at least 2, got {n_images!r}.")
        ends = np.stack([np.asarray(start), np.asarray(end)])
        x = self._standard_rows(ends)
        columns = self._columns(ends) if self.network_.flow.conditional else np.zeros(2, int)
        with pinned_threads(1):
            images = interpolated(self.network_, x, columns, n_images)
        return restore_layout(images.cpu().numpy(), self._trailing_shape)

    def to_torch(self) -> FlowModule:
        """The inverse of the flow as a plain module on the CPU: `inverse_transform` of tensors.

        Returns
        -------
        module : torch.nn.Module
            From latents (n, n_features) to rows in the units of X. It computes in float64.
        """
        check_is_fitted(self)
        return FlowModule(self.network_)

    def export_onnx(self, path: str | Path) -> Path:
        """Write the inverse of the flow as an ONNX file; see `to_torch`.

        Parameters
        ----------
        path : str or Path
            Written in full or not at all.

        Returns
        -------
        path : Path
            Its input is ``latents``, its output ``images``, both float64, of any number of rows.

        Raises
        ------
        ImportError
            If the packages onnx and onnxscript are not installed.
        ValueError
            For "square" flows whose layers are nearly singular.
        """
        return write_onnx(self.to_torch(), self.n_features_in_, path)

    def diagnose(self, X: ArrayLike, y: ArrayLike | None = None) -> Bunch:
        """How well the map is conditioned and how well it fits, in numbers.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them
            At least a few hundred rows, best held out.
        y : array-like of shape (n,), default=None
            Labels; the predicted ones if None.

        Returns
        -------
        report : Bunch
            As of `skinvert.flows.diagnosis.diagnose`: ``condition_numbers`` of the blocks,
            ``round_trip_error`` in float64 and ``round_trip_error_float32``,
            ``perturbation_gain``, ``ks_distance`` per class, ``ks_pass_rate``, ``bits_per_dim``.
        """
        return diagnose(self, X, y)

    # What GeneratorMixin asks for

    def _as_target(self, y, weights, target):
        if target is not None:
            raise ValueError(
                "target= excites units inside a classifier, and a flow generates from noise; ask "
                "for classes with y= or for mixtures with weights=."
            )
        return super()._as_target(y, weights, target)

    def _resolved_batch_size(self):
        # The transports of mixtures take many small steps, whatever the number of rows.
        if self.batch_size == "auto" and self.architecture == "sliced":
            return 256
        return super()._resolved_batch_size()

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        """One shard: noise of each row's own through the inverse, in batches of one shape."""
        weights = torch.from_numpy(target.matrix(len(self.classes_))).double()
        with pinned_threads(1):
            images = generated(
                self.network_,
                weights.to(self._device_of_use()),
                seeds,
                temperature=self.temperature,
                denoise=self.denoise,
                batch_size=batch_size,
                callback=callback,
            )
        n_rows = len(seeds)
        return Result(
            images=images.clamp(*resolved_clip(self.clip, self.value_range_)).float().cpu().numpy(),
            status=np.full(n_rows, "completed"),
            n_steps=np.ones(n_rows, dtype=int),
            n_sample_steps=-(-n_rows // batch_size) * batch_size,
        )

r"""InvertibleFlowClassifier: a classifier that is a bijection between images and noise.

"Inverting MNIST Neural Networks for Image Generation" (Guo and Wang 2026) trains square networks
to send an image of class k to noise around a mean, and inverts them. What its loss leaves out is
the log-determinant of the change of variables,

.. math:: \log p(x \mid k) = \log N(f(x);\, \mu_k, I) + \log \lvert \det J_f(x) \rvert,

and with it nothing keeps the network from collapsing. Here it is one argument.
"""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm.auto import tqdm

from skinvert.base import GeneratorMixin
from skinvert.flows.build import FlowSettings, build_network
from skinvert.flows.diagnosis import diagnose
from skinvert.flows.preprocessing import quantization_step
from skinvert.flows.training import train
from skinvert.inversion.loop import Result
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.transforms import RandomAffine
from skinvert.layout import flatten_images, restore_layout
from skinvert.models.training import local_seed, pinned_threads, resolve_device

__all__ = ["InvertibleFlowClassifier"]

_ROWS_AT_ONCE = 256
_VIEWS = (RandomAffine(degrees=5, translate=(0.04, 0.04), scale=(0.95, 1.05)),)
_LEAST_TURNED = 16  # pixels: below it a view is mostly interpolation
_IMAGE_NOISE = {"square": 0.3, "coupling": 0.45, "sliced": 0.7}
_BLOCKS = {"square": 4, "coupling": 8, "sliced": 0}


class InvertibleFlowClassifier(ClassifierMixin, TransformerMixin, GeneratorMixin, BaseEstimator):
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
    n_blocks : int or "auto", default="auto"
        Linear layers, coupling blocks, or patch layers that all classes of "sliced" share; "auto"
        is 4, 8 and 0.
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
    n_components : int, default=80
        Leading principal axes that coupling blocks and mixtures work on; along the others a class
        is Gaussian.
    n_mixture : int, default=30
        Gaussians of a class's mixture at most; fewer where a class has few rows. "sliced" only.
    hidden_size : int, default=256
        Width of the networks inside coupling blocks.
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
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.
    random_state : int, RandomState instance or None, default=None
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
        "n_blocks": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "activation": ["boolean"],
        "negative_slope": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="right")],
        "linear": [StrOptions({"auto", "free", "bounded"})],
        "max_condition": [Interval(Real, 1, None, closed="neither")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "n_mixture": [Interval(Integral, 1, None, closed="left")],
        "hidden_size": [Interval(Integral, 1, None, closed="left")],
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
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        architecture="sliced",
        objective="mle",
        class_means="learned",
        *,
        n_blocks="auto",
        activation=True,
        negative_slope="auto",
        linear="auto",
        max_condition=1000.0,
        n_components=80,
        n_mixture=30,
        hidden_size=256,
        noise="auto",
        dequantize="auto",
        logit=None,
        augmentation="auto",
        cross_entropy_weight=1.0,
        max_epochs="auto",
        learning_rate=1e-3,
        training_batch_size=128,
        cooldown=0.5,
        patience=None,
        warm_start=False,
        temperature=1.0,
        denoise=True,
        clip="auto",
        image_shape=None,
        batch_size="auto",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.objective = objective
        self.class_means = class_means
        self.n_blocks = n_blocks
        self.activation = activation
        self.negative_slope = negative_slope
        self.linear = linear
        self.max_condition = max_condition
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
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y):
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
        self._check_combination()
        rows, y = self._check_fit_data(X, y)
        goes_on = self.warm_start and hasattr(self, "_net")
        self.device_ = resolve_device(self.device)
        classes, columns = np.unique(y, return_inverse=True)
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"a warm start needs the classes of the first fit, {self.classes_.tolist()}, got "
                f"{classes.tolist()}. Set warm_start=False to start afresh."
            )
        self.classes_ = classes
        self._learn_class_prior(y)
        self.quantization_step_ = quantization_step(rows)
        self.value_range_ = (float(rows.min()), float(rows.max()))
        if not goes_on:
            self._seed = self._root_seed(self.random_state)
        settings = self._settings()
        views = self._views()
        with pinned_threads(1), local_seed(self._seed):
            if self.architecture == "sliced":
                self._fit_sliced(settings, rows, columns, views)
            else:
                self._fit_by_gradient(settings, rows, columns, views, goes_on)
        # Training's float32 is no reason for rounded class shares.
        self.network_.log_prior = torch.from_numpy(np.log(self.class_prior_)).to(
            self.network_.log_prior.device
        )
        self.class_means_ = self.network_.means.detach().double().cpu().numpy()
        self._warn_of_conditions()
        return self

    def _check_combination(self):
        if self.architecture == "sliced" and self.objective != "mle":
            raise ValueError(
                f"architecture='sliced' is fitted without a loss and takes objective='mle' alone, "
                f"got {self.objective!r}. Use 'square' or 'coupling' for the other objectives."
            )
        if self.architecture == "sliced" and self.warm_start:
            raise ValueError(
                "architecture='sliced' has no epochs to go on with; set warm_start=False."
            )
        if self.architecture == "coupling" and self.objective in ("paper", "kl"):
            raise ValueError(
                f"objective={self.objective!r} has no log-determinant and belongs to "
                "architecture='square'; use 'mle' or 'ib' with 'coupling'."
            )
        if self.n_blocks == 0 and self.architecture != "sliced":
            raise ValueError(
                f"architecture={self.architecture!r} needs n_blocks of at least 1, got 0."
            )

    def _is_likelihood(self):
        return self.objective in ("mle", "ib")

    def _settings(self):
        """Every "auto" resolved."""
        likelihood, is_image = self._is_likelihood(), self.image_shape_ is not None
        noise = self.noise
        if noise == "auto":
            noise = (_IMAGE_NOISE[self.architecture] if is_image else 0.05) if likelihood else 0.0
        dequantize = likelihood if self.dequantize == "auto" else self.dequantize
        if self.dequantize is True and self.quantization_step_ is None:
            raise ValueError(
                "dequantize=True, but the values of X lie on no common grid; set dequantize='auto' "
                "and a positive noise."
            )
        slope = self.negative_slope
        if slope == "auto":
            slope = 0.5 if likelihood else 0.01
        return FlowSettings(
            architecture=self.architecture,
            objective=self.objective,
            kind_of_means=self.class_means,
            n_blocks=_BLOCKS[self.architecture] if self.n_blocks == "auto" else self.n_blocks,
            activation=self.activation,
            negative_slope=slope,
            bounded=likelihood if self.linear == "auto" else self.linear == "bounded",
            max_condition=self.max_condition,
            n_components=self.n_components,
            n_mixture=self.n_mixture,
            hidden_size=self.hidden_size,
            noise=noise,
            step=self.quantization_step_ if dequantize else None,
            logit=self.logit,
            cross_entropy_weight=self.cross_entropy_weight,
            image_shape=self.image_shape_,
            n_classes=len(self.classes_),
            seed=self._seed,
        )

    def _views(self):
        if not isinstance(self.augmentation, str):
            views = tuple(self.augmentation or ())
            if views and self.image_shape_ is None:
                raise ValueError(
                    "augmentation needs images; set image_shape=(H, W) or (C, H, W), or "
                    "augmentation=None."
                )
            return views
        shape = self.image_shape_
        is_turned = shape is not None and min(shape[1:]) >= _LEAST_TURNED
        return _VIEWS if is_turned and self._is_likelihood() else ()

    def _resolved_clip(self):
        if self.clip is None:
            return (-np.inf, np.inf)
        if isinstance(self.clip, str):
            return self.value_range_
        if len(self.clip) != 2 or not self.clip[0] <= self.clip[1]:
            raise ValueError(f"clip must be (low, high) with low <= high, got {self.clip!r}.")
        return self.clip

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
        n_epochs = self.max_epochs
        if n_epochs == "auto":
            n_epochs = int(np.clip(40_000 // len(rows), 5, 40))
        network = None if goes_on else build_network(settings, rows, columns)
        self._net, network = train(
            self._net if goes_on else None,
            network,
            rows.reshape(len(rows), *(self.image_shape_ or rows.shape[1:])),
            columns,
            views=views,
            seed=self._seed,
            learning_rate=self.learning_rate,
            batch_size=self.training_batch_size,
            n_epochs=n_epochs,
            cooldown=self.cooldown,
            patience=self.patience,
            device=self.device_,
            verbose=self.verbose,
        )
        self.network_ = network.for_use().to(self._device_of_use())
        names = ("train_loss", "valid_loss")
        history = self._net.history
        self.history_ = {
            name: np.array([epoch[name] for epoch in history])
            for name in names
            if len(history) and name in history[0]
        }
        if not self.warm_start:
            del self._net

    def _device_of_use(self):
        # Inverses are worth float64, which mps lacks.
        return torch.device("cpu") if self.device_.type == "mps" else self.device_

    def _warn_of_conditions(self):
        for index, number in enumerate(self.network_.flow.condition_numbers()):
            if self.architecture == "square" and not number <= 1.001 * self.max_condition:
                warnings.warn(
                    f"the linear layer of block {index} has condition number {number:.3g}, above "
                    f"max_condition={self.max_condition:g}: its inverse amplifies errors by as "
                    "much. Train with objective='mle', or set linear='bounded'.",
                    RuntimeWarning,
                    stacklevel=3,
                )

    # What it says of images

    def _standard_rows(self, X):
        check_is_fitted(self)
        rows = validate_data(self, flatten_images(X)[0], dtype=np.float64, reset=False)
        return torch.from_numpy(np.array(rows)).to(self._device_of_use())

    def _log_joint(self, X, with_log_det=True):
        """log p(x, k) of every row and class: (n, n_classes)."""
        parts = []
        with torch.no_grad(), pinned_threads(1):
            for x in self._standard_rows(X).split(_ROWS_AT_ONCE):
                v, log_det = self.network_.preprocessing(x)
                densities = self.network_.log_likelihoods(v, with_log_det)
                parts.append(densities + log_det[:, None] + self.network_.log_prior)
        return torch.cat(parts).cpu().numpy()

    def predict_log_proba(self, X):
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

    def predict_proba(self, X):
        """Class probabilities, by Bayes' rule on the exact likelihoods.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
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

    def score_samples(self, X):
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

    def bits_per_dim(self, X):
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
        places = (x - self._grid_origin()) / step
        if (places - places.round()).abs().max() > 0.02:
            raise ValueError(
                f"the values of X lie off the grid of step {step:g} that fit saw; bits_per_dim "
                "needs the units and the quantisation of the training data."
            )
        uniform = torch.from_numpy(np.random.default_rng(self._seed).random(x.shape))
        spread = x + (uniform - 0.5) * step
        log_density = np.logaddexp.reduce(self._log_joint(spread.numpy()), axis=1)
        return -(log_density / x.shape[1] + np.log(step)) / np.log(2)

    def _grid_origin(self):
        preprocessing = self.network_.preprocessing
        margin = 0.0 if preprocessing.step is None else preprocessing.step / 2
        return float(preprocessing.low.min()) + margin

    # Between images and latents

    def transform(self, X):
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
        return self._encoded(x, columns).cpu().numpy()

    def _as_in_training(self, x):
        """Rows spread over their cells, with the training noise: what the density is one of."""
        preprocessing = self.network_.preprocessing
        rng = np.random.default_rng(self._seed)
        uniform = torch.from_numpy(rng.random(x.shape)).to(x.device)
        v, _ = preprocessing(preprocessing.dequantize(x, uniform))
        normal = torch.from_numpy(rng.normal(size=x.shape)).to(x.device)
        return preprocessing.inverse(v + self.network_.noise * normal)

    def _encoded(self, x, columns):
        """Latents with the means of the classes that `columns` names."""
        z = torch.empty_like(x)
        flow, conditional = self.network_.flow, self.network_.flow.conditional
        with torch.no_grad(), pinned_threads(1):
            for column in np.unique(columns):
                rows = torch.from_numpy(np.flatnonzero(columns == column)).to(x.device)
                for some in rows.split(_ROWS_AT_ONCE):
                    v, _ = self.network_.preprocessing(x[some])
                    z[some], _ = flow(v, int(column), with_log_det=False)
                if conditional:
                    z[rows] += self.network_.means[int(column)]
        return z

    def inverse_transform(self, Z):
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
        z = np.asarray(Z, dtype=np.float64)
        if z.ndim != 2 or z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"Z has shape {z.shape}, expected (n, {self.n_features_in_}): an invertible map "
                "keeps the number of features."
            )
        if not np.isfinite(z).all():
            raise ValueError("Z contains NaN or infinity.")
        z = torch.from_numpy(z).to(self._device_of_use())
        columns = np.zeros(len(z), int)
        if self.network_.flow.conditional:
            columns = torch.cdist(z, self.network_.means.double()).argmin(1).cpu().numpy()
        return self._decoded(z, columns).cpu().numpy()

    def _decoded(self, z, columns):
        x = torch.empty_like(z)
        with torch.no_grad(), pinned_threads(1):
            for column in np.unique(columns):
                rows = torch.from_numpy(np.flatnonzero(columns == column)).to(z.device)
                shift = self.network_.means[int(column)] if self.network_.flow.conditional else 0.0
                for some in rows.split(_ROWS_AT_ONCE):
                    v = self.network_.flow.inverse(z[some] - shift, int(column))
                    x[some] = self.network_.preprocessing.inverse(v)
        return x

    def reconstruct(self, X):
        """Images after a way to the latent space and back.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        X : ndarray, as `generate` lays images out, float64
            X itself but for rounding, if the network is well conditioned.
        """
        images = self.inverse_transform(self.transform(X))
        return restore_layout(images, self._trailing_shape)

    def interpolate(self, start, end, n_images=5):
        """A series of images between two, straight in the latent space.

        Where every class has its own map, the noise moves straight from one latent to the other,
        and each image is the mean of the images that the two classes' maps make of it, weighted by
        the place in the series.

        Parameters
        ----------
        start, end : array-like of shape (n_features,), or one image as `fit` takes them
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
        z = self._encoded(x, columns)
        share = torch.linspace(0, 1, n_images, dtype=z.dtype, device=z.device)[:, None]
        if not self.network_.flow.conditional:
            images = self._decoded(z[0] + share * (z[1] - z[0]), np.zeros(n_images, int))
        else:
            means = self.network_.means[torch.from_numpy(columns)]
            noise = (z[0] - means[0]) * (1 - share) + (z[1] - means[1]) * share
            first, last = (
                self._decoded(noise + means[k], np.full(n_images, columns[k])) for k in (0, 1)
            )
            images = (1 - share) * first + share * last
        return restore_layout(images.cpu().numpy(), self._trailing_shape)

    def diagnose(self, X, y=None):
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
        weights = weights.to(self._device_of_use())
        noise = RowNoise(seeds).normal(self.n_features_in_).double().to(weights.device)
        noise = noise * self.temperature
        images = torch.zeros_like(noise)
        with pinned_threads(1):
            if self.network_.flow.conditional:
                # A mixture is the mean of what its classes make of the same noise.
                for column in range(weights.shape[1]):
                    asked = torch.nonzero(weights[:, column])[:, 0]
                    made = self._batches(noise[asked], None, column, batch_size, None)
                    images[asked] += weights[asked, column, None] * made
                if callback:
                    callback(len(images))
            else:
                centres = weights @ self.network_.means
                images = self._batches(noise, centres, None, batch_size, callback)
        images = images.clamp(*self._resolved_clip())
        n_rows = len(seeds)
        return Result(
            images=images.float().cpu().numpy(),
            status=np.full(n_rows, "completed"),
            n_steps=np.ones(n_rows, dtype=int),
            n_sample_steps=-(-n_rows // batch_size) * batch_size,
        )

    def _batches(self, noise, centres, column, batch_size, callback):
        """Images of noise (n, n_features), in batches padded to one shape."""
        images = torch.empty_like(noise)
        for first in range(0, len(noise), batch_size):
            some = slice(first, min(first + batch_size, len(noise)))
            padding = (0, 0, 0, batch_size - (some.stop - first))
            z = torch.nn.functional.pad(noise[some], padding)
            centre = 0.0
            if centres is not None:
                centre = torch.nn.functional.pad(centres[some], padding)
            with torch.no_grad():
                v = self.network_.flow.inverse(z + centre, column)
            if self.denoise and self.network_.noise:
                v = self._denoised(v, centre, column)
            with torch.no_grad():
                made = self.network_.preprocessing.inverse(v)
            images[some] = made[: some.stop - first]
            if callback:
                callback(some.stop - first)
        return images

    def _denoised(self, v, centre, column):
        """Tweedie's formula: the mean of the clean rows that v may be noisy copies of."""
        v = v.detach().requires_grad_()
        log_density = self.network_.log_density_around(v, centre, column)
        (gradient,) = torch.autograd.grad(log_density.sum(), v)
        return (v + self.network_.noise**2 * gradient).detach()

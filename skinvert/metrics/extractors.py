"""Somebody neutral: a judge that never saw what was inverted, and features for the distances.

Any fitted scikit-learn transformer, a PCA for one, serves as an extractor just as it is.
"""

import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from torch import nn
from tqdm.auto import tqdm

from skinvert.inversion.features import check_layers, record_activations
from skinvert.layout import flatten_images, resolve_image_shape, validate_rows
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.prepare import default_network
from skinvert.models.training import local_seed, pinned_threads, resolve_device

__all__ = ["InceptionFeatures", "ModuleFeatures", "NeutralJudge"]

_BATCH = 256
_LEAST_SCALE = 0.1
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _floored_spread(features):
    """Standard deviation of each feature, none below a tenth of their mean.

    A feature that real rows hardly move would otherwise rule every distance.
    """
    spread = features.std(0, dtype=np.float64)
    floored = np.maximum(spread, _LEAST_SCALE * spread.mean())
    return np.where(floored > 0, floored, 1.0).astype(np.float32)


class NeutralJudge(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """A small classifier for judging generators; its features serve the distances.

    Fit it on rows that neither the inverted classifier nor the generator ever saw. It is the
    network that the generators train by default, convolutions for images and dense layers for
    other rows. `transform` gives its last hidden layer, each feature divided by its standard
    deviation over the rows of `fit`, or by a tenth of the mean one where that is more.

    Parameters
    ----------
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X. Inferred for 3-D and 4-D X and for one-channel
        squares.
    augmentation : {"auto"} or None, default="auto"
        "auto" shows images under small random rotations, shifts and scalings while it learns.
    random_state : int, RandomState instance or None, default=0
        Seed of the weights, the order of rows and the views. An int makes `fit` repeatable.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu. Read by every call.
    verbose : int, default=0
        1 draws a progress bar where training takes longer than a second.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    network_ : torch.nn.Sequential
        The trained network, on the CPU.
    feature_scale_ : ndarray of shape (n_hidden,)
        What `transform` divides by.
    image_shape_ : tuple (C, H, W) or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    Rows are answered in padded batches of one size, so that on a CPU an answer has the same bits
    whatever its neighbours.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.metrics import NeutralJudge
    >>> X, y = load_digits(return_X_y=True)
    >>> judge = NeutralJudge().fit(X[:300], y[:300])
    >>> judge.score(X[300:], y[300:]) > 0.85
    True
    >>> judge.transform(X[300:]).shape
    (1497, 128)
    """

    _parameter_constraints = {  # noqa: RUF012 (scikit-learn's own idiom)
        "image_shape": [tuple, list, None],
        "augmentation": [StrOptions({"auto"}), None],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        image_shape: tuple | None = None,
        augmentation: str | None = "auto",
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.image_shape = image_shape
        self.augmentation = augmentation
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on real rows.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
        y : array-like of shape (n,)
            At least two classes.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For bad data or one class.
        """
        self._validate_params()
        rows, trailing_shape = flatten_images(X)
        rows, y = validate_rows(self, rows, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, columns = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"a judge needs at least 2 classes, got 1 class: {self.classes_.tolist()}; pass "
                "rows of every class that it shall judge."
            )
        self.image_shape_ = resolve_image_shape(
            self.image_shape, trailing_shape, self.n_features_in_
        )
        device = resolve_device(self.device)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        net = default_network(rows, self.image_shape_, len(self.classes_), seed=seed, device=device)
        net.callbacks = [*net.callbacks, ("bar", _EpochBar(self.verbose))]
        if self.augmentation is None:
            net.set_params(transforms=())
        with local_seed(seed, device), pinned_threads(1):
            net.fit(self._as_inputs(rows, net.module), columns)
        self.network_ = net.module_.cpu().eval().requires_grad_(False)
        self._n_features_out = self.network_[-1].in_features
        self.feature_scale_ = _floored_spread(self._hidden(rows))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels of rows or images.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        y : ndarray of shape (n,)
        """
        columns = self._logits(X).argmax(1)
        return self.classes_[columns]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Class probabilities of rows or images.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            Columns as ``classes_``.
        """
        logits = torch.from_numpy(self._logits(X).astype(np.float64))
        return logits.softmax(1).numpy()

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Standardised features of rows or images.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        features : ndarray of shape (n, 128), float32
        """
        check_is_fitted(self)
        return self._hidden(self._checked(X)) / self.feature_scale_

    def _logits(self, X):
        check_is_fitted(self)
        return self._answer(self.network_, self._checked(X))

    def _checked(self, X):
        return validate_rows(self, X, dtype=np.float32, order="C", reset=False)

    def _hidden(self, rows):
        return self._answer(nn.Sequential(*list(self.network_)[:-1]), rows)

    def _answer(self, network, rows):
        inputs = self._as_inputs(rows, type(self.network_))
        # Worker processes have another number of threads, and that gives other bits.
        with pinned_threads(1):
            return _in_batches(network, inputs, resolve_device(self.device), _BATCH)

    def _as_inputs(self, rows, architecture):
        is_image = architecture is ConvClassifier
        return rows.reshape(len(rows), *self.image_shape_) if is_image else rows


class _EpochBar(Callback):
    """A progress bar over epochs, which shows once a second has passed."""

    def __init__(self, verbose):
        self.verbose = verbose

    def on_train_begin(self, net, **_):
        self.bar_ = tqdm(total=net.max_epochs, unit="epoch", disable=not self.verbose, delay=1)

    def on_epoch_end(self, net, **_):
        self.bar_.update()

    def on_train_end(self, net, **_):
        self.bar_.close()


def _in_batches(network, inputs, device, batch_size):
    """Answers (n, d) to inputs, computed in padded batches of one size."""
    if device.type != "cpu":
        # What is fitted stays on the CPU, so that a machine without this device can open it.
        network = copy.deepcopy(network).to(device)
    answers = []
    with torch.no_grad():
        for first in range(0, len(inputs), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(inputs[first : first + batch_size]))
            padded = torch.zeros(batch_size, *batch.shape[1:])
            padded[: len(batch)] = batch
            answers.append(network(padded.to(device))[: len(batch)].cpu().numpy())
    return np.concatenate(answers)


class ModuleFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Features of a torch module: the output of a named layer, averaged over positions.

    `fit` learns from real rows how the features are scaled and their principal axes; the module is
    copied, never trained or changed. An output (n, C, H, W) or (n, tokens, d) is averaged over
    positions.

    Parameters
    ----------
    module : torch.nn.Module
        Trained, and not the classifier that is inverted.
    layer : str
        Name as in ``module.named_modules()``.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Shape of the images in the rows of X, where the module takes images. Without it 2-D X goes
        in as rows, and 3-D and 4-D X as images (n, C, H, W).
    n_components : int or None, default=128
        More features than this are projected on so many principal axes of the rows of `fit`, or on
        fewer where these are fewer rows: the bias of Fréchet distances grows with the square of
        the number of features. None keeps all.
    standardize : bool, default=True
        Divide each feature by its standard deviation over the rows of `fit` (or a tenth of the
        mean one where that is more), before the projection.
    batch_size : int, default=64
        Rows that go through the module together; batches are padded to this size.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.

    Attributes
    ----------
    network_ : torch.nn.Module
        A copy of the module, in eval mode.
    feature_scale_ : ndarray of shape (n_module_features,)
    pca_ : PCA or None
    image_shape_ : tuple (C, H, W) or None
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.metrics import ModuleFeatures
    >>> X, _ = load_digits(return_X_y=True)
    >>> net = torch.nn.Sequential(torch.nn.Linear(64, 300), torch.nn.ReLU())
    >>> ModuleFeatures(net, "1").fit(X).transform(X[:5]).shape
    (5, 128)
    """

    _parameter_constraints = {  # noqa: RUF012
        "module": [nn.Module],
        "layer": [str],
        "image_shape": [tuple, list, None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "standardize": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        module: Any,
        layer: str,
        *,
        image_shape: tuple | None = None,
        n_components: int | None = 128,
        standardize: bool = True,
        batch_size: int = 64,
        device: str = "auto",
    ) -> None:
        self.module = module
        self.layer = layer
        self.image_shape = image_shape
        self.n_components = n_components
        self.standardize = standardize
        self.batch_size = batch_size
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn the scale and the principal axes of the features of real rows.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
            At least two rows.
        y : None, default=None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For bad data, an unknown layer, and a module that does not take X as it is laid out.
        """
        self._validate_params()
        rows, trailing_shape = flatten_images(X)
        rows = validate_rows(self, rows, dtype=np.float32, order="C", ensure_min_samples=2)
        self.image_shape_ = None
        if self.image_shape is not None or trailing_shape is not None:
            self.image_shape_ = resolve_image_shape(
                self.image_shape, trailing_shape, self.n_features_in_
            )
        self.network_, self._layer = self._make_network()
        check_layers(self.network_, [self._layer])
        features = self._layer_features(rows)
        n_kept = features.shape[1]
        if self.n_components is not None and n_kept > self.n_components:
            n_kept = min(self.n_components, len(rows))
        self.feature_scale_ = (
            _floored_spread(features)
            if self.standardize
            else np.ones(features.shape[1], dtype=np.float32)
        )
        self.pca_ = None
        if n_kept < features.shape[1]:
            self.pca_ = PCA(n_kept, svd_solver="full").fit(features / self.feature_scale_)
        self._n_features_out = n_kept
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Features of rows or images, scaled and projected.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them

        Returns
        -------
        features : ndarray of shape (n, n_components or fewer), float32
        """
        check_is_fitted(self)
        rows = validate_rows(self, X, dtype=np.float32, order="C", reset=False)
        features = self._layer_features(rows) / self.feature_scale_
        return features if self.pca_ is None else self.pca_.transform(features)

    def _make_network(self):
        """A private copy, and the layer's name in it."""
        return copy.deepcopy(self.module).eval().requires_grad_(False), self.layer

    def _layer_features(self, rows):
        shape = self.image_shape_
        inputs = rows if shape is None else rows.reshape(len(rows), *shape)
        reader = _LayerReader(self.network_, self._layer)
        try:
            return _in_batches(reader, inputs, resolve_device(self.device), self.batch_size)
        except (RuntimeError, ValueError, IndexError) as error:
            laid_out = ("n", *inputs.shape[1:])
            raise ValueError(
                f"the module fails on inputs of shape {laid_out}: {str(error).splitlines()[0]} "
                "Where it takes images, name their shape: image_shape=(C, H, W)."
            ) from error


class _LayerReader(nn.Module):
    """What a layer says of inputs, one row of numbers each."""

    def __init__(self, network, layer):
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, inputs):
        with record_activations(self.network, [self.layer]) as activations:
            self.network(inputs)
            output = activations[self.layer]
        if output.ndim == 3:
            return output.mean(1)
        return output.flatten(2).mean(2) if output.ndim > 3 else output.reshape(len(inputs), -1)


class InceptionFeatures(ModuleFeatures):
    """Features of torchvision's Inception-v3, 2,048 before the projection.

    Images are resized to 299 pixels and grey ones repeated on three channels. Distances in these
    features are no published FID, which stands on another copy of the weights, other resizing and
    all 2,048 features.

    Parameters
    ----------
    weights : str or None, default="DEFAULT"
        As of `torchvision.models.inception_v3`; "DEFAULT" is downloaded by torchvision where it is
        not in its cache yet. None draws random weights, from a fixed seed.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Inferred for 3-D and 4-D X and for one-channel squares. One or three channels.
    value_range : tuple (low, high), default=(0.0, 1.0)
        Values of black and of full intensity in X.
    n_components : int or None, default=128
        As of `ModuleFeatures`, like the three that follow.
    standardize : bool, default=True
        Divide each feature by its standard deviation, before the projection.
    batch_size : int, default=16
        Images that go through the network together.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.

    Attributes
    ----------
    network_, feature_scale_, pca_, image_shape_, n_features_in_, feature_names_in_
        As of `ModuleFeatures`.

    Notes
    -----
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016; Heusel
    et al., NeurIPS 2017, for their use in a Fréchet distance.

    Examples
    --------
    >>> from skinvert.metrics import InceptionFeatures
    >>> InceptionFeatures(n_components=64).n_components
    64
    """

    _parameter_constraints = {  # noqa: RUF012
        "weights": [str, None],
        "image_shape": [tuple, list, None],
        "value_range": [tuple, list],
        "n_components": ModuleFeatures._parameter_constraints["n_components"],
        "standardize": ["boolean"],
        "batch_size": ModuleFeatures._parameter_constraints["batch_size"],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        weights: str | None = "DEFAULT",
        *,
        image_shape: tuple | None = None,
        value_range: tuple = (0.0, 1.0),
        n_components: int | None = 128,
        standardize: bool = True,
        batch_size: int = 16,
        device: str = "auto",
    ) -> None:
        self.weights = weights
        self.image_shape = image_shape
        self.value_range = value_range
        self.n_components = n_components
        self.standardize = standardize
        self.batch_size = batch_size
        self.device = device

    def _make_network(self):
        self.image_shape_ = resolve_image_shape(
            self.image_shape, self.image_shape_, self.n_features_in_
        )
        if self.image_shape_ is None or self.image_shape_[0] not in (1, 3):
            raise ValueError(
                "InceptionFeatures needs images of one or three channels, got "
                f"{self.n_features_in_} features a row and image_shape={self.image_shape_}; "
                "name the shape: image_shape=(C, H, W)."
            )
        low, high = self.value_range
        if not (isinstance(low, Real) and isinstance(high, Real) and low < high):
            raise ValueError(f"value_range must be (low, high) with low < high, got {low, high}.")
        return _InceptionInput(_inception(self.weights), low, high), "network.avgpool"


def _inception(weights):
    # Imported here, for it takes a second and few ask for it.
    from torchvision.models import inception_v3

    try:
        with local_seed(0):
            network = inception_v3(weights=weights, init_weights=weights is None)
    except OSError as error:
        raise OSError(
            f"the weights {weights!r} of Inception-v3 are neither in torch's cache nor to be had "
            f"from the network ({error}). Put inception_v3_google-0cc3c7bd.pth into "
            "torch.hub.get_dir() + '/checkpoints', or use ModuleFeatures or a fitted PCA."
        ) from None
    return network.eval().requires_grad_(False)


class _InceptionInput(nn.Module):
    """Images (n, 1 or 3, H, W) in any range, as Inception-v3 takes them."""

    def __init__(self, network, low, high):
        super().__init__()
        self.network, self.low, self.high = network, low, high
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).reshape(-1, 1, 1))

    def forward(self, images):
        images = (images - self.low) / (self.high - self.low)
        images = nn.functional.interpolate(
            images.expand(-1, 3, -1, -1), size=(299, 299), mode="bilinear", antialias=True
        )
        return self.network((images - self.mean) / self.std)

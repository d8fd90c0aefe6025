"""What every generator shares: validation, labels, seeds, batches, shards, and the public calls."""

import copy
import functools
import inspect
import secrets
import warnings
from collections.abc import Callable
from importlib import metadata
from numbers import Integral
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skinvert.inversion.randomness import row_seeds
from skinvert.inversion.targets import Target
from skinvert.layout import (
    check_class_weights,
    columns_of,
    flatten_images,
    resolve_image_shape,
    validate_rows,
)
from skinvert.metrics.fidelity import classification_accuracy_score
from skinvert.models.acceleration import pick_acceleration
from skinvert.models.fit_tasks import CallbackSupportMixin, fit_with_callbacks
from skinvert.models.prepare import prepare_classifier
from skinvert.models.resuming import check_checkpoint
from skinvert.models.training import resolve_device
from skinvert.run import Run

__all__ = ["GeneratorMixin", "whole_or_nothing"]

_BATCHES_PER_SHARD = 8

Arguments = ParamSpec("Arguments")
Estimator = TypeVar("Estimator")


def documentation_url() -> str | None:
    """The site that the installed package's metadata names, or None where it names none."""
    try:
        links = metadata.metadata("skinvert").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    named = dict(link.split(", ", 1) for link in links)
    return named.get("Documentation", "").rstrip("/") or None


def whole_or_nothing(
    fit: Callable[Concatenate[Estimator, Arguments], Estimator],
) -> Callable[Concatenate[Estimator, Arguments], Estimator]:
    """Decorate a `fit` so that one that raises leaves the estimator as it was.

    After Ctrl-C it says, besides, that it was interrupted, whatever it is asked: half a fit shall
    not be taken for a whole one, nor an earlier one for the last.

    Parameters
    ----------
    fit : callable ``(self, ...) -> self``

    Returns
    -------
    fit : callable
    """

    heard = fit_with_callbacks(fit)

    @functools.wraps(fit)
    def whole(self: Any, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        before = dict(vars(self))
        vars(self).pop("_interrupted", None)
        try:
            check_checkpoint(getattr(self, "checkpoint", None), self.random_state)
            return heard(self, *args, **kwargs)
        except BaseException as error:
            vars(self).clear()
            vars(self).update(before)
            if isinstance(error, KeyboardInterrupt):
                self._interrupted = True
            raise

    return whole


class GeneratorMixin(CallbackSupportMixin):
    """The calls that all generators answer: ``generate``, ``sample`` and ``score``.

    A subclass has the parameters ``image_shape``, ``batch_size``, ``random_state`` and ``verbose``,
    sets ``classes_``, ``class_prior_`` and ``device_`` in ``fit``, after `_check_fit_data`, and
    defines ``_generate_rows(target, seeds, rows, batch_size, callback) -> Result`` (of
    `skinvert.inversion.loop`) for one shard: ``rows`` is its slice of the request.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.base import BaseEstimator
    >>> from skinvert.base import GeneratorMixin
    >>> from skinvert.inversion.loop import Result
    >>> class MeanGenerator(GeneratorMixin, BaseEstimator):
    ...     _parameter_constraints = {}
    ...
    ...     def __init__(self, image_shape=None, batch_size=64, random_state=0, verbose=0):
    ...         self.image_shape, self.batch_size = image_shape, batch_size
    ...         self.random_state, self.verbose = random_state, verbose
    ...
    ...     def fit(self, X, y):
    ...         rows, y = self._check_fit_data(X, y)
    ...         self.classes_, self.device_ = np.unique(y), torch.device("cpu")
    ...         self._learn_class_prior(y)
    ...         self.means_ = np.stack([rows[y == label].mean(0) for label in self.classes_])
    ...         return self
    ...
    ...     def _generate_rows(self, target, seeds, rows, batch_size, callback):
    ...         return Result(
    ...             images=target.matrix(len(self.classes_)) @ self.means_,
    ...             status=np.full(len(seeds), "completed"),
    ...             n_steps=np.zeros(len(seeds), dtype=int))
    >>> X, y = np.array([[0.0, 0.0], [2.0, 2.0], [5.0, 7.0]]), ["a", "a", "b"]
    >>> MeanGenerator().fit(X, y).generate(["b", "a"]).tolist()
    [[5.0, 7.0], [1.0, 1.0]]
    """

    _doc_link_module = "skinvert"

    @property
    def _doc_link_template(self):
        """Where scikit-learn's HTML representation finds the page of an estimator."""
        site = documentation_url()
        return f"{site}/api/generated/skinvert.{{estimator_name}}.html" if site else ""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def __sklearn_is_fitted__(self):
        if getattr(self, "_interrupted", False):
            checkpoint = getattr(self, "checkpoint", None)
            where = "starts afresh" if checkpoint is None else f"goes on from {checkpoint}"
            raise NotFittedError(
                f"the last fit of this {type(self).__name__} was interrupted. Call fit again: it "
                f"{where}."
            )
        return any(name.endswith("_") and not name.startswith("__") for name in vars(self))

    def __getstate__(self):
        # Networks travel on the CPU, so that a machine without this device can open them.
        state = super().__getstate__()
        device = state.get("device_")
        if device is None or device.type == "cpu":
            return state
        copied = {}  # one memory for all, so that what networks share stays shared
        return {
            name: copy.deepcopy(value, copied).cpu()
            if isinstance(value, torch.nn.Module)
            else value
            for name, value in state.items()
        }

    def __setstate__(self, state):
        # Parameters that came after the release that wrote the state are at their defaults.
        later = inspect.signature(type(self)).parameters.values()
        defaults = {new.name: new.default for new in later if new.default is not new.empty}
        super().__setstate__(defaults | state)
        if getattr(self, "device_", None) is None or self.device_.type == "cpu":
            return
        try:
            self.device_ = resolve_device(self.device_)
        except ValueError:
            self.device_ = torch.device("cpu")
        for name, value in vars(self).items():
            if isinstance(value, torch.nn.Module) and name != "classifier":
                value.to(self.device_)

    def _check_fit_data(self, X, y):
        """Rows (n, n_features) as float32 and labels; learns the layout."""
        rows, trailing_shape = flatten_images(X)
        rows, y = validate_rows(self, rows, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.image_shape_ = resolve_image_shape(
            self.image_shape, trailing_shape, self.n_features_in_
        )
        self._trailing_shape = trailing_shape
        return rows, y

    def _take_classifier(self, rows, y, seed, **training):
        """Make the classifier a frozen network, training it on these rows where it is not one.

        Sets ``classifier_``, ``classes_``, ``history_`` and, for a student,
        ``surrogate_fidelity_``; `training` goes to `prepare_classifier`.
        """
        self._warn_of_range(rows)
        prepared = prepare_classifier(
            self.classifier,
            rows,
            y,
            image_shape=self.image_shape_,
            trailing_shape=self._trailing_shape,
            normalize=self.normalize,
            outputs=self.outputs,
            classes=self.classes,
            device=self.device_,
            seed=seed,
            checkpoint=self.checkpoint,
            **training,
        )
        self.classifier_, self.classes_ = prepared.frozen, prepared.classes
        self.history_ = dict(prepared.history)
        vars(self).pop("surrogate_fidelity_", None)  # of an earlier fit
        if prepared.fidelity is not None:
            self.surrogate_fidelity_ = prepared.fidelity

    def _accelerate(self):
        """Settle in which precision the classifier answers from now on."""
        self.acceleration_ = pick_acceleration(self.classifier_, self.acceleration)
        self.classifier_.acceleration = self.acceleration_

    def _warn_of_range(self, rows):
        """Nothing is rescaled silently, so that bytes fed to a network deserve a word."""
        if not isinstance(self.classifier, torch.nn.Module) or self.normalize is not None:
            return
        # Two passes and no copy: rows may lie on a disk.
        largest = max(float(rows.max()), -float(rows.min()))
        if largest > 20:
            warnings.warn(
                f"values of X reach {largest:g} and go to the network as they are; most networks "
                "expect [0, 1] or standardised values. Scale X, or set normalize=(mean, std).",
                UserWarning,
                stacklevel=5,
            )

    def _learn_class_prior(self, y):
        columns = columns_of(y, self.classes_)
        self.class_prior_ = np.bincount(columns, minlength=len(self.classes_)) / len(columns)
        return columns

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
        """Generate one image for each requested row, in order.

        Exactly one of `y`, `weights` and `target` says what is asked for.

        Parameters
        ----------
        y : array-like of shape (n,), default=None
            Labels, all among ``classes_``.
        weights : array-like or DataFrame of shape (n, n_classes), default=None
            Non-negative class weights, columns as ``classes_`` (a DataFrame's by name); rows are
            normalised.
        target : Target of length n, default=None
            Anything else in the network: channels, neurons.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's, so that an int there gives the same images at every
            call. Rows that ask for the same thing differ; rows that ask for different things share
            their noise, occurrence by occurrence.
        n_jobs : int or None, default=None
            Workers that share the shards, through joblib; the images have the same bits.
        out : str or Path or None, default=None
            A ``.npy`` file to write. Shards are stored as they are finished, and a second call
            after an interruption goes on where the first ended.
        return_info : bool, default=False
            Whether to return `info` beside the images.

        Returns
        -------
        X : ndarray of shape (n, n_features), or (n, H, W) or (n, C, H, W) as `fit` saw, float32
            In the units and range of the data. A read-only memory map where `out` is given.
        info : Bunch
            Only with ``return_info=True``. Per row: ``status``, ``n_steps``, ``seed``,
            ``batch_size``, ``terms`` (final weighted values), ``history`` (values per step), and
            ``n_sample_steps`` of the whole call, padded and idle slots included. Where rows are
            optimised, ``n_rollbacks``: how often a row met a term that was not finite, went back
            and on with steps a tenth as long. The fourth time its status is "diverged", and its
            image the last good one.

        Raises
        ------
        ValueError
            For unknown labels, bad weights, and parameters out of range.
        DivergenceError
            If a term is not finite at the start of any row; what was finished is in its attribute
            ``images``.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        self._validate_params()
        if n_jobs is not None and (not isinstance(n_jobs, Integral) or n_jobs == 0):
            raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}.")
        target = self._as_target(y, weights, target)
        root = self._root_seed(self.random_state if random_state is None else random_state)
        seeds = row_seeds(target.requests(), root)
        batch_size = self._resolved_batch_size()
        length = _BATCHES_PER_SHARD * batch_size
        shards = [
            slice(first, min(first + length, len(target)))
            for first in range(0, len(target), length)
        ]
        run = Run(self, target, seeds, batch_size, shards)
        if out is not None:
            return run.to_file(out, n_jobs, return_info)
        return run.to_memory(n_jobs, return_info)

    def sample(
        self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Generate images of labels drawn from ``class_prior_``.

        Parameters
        ----------
        n_samples : int, default=1
            How many labels are drawn.
        random_state : int, RandomState instance or None, default=None
            None takes the constructor's.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or as `generate` lays images out
        y : ndarray of shape (n_samples,)

        Raises
        ------
        ValueError
            If `n_samples` is no positive integer, and as `generate`.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
            raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
        root = self._root_seed(self.random_state if random_state is None else random_state)
        rng = np.random.default_rng(root)
        y = self.classes_[rng.choice(len(self.classes_), size=n_samples, p=self.class_prior_)]
        return self.generate(y, random_state=root), y

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Accuracy on real rows of a judge trained on generated ones.

        A cheap judge (logistic regression) is trained on ``(generate(y), y)`` with the
        constructor's seed, at every call, and tested on ``(X, y)``. The classifier that is
        inverted has no say: it would call adversarial noise perfect.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as `fit` takes them
        y : array-like of shape (n,)

        Returns
        -------
        accuracy : float
            In [0, 1]; higher is better.
        """
        check_is_fitted(self)
        rows, y = validate_rows(self, X, y, dtype=np.float32, reset=False)
        root = self._root_seed(self.random_state)
        generated = self.generate(y, random_state=root).reshape(len(rows), -1)
        return classification_accuracy_score(generated, y, rows, y, random_state=root)

    def _as_target(self, y, weights, target):
        asked = [
            name
            for name, value in (("y", y), ("weights", weights), ("target", target))
            if value is not None
        ]
        if len(asked) != 1:
            raise ValueError(
                f"generate needs exactly one of y, weights and target, got {asked or 'none'}."
            )
        if y is not None:
            return Target.of_columns(columns_of(y, self.classes_))
        if weights is not None:
            return Target.of_weights(check_class_weights(weights, self.classes_))
        if not isinstance(target, Target):
            raise TypeError(
                f"target must be a skinvert.Target, got {type(target).__name__}; labels go to y, "
                "class weights to weights."
            )
        return target

    @staticmethod
    def _root_seed(random_state):
        if random_state is None:
            # Fresh entropy: NumPy's global state is the user's, and stays where it is.
            return secrets.randbelow(np.iinfo(np.int32).max)
        try:
            rng = check_random_state(random_state)
        except (ValueError, TypeError):
            raise ValueError(
                "random_state must be an int in [0, 2**32 - 1], a RandomState instance or None, "
                f"got {random_state!r}."
            ) from None
        return int(rng.randint(np.iinfo(np.int32).max))

    def _resolved_batch_size(self):
        if self.batch_size != "auto":
            return self.batch_size
        # Few rows at 28 pixels already fill a CPU, and a request of ten pays for the padding.
        n_values, on_cpu = self.n_features_in_, self.device_.type == "cpu"
        budget, most = (2**14, 64) if on_cpu else (2**23, 1024)
        return int(2 ** np.clip(np.floor(np.log2(budget / n_values)), 0, np.log2(most)))

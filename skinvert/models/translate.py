"""Scikit-learn classifiers rewritten, exactly, as differentiable torch modules.

Linear models, Gaussian naive Bayes and multilayer perceptrons are short formulas over fitted
arrays, and so are the scalers and the PCA that stand before them. This module copies those arrays
into buffers and writes the formulas in torch: nothing is trained and nothing is approximated.
"""

from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted
from torch import nn

__all__ = ["NotTranslatable", "translate", "translate_transformer"]


class NotTranslatable(TypeError):
    """An estimator, or a step of a pipeline, that has no exact torch form here.

    Examples
    --------
    >>> from skinvert.models.translate import NotTranslatable
    >>> issubclass(NotTranslatable, TypeError)
    True
    """


def translate(estimator: Any, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Write a fitted scikit-learn classifier as a torch module from rows to class scores.

    Translated are LogisticRegression(CV), LinearSVC, SGDClassifier, RidgeClassifier(CV),
    LinearDiscriminantAnalysis, GaussianNB and MLPClassifier, binary or multiclass, alone or at the
    end of a Pipeline of StandardScaler, MinMaxScaler, Normalizer, PCA and ``"passthrough"``. A
    FrozenEstimator is unwrapped wherever it stands, and a subclass is taken for its parent unless
    it overrides a method of prediction. Columns follow ``estimator.classes_``, and their arg max
    is ``predict``. What else they are is told by the module's attribute ``agrees_with``:

    ``"predict_proba"``
        Logits: their softmax is ``predict_proba``. For SGDClassifier with ``loss="log_loss"`` and
        more than two classes logit k is log σ(d_k), since scikit-learn normalises one-versus-rest
        probabilities; where all of those underflow it answers 1/n_classes, and the logits do not.
    ``"decision_function"``
        The decision value of every class, where there are no probabilities, and for
        ``SGDClassifier(loss="modified_huber")``, whose clipped ones tie and contradict ``predict``.

    With two classes and one decision value d the scores are [-d/2, d/2], not [0, d]: the softmax
    is the same, and each class has a score of its own to raise.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier, or a fitted Pipeline that ends in one.
    dtype : torch.dtype, default=torch.float64
        Of the buffers, and of the rows that the module takes.

    Returns
    -------
    module : torch.nn.Module
        Maps rows of shape (n, n_features) to scores of shape (n, n_classes). It has buffers and no
        parameters, and the attributes ``n_features``, ``n_outputs`` and ``agrees_with``.

    Raises
    ------
    NotTranslatable
        If the estimator, or a step of the pipeline, has no exact translation; the step is named.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert.models.translate import translate
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=1000).fit(X, y)
    >>> probabilities = translate(classifier)(torch.from_numpy(X)).softmax(dim=1)
    >>> bool((abs(probabilities.numpy() - classifier.predict_proba(X)) < 1e-9).all())
    True
    """
    steps = _flatten(estimator)
    if not steps:
        raise NotTranslatable("Got nothing but 'passthrough'; expected a classifier.")
    name, classifier = steps[-1]
    write_head = _look_up(name, classifier, _CLASSIFIERS)
    binarizer = getattr(classifier, "_label_binarizer", None)
    if len(classifier.classes_) < 2 or getattr(binarizer, "y_type_", "").startswith("multilabel"):
        raise NotTranslatable(
            f"Got {_describe(name, classifier)}, fitted on one class or on multilabel targets; "
            f"expected one fitted on a 1-D y of two or more classes."
        )
    clipped = getattr(classifier, "loss", None) == "modified_huber"
    logits = hasattr(classifier, "predict_proba") and not clipped
    module = _ClassScores(_transform(steps[:-1]), write_head(classifier))
    module.n_features = steps[0][1].n_features_in_
    module.n_outputs = len(classifier.classes_)
    module.agrees_with = "predict_proba" if logits else "decision_function"
    return module.to(dtype)


def translate_transformer(transformer: Any, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Write a fitted scaler or PCA, or a Pipeline of them, as a torch module that can be inverted.

    Parameters
    ----------
    transformer : transformer
        A fitted StandardScaler, MinMaxScaler, Normalizer or PCA, or a fitted Pipeline of them.
    dtype : torch.dtype, default=torch.float64
        Of the buffers, and of the rows that the module takes.

    Returns
    -------
    module : torch.nn.Module
        Maps rows of shape (n, n_features) to coordinates of shape (n, n_components), as
        ``transform`` does; its method ``inverse`` leads back, as ``inverse_transform`` does, and
        raises NotTranslatable for a Normalizer, which has no inverse. A whitened component whose
        variance is rounding error (beyond the rank of the data) is noise, here as there.

    Raises
    ------
    NotTranslatable
        If the transformer has no exact translation; the step is named.
    sklearn.exceptions.NotFittedError
        If the transformer is not fitted.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skinvert.models.translate import translate_transformer
    >>> X = load_iris().data
    >>> whiten = translate_transformer(PCA(whiten=True).fit(X))
    >>> rows = torch.from_numpy(X)
    >>> bool(torch.allclose(whiten.inverse(whiten(rows)), rows))
    True
    """
    return _transform(_flatten(transformer)).to(dtype)


def _flatten(estimator, name=None):
    """The steps of an estimator, pipelines and frozen estimators opened, as (name, step) pairs."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return []
    if type(estimator) is not Pipeline:
        return [(name, estimator)]
    prefix = "" if name is None else f"{name}."
    steps = [_flatten(step, f"{prefix}{inner}") for inner, step in estimator.steps]
    return [pair for pairs in steps for pair in pairs]


def _describe(name, step):
    return type(step).__name__ + ("" if name is None else f" (step {name!r} of the pipeline)")


def _look_up(name, step, table):
    """What the table holds for the class of a step, or for a parent that computes the same."""
    methods = {"predict", "predict_proba", "decision_function", "transform", "inverse_transform"}
    for cls in type(step).__mro__:
        if cls in table:
            check_is_fitted(step)
            return table[cls]
        if methods & vars(cls).keys():
            break
    raise NotTranslatable(
        f"Got {_describe(name, step)}, which has no exact torch form here; expected one of "
        f"{', '.join(sorted(known.__name__ for known in table))}, or a subclass that leaves "
        f"their methods alone. Use skinvert.models.student.distill for other classifiers."
    )


def _transform(steps):
    return _RowTransform(*(_look_up(*step, _TRANSFORMERS)(step[1]) for step in steps))


class _ClassScores(nn.Sequential):
    n_features: int
    n_outputs: int
    agrees_with: str

    def forward(self, rows):
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ValueError(
                f"Got an input of shape {tuple(rows.shape)}; expected rows of shape "
                f"(n, {self.n_features}). Flatten images with `.flatten(1)` first."
            )
        return super().forward(rows)


class _RowTransform(nn.Sequential):
    def inverse(self, coordinates):
        for step in reversed(self):
            coordinates = step.inverse(coordinates)
        return coordinates


class _Formula(nn.Module):
    """Fitted arrays as buffers: private copies, in double precision until `.to` narrows them."""

    def __init__(self, **arrays):
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(np.asarray(array, dtype=np.float64)))


class _Rescale(_Formula):
    def forward(self, rows):
        # Subtract before dividing: the other order loses digits where the shift is large.
        return ((rows - self.shift) / self.scale).clamp(self.low, self.high)

    def inverse(self, rows):
        return rows * self.scale + self.shift


class _Normalize(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.order = {"l1": 1, "l2": 2, "max": torch.inf}[norm]

    def forward(self, rows):
        length = torch.linalg.vector_norm(rows, ord=self.order, dim=1, keepdim=True)
        # scikit-learn leaves alone every row whose length is rounding error, not only zero rows.
        negligible = length < 10 * torch.finfo(rows.dtype).eps
        return rows / torch.where(negligible, torch.ones_like(length), length)

    def inverse(self, rows):
        raise NotTranslatable(
            "A Normalizer has no inverse: it discards the length of every row. Leave it out."
        )


class _Project(_Formula):
    def forward(self, rows):
        return (rows - self.mean) @ self.components.T / self.scale

    def inverse(self, coordinates):
        return (coordinates * self.inverse_scale) @ self.components + self.mean


class _Affine(_Formula):
    def forward(self, rows):
        return nn.functional.linear(rows, self.weight, self.bias)


class _GaussianScores(_Formula):
    """log P(c) + Σ_j log N(x_j; θ_cj, σ²_cj)."""

    def forward(self, rows):
        # Not expanded into x²/σ² - 2xθ/σ² + θ²/σ²: tiny variances would cancel every digit.
        distance = (rows[:, None, :] - self.mean) ** 2 / self.variance
        return self.offset - 0.5 * distance.sum(dim=2)


def _affine_scores(weight, bias):
    bias = np.broadcast_to(bias, len(weight))  # a lone float where no intercept was fitted
    if len(weight) == 1:
        weight = np.concatenate([-weight / 2, weight / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    return _Affine(weight=weight, bias=bias)


def _linear(classifier):
    weight = classifier.coef_
    weight = weight.toarray() if hasattr(weight, "toarray") else weight  # after `sparsify`
    # A binary RidgeClassifier keeps one flat row, the others a matrix of one row.
    weight = np.reshape(weight, (-1, classifier.n_features_in_))
    return _affine_scores(weight, classifier.intercept_)


def _sgd(classifier):
    scores = _linear(classifier)
    one_versus_rest = classifier.loss == "log_loss" and len(classifier.classes_) > 2
    return nn.Sequential(scores, nn.LogSigmoid()) if one_versus_rest else scores


def _gaussian(classifier):
    with np.errstate(divide="ignore"):  # a class of prior 0 has the score -inf
        offset = np.log(classifier.class_prior_)
    offset = offset - 0.5 * np.log(2 * np.pi * classifier.var_).sum(axis=1)
    return _GaussianScores(offset=offset, mean=classifier.theta_, variance=classifier.var_)


def _perceptron(classifier):
    activation = {"identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
    *hidden, (weight, bias) = zip(classifier.coefs_, classifier.intercepts_, strict=True)
    layers = []
    for w, b in hidden:
        layers += [_Affine(weight=w.T, bias=b), activation[classifier.activation]()]
    # The final logistic or softmax, which turns these logits into probabilities, is left out.
    return nn.Sequential(*layers, _affine_scores(weight.T, bias))


def _standard_scaler(step):
    # mean_ is kept even where it is not used: the flags decide, as they do in `transform`.
    shift = step.mean_ if step.with_mean else np.zeros(step.n_features_in_)
    scale = step.scale_ if step.with_std else np.ones_like(shift)
    return _Rescale(shift=shift, scale=scale, low=-np.inf, high=np.inf)


def _min_max_scaler(step):
    low, high = step.feature_range if step.clip else (-np.inf, np.inf)
    return _Rescale(shift=-step.min_ / step.scale_, scale=1 / step.scale_, low=low, high=high)


def _pca(step):
    deviation = np.sqrt(step.explained_variance_) if step.whiten else np.ones(step.n_components_)
    # `transform` guards against vanishing variances, `inverse_transform` does not.
    scale = np.maximum(deviation, np.finfo(deviation.dtype).eps)
    return _Project(
        mean=step.mean_, components=step.components_, scale=scale, inverse_scale=deviation
    )


_CLASSIFIERS = {
    **dict.fromkeys([LogisticRegression, LinearDiscriminantAnalysis, LinearSVC], _linear),
    **dict.fromkeys([RidgeClassifier, RidgeClassifierCV], _linear),
    SGDClassifier: _sgd,
    GaussianNB: _gaussian,
    MLPClassifier: _perceptron,
}

_TRANSFORMERS = {
    StandardScaler: _standard_scaler,
    MinMaxScaler: _min_max_scaler,
    Normalizer: lambda step: _Normalize(step.norm),
    PCA: _pca,
}

"""What generated images say of a classifier: verdicts of a judge, co-activations, the part of λ."""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skinvert.layout import columns_of
from skinvert.metrics import NeutralJudge, compare, relative_diversity

__all__ = [
    "Prototypes",
    "Sensitivity",
    "Verdict",
    "co_activation",
    "compare_methods",
    "generate_prototypes",
    "judge_of",
    "sensitivity_of",
]

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
_N_SWEPT = 5  # images of a class at each λ
_FIGURES = ["judge_accuracy", "judge_confidence", "diversity", "authenticity"]


@dataclass(frozen=True)
class Verdict:
    """What the judge says of the images of one class.

    Attributes
    ----------
    accuracy : float
        Share that it calls by the label that was asked for.
    confidence : float
        Mean probability of that label.
    mistaken_for : label or None
        Most frequent other answer.
    """

    accuracy: float
    confidence: float
    mistaken_for: object


@dataclass
class Prototypes:
    """What one method generated, class by turns, and what was found out about it.

    Attributes
    ----------
    images : ndarray of shape (n, C, H, W)
    y : ndarray of shape (n,)
    judged : ndarray of shape (n, n_judge_classes)
        Probabilities by the judge.
    judge_classes : ndarray of shape (n_judge_classes,)
    nearest : ndarray of shape (n,)
        Row of ``subject.learned`` with the least squared error.
    distances : ndarray of shape (n,)
        That error, a mean over values, in units of the data's range.
    evidence : ndarray of shape (n_labels, n_classes)
        See `co_activation`.
    """

    images: np.ndarray
    y: np.ndarray
    judged: np.ndarray
    judge_classes: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray
    evidence: np.ndarray

    def rows_of(self, label):
        """Positions of one class's images."""
        return np.flatnonzero(self.y == label)

    def verdict(self, label):
        """The judge on one class, as a `Verdict`."""
        judged = self.judged[self.rows_of(label)]
        own = columns_of([label], self.judge_classes)[0]
        called = judged.argmax(1)
        wrong = np.bincount(called[called != own], minlength=judged.shape[1])
        return Verdict(
            accuracy=float(np.mean(called == own)),
            confidence=float(judged[:, own].mean()),
            mistaken_for=self.judge_classes[wrong.argmax()] if wrong.any() else None,
        )


def judge_of(judge, subject, seed):
    """The user's judge, checked, or a `NeutralJudge` of the rows that no method learns from.

    Raises
    ------
    TypeError
        If it gives no probabilities.
    """
    if judge is None:
        fresh = NeutralJudge(random_state=seed, device=str(subject.device))
        return fresh.fit(subject.judging.images, subject.judging.y)
    if isinstance(judge, type) or not hasattr(judge, "predict_proba"):
        raise TypeError(
            f"judge must be a fitted classifier with predict_proba, or None; got {judge!r}."
        )
    columns_of(subject.labels, judge.classes_)
    return judge


def generate_prototypes(method, subject, judge, n_images, seed):
    """Images of every label by a fitted method, with the judge's and the classifier's answers.

    Raises
    ------
    ValueError
        If the method gives another number or size of images, or values that are not finite.
    """
    y = np.tile(subject.labels, n_images)
    X = _generated(method, y, subject, seed)
    low, high = subject.value_range
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(subject.learned.X)
    nearest = search.kneighbors(X, return_distance=False)[:, 0]
    images = X.reshape(-1, *subject.image_shape)
    return Prototypes(
        images=images,
        y=y,
        judged=np.asarray(judge.predict_proba(X)),
        judge_classes=np.asarray(judge.classes_),
        nearest=nearest,
        distances=np.square((X - subject.learned.X[nearest]) / (high - low)).mean(1),
        evidence=co_activation(subject.logits(images), y, subject.labels, subject.classes),
    )


def _generated(method, y, subject, seed):
    X = np.asarray(method.generate(y, random_state=seed), dtype=np.float32)
    X = X.reshape(len(X), -1)
    if X.shape != (len(y), subject.learned.X.shape[1]) or not np.isfinite(X).all():
        raise ValueError(
            f"{type(method).__name__}.generate gave {X.shape[0]} rows of {X.shape[1]} values for "
            f"{len(y)} labels; expected as many finite rows of {subject.learned.X.shape[1]} values."
        )
    return X


def co_activation(logits, y, labels, classes):
    r"""Evidence of all classes in the images of each, in units of the class's own.

    Scores are counted from their mean :math:`\bar a` over the classes. For images of class c it is
    the mean of :math:`\max(0, a_j - \bar a) / (a_c - \bar a)`, over those whose own score is
    above the mean.

    Parameters
    ----------
    logits : ndarray of shape (n, n_classes)
    y : ndarray of shape (n,)
        What was asked for.
    labels : ndarray of shape (n_labels,)
        Rows of the answer.
    classes : ndarray of shape (n_classes,)
        What the columns stand for.

    Returns
    -------
    evidence : ndarray of shape (n_labels, n_classes)
        1 at the class itself; rows are NaN where no image excites its own class.

    Notes
    -----
    After Despraz et al., "Interpreting a coupled network" (IJCCI 2017), section 5.1, whose
    activations are rectified logits.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.report.findings import co_activation
    >>> logits = np.array([[4.0, 1.0, -5.0], [0.0, 3.0, -3.0]])
    >>> classes = np.array(["a", "b", "c"])
    >>> co_activation(logits, np.array(["a", "b"]), classes[:2], classes)
    array([[1.  , 0.25, 0.  ],
           [0.  , 1.  , 0.  ]])
    """
    centred = logits.astype(np.float64) - logits.mean(1, keepdims=True)
    evidence = np.full((len(labels), len(classes)), np.nan)
    for row, (label, column) in enumerate(zip(labels, columns_of(labels, classes), strict=True)):
        own = centred[(y == label) & (centred[:, column] > 0)]
        if len(own):
            evidence[row] = (np.maximum(own, 0) / own[:, [column]]).mean(0)
    return evidence


class _Kept:
    """Images that were generated already, for `compare` to ask for."""

    def __init__(self, X):
        self.X = X

    def generate(self, y, random_state=None):
        return self.X


def compare_methods(prototypes, subject, judge, seed):
    """Figures of all methods beside their floors: a `skinvert.metrics.Comparison`."""
    kept = {
        name: _Kept(found.images.reshape(len(found.images), -1))
        for name, found in prototypes.items()
    }
    first = next(iter(prototypes.values()))
    return compare(
        kept,
        subject.test.X,
        subject.test.y,
        metrics=_FIGURES,
        judge=judge,
        n_per_class=len(first.y) // len(subject.labels),
        X_train=subject.learned.X,
        y_train=subject.learned.y,
        random_state=seed,
    )


@dataclass(frozen=True)
class Sensitivity:
    """What a method generates at several weights λ of its prior.

    Attributes
    ----------
    weights : list of float
    images : ndarray of shape (n_weights, n_labels, C, H, W)
        The first image of each class, all from the same noise.
    judged, sure, diversity : list of float
        Share that the judge calls by its label, the audited classifier's mean confidence in the
        label, and the diversity relative to real rows.
    """

    weights: list
    images: np.ndarray
    judged: list
    sure: list
    diversity: list


def sensitivity_of(method, subject, judge, seed):
    """Sweep a method's ``prior_weight``; None where it has none, or where that is zero."""
    weight = getattr(method, "prior_weight", None)
    if not weight or getattr(method, "prior_", None) is None:
        return None
    y = np.tile(subject.labels, _N_SWEPT)
    own = columns_of(y, subject.classes)
    found = Sensitivity(
        [],
        np.empty((len(FACTORS), len(subject.labels), *subject.image_shape)),
        *([] for _ in range(3)),
    )
    for place, factor in enumerate(FACTORS):
        # A copy: the user's own, where it came fitted, keeps its weight.
        worker = copy.copy(method).set_params(prior_weight=weight * factor)
        with warnings.catch_warnings():
            # At its ends a sweep is meant to fail, and the table shows how.
            warnings.simplefilter("ignore", UserWarning)
            X = _generated(worker, y, subject, seed)
        images = X.reshape(-1, *subject.image_shape)
        found.weights.append(weight * factor)
        found.images[place] = images[: len(subject.labels)]
        found.judged.append(float(np.mean(np.asarray(judge.predict(X)) == y)))
        found.sure.append(float(subject.probabilities(images)[np.arange(len(y)), own].mean()))
        found.diversity.append(relative_diversity(X, y, subject.test.X, subject.test.y))
    return found

"""Whether generated images are taken for their class by somebody who never saw the generator."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinvert.layout import columns_of, flatten_images
from skinvert.metrics._checks import check_labels, check_pair, check_rows

__all__ = [
    "classification_accuracy_score",
    "inception_score",
    "judge_accuracy",
    "judge_confidence",
]


def judge_accuracy(judge: Any, X_generated: ArrayLike, y_generated: ArrayLike) -> float:
    """Share of generated rows that a judge calls by the label that was asked for.

    Parameters
    ----------
    judge : fitted classifier
        With ``predict``. It saw neither the generator nor the rows that the generator learned
        from: the classifier that was inverted says 1.0 to adversarial noise too.
    X_generated : array-like of shape (n_generated, n_features), or images
        Handed to the judge as they are.
    y_generated : array-like of shape (n_generated,)
        Labels that were asked for.

    Returns
    -------
    accuracy : float
        In [0, 1].

    Raises
    ------
    ValueError
        For a label that is not among ``judge.classes_``, for NaN, and for lengths that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skinvert.metrics import judge_accuracy
    >>> judge = KNeighborsClassifier(1).fit([[0.0], [1.0]], ["no", "yes"])
    >>> judge_accuracy(judge, [[0.1], [0.9]], ["no", "no"])
    0.5
    """
    labels = check_labels(y_generated, len(check_rows(X_generated, "X_generated")))
    if hasattr(judge, "classes_"):
        columns_of(labels, judge.classes_)
    return float(np.mean(np.asarray(judge.predict(X_generated)) == labels))


def judge_confidence(judge: Any, X_generated: ArrayLike, y_generated: ArrayLike) -> float:
    """Mean probability that a judge gives to the label that was asked for.

    Parameters
    ----------
    judge : fitted classifier
        With ``predict_proba`` and ``classes_``; as for `judge_accuracy`.
    X_generated : array-like of shape (n_generated, n_features), or images
        Generated rows.
    y_generated : array-like of shape (n_generated,)
        Labels that were asked for.

    Returns
    -------
    confidence : float
        In [0, 1].

    Raises
    ------
    TypeError
        If the judge has no ``predict_proba``.
    ValueError
        As `judge_accuracy`.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skinvert.metrics import judge_confidence
    >>> judge = KNeighborsClassifier(2).fit([[0.0], [1.0]], ["no", "yes"])
    >>> judge_confidence(judge, [[0.1], [0.9]], ["no", "yes"])
    0.5
    """
    if not hasattr(judge, "predict_proba"):
        raise TypeError(
            f"judge_confidence needs a judge with predict_proba, got {type(judge).__name__}. "
            "Use judge_accuracy, or wrap it in CalibratedClassifierCV."
        )
    labels = check_labels(y_generated, len(check_rows(X_generated, "X_generated")))
    columns = columns_of(labels, judge.classes_)
    probabilities = np.asarray(judge.predict_proba(X_generated), dtype=np.float64)
    return float(probabilities[np.arange(len(columns)), columns].mean())


def classification_accuracy_score(
    X_generated: ArrayLike,
    y_generated: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    *,
    judge: Any = None,
    random_state: int = 0,
) -> float:
    """Train on generated rows, test on real ones: the classification accuracy score (CAS).

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features), or images
        Generated rows.
    y_generated : array-like of shape (n_generated,)
        Labels that were asked for.
    X : array-like of shape (n_samples, n_features), or images
        Real rows.
    y : array-like of shape (n_samples,)
    judge : scikit-learn classifier or None, default=None
        Cloned, then fitted. None is logistic regression on standardised rows.
    random_state : int, default=0
        Seed of the default judge.

    Returns
    -------
    accuracy : float
        In [0, 1]. A class that was never generated is never answered: its real rows count as
        wrong. One generated class needs no judge and scores the share of real rows of that class.

    Raises
    ------
    ValueError
        If the widths or lengths differ, or for NaN.

    Notes
    -----
    Ravuri and Vinyals, "Classification Accuracy Score for Conditional Generative Models",
    NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import classification_accuracy_score
    >>> X, y = np.array([[0.0], [0.1], [1.0], [0.9]]), np.array([0, 0, 1, 1])
    >>> classification_accuracy_score(X + 0.01, y, X, y)
    1.0
    """
    generated, real = check_pair(X_generated, X, ("X_generated", "X"))
    labels = check_labels(y_generated, len(generated), "y_generated")
    real_labels = check_labels(y, len(real))
    if len(np.unique(labels)) == 1:
        return float(np.mean(real_labels == labels[0]))
    if judge is None:
        judge = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=200, random_state=random_state)
        )
    # The judge sees the values in the type that they came in.
    generated, real = (np.asarray(flatten_images(rows)[0]) for rows in (X_generated, X))
    return float(clone(judge).fit(generated, labels).score(real, real_labels))


def inception_score(
    probabilities: ArrayLike, *, n_splits: int = 10, random_state: int = 0
) -> tuple[float, float]:
    r"""How sure a classifier is of each image, and how many classes it sees in all of them.

    :math:`\exp(\mathbb{E}_x \mathrm{KL}(p(y|x) \,\|\, p(y)))`, with :math:`p(y)` the mean of a
    split. It is 1 where all images look alike and the number of classes where each is certain and
    all are equally frequent. It sees no diversity within a class.

    Parameters
    ----------
    probabilities : array-like of shape (n, n_classes)
        Of any classifier, one row an image.
    n_splits : int, default=10
        Parts, after shuffling, over which mean and standard deviation are taken.
    random_state : int, default=0
        Seed of the shuffling.

    Returns
    -------
    mean : float
    std : float
        With n_splits - 1 in the denominator; NaN for one split.

    Raises
    ------
    ValueError
        If rows are not probabilities, or are fewer than the splits.

    Notes
    -----
    Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 4. It is the
    figure of the published tables only with their Inception network.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import inception_score
    >>> sure, unsure = np.eye(4), np.full((4, 4), 0.25)
    >>> round(inception_score(sure, n_splits=1)[0], 6), inception_score(unsure, n_splits=2)
    (4.0, (1.0, 0.0))
    """
    rows = check_rows(probabilities, "probabilities")
    if rows.min() < 0 or np.abs(rows.sum(1) - 1).max() > 1e-3:
        raise ValueError(
            f"probabilities must be non-negative and sum to 1 in each row, got values from "
            f"{rows.min():.3g} and sums from {rows.sum(1).min():.3g} to {rows.sum(1).max():.3g}. "
            "Apply softmax to logits first."
        )
    if not 1 <= n_splits <= len(rows):
        raise ValueError(
            f"n_splits must lie between 1 and the number of rows, got {n_splits} for {len(rows)} "
            "rows. Give more rows or fewer splits."
        )
    rows = rows / rows.sum(1, keepdims=True)
    shuffled = rows[np.random.default_rng(random_state).permutation(len(rows))]
    scores = []
    for part in np.array_split(shuffled, n_splits):
        divergences = xlogy(part, part) - xlogy(part, part.mean(0))
        scores.append(np.exp(divergences.sum(1).mean()))
    std = np.std(scores, ddof=1) if n_splits > 1 else np.nan
    return float(np.mean(scores)), float(std)

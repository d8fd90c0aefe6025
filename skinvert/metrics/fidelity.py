"""Whether generated images are taken for their class by somebody who never saw the generator."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["judge_accuracy"]


def judge_accuracy(X_generated, y_generated, X, y, *, judge=None, random_state=0):
    """Train on generated rows, test on real ones: the classification accuracy score.

    Parameters
    ----------
    X_generated : array-like of shape (n_generated, n_features)
    y_generated : array-like of shape (n_generated,)
        Labels that were asked for.
    X : array-like of shape (n_samples, n_features)
        Real rows.
    y : array-like of shape (n_samples,)
    judge : scikit-learn classifier or None, default=None
        Cloned, then fitted. None is logistic regression on standardised rows.
    random_state : int, default=0
        Seed of the default judge.

    Returns
    -------
    accuracy : float
        In [0, 1]. One class needs no judge and scores the share of real rows of that class.

    Notes
    -----
    Ravuri and Vinyals, "Classification Accuracy Score for Conditional Generative Models",
    NeurIPS 2019. The classifier that was inverted would say 1.0 to adversarial noise too.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.metrics import judge_accuracy
    >>> X, y = np.array([[0.0], [0.1], [1.0], [0.9]]), np.array([0, 0, 1, 1])
    >>> judge_accuracy(X + 0.01, y, X, y)
    1.0
    """
    X_generated, X = np.asarray(X_generated), np.asarray(X)
    y_generated, y = np.asarray(y_generated), np.asarray(y)
    if len(np.unique(y_generated)) == 1:
        return float(np.mean(y == y_generated[0]))
    if judge is None:
        judge = make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=200, random_state=random_state)
        )
    return float(clone(judge).fit(X_generated, y_generated).score(X, y))

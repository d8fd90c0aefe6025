"""``generate`` carried through Pipelines and searches, which scikit-learn does not delegate."""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

__all__ = ["generate"]


def generate(estimator: Any, y: ArrayLike | None = None, **arguments: Any) -> Any:
    """Generate through a fitted Pipeline or search, whose own methods don't know ``generate``.

    Parameters
    ----------
    estimator : generator, Pipeline that ends in one, or search over either
        Fitted. Images leave a Pipeline through the ``inverse_transform`` of the steps before it,
        so that they come in the units of the Pipeline's own input.
    y : array-like of shape (n,), default=None
    **arguments
        As of the generator's ``generate``.

    Returns
    -------
    X : ndarray of shape (n, n_features)
        Beside an ``info`` where ``return_info=True``.

    Raises
    ------
    TypeError
        If no generator is found at the end.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> import skinvert
    >>> X, y = load_digits(return_X_y=True)
    >>> pipeline = make_pipeline(MinMaxScaler(), skinvert.InputOptimizationGenerator(
    ...     LogisticRegression(), random_state=0)).fit(X, y)
    >>> skinvert.generate(pipeline, [3, 5]).shape
    (2, 64)
    """
    if hasattr(estimator, "best_estimator_"):
        return generate(estimator.best_estimator_, y, **arguments)
    if isinstance(estimator, Pipeline):
        generated = generate(estimator[-1], y, **arguments)
        images, *info = generated if arguments.get("return_info") else (generated,)
        if len(estimator) > 1:
            images = estimator[:-1].inverse_transform(images.reshape(len(images), -1))
        return (images, *info) if info else images
    if not hasattr(estimator, "generate"):
        raise TypeError(
            f"{type(estimator).__name__} has no generate; expected a skinvert generator, a fitted "
            "Pipeline that ends in one, or a fitted search over either (with refit=True)."
        )
    return estimator.generate(y, **arguments)

"""What displays ask of a fitted generator, alone, in a Pipeline or behind a search."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

__all__ = ["classes_of", "generator_of", "look_of"]


def generator_of(estimator):
    """The generator itself.

    Parameters
    ----------
    estimator : generator, Pipeline that ends in one, or search over either
        Fitted.

    Returns
    -------
    generator : object

    Raises
    ------
    TypeError
        If there is none.
    NotFittedError
        Before `fit`.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "best_estimator_"):
        return generator_of(estimator.best_estimator_)
    if isinstance(estimator, Pipeline):
        return generator_of(estimator[-1])
    if not hasattr(estimator, "generate"):
        raise TypeError(
            f"{type(estimator).__name__} has no generate; expected a skinvert generator, a fitted "
            "Pipeline that ends in one, or a fitted search over either. Images that are there "
            "already go to from_images."
        )
    return estimator


def classes_of(estimator, classes):
    """`classes`, or all that the generator knows.

    Parameters
    ----------
    estimator : generator, Pipeline or search
    classes : array-like or None

    Returns
    -------
    classes : ndarray of shape (n_classes,)
    """
    return np.asarray(generator_of(estimator).classes_ if classes is None else classes)


def look_of(estimator, image_shape):
    """Shape and value range of the images that an estimator makes.

    Parameters
    ----------
    estimator : generator, Pipeline or search
    image_shape : tuple or None
        What the user says.

    Returns
    -------
    look : dict
        ``image_shape`` and ``value_range``, None where only the images can tell: those of a
        Pipeline leave it in the units of its own input, which its generator never saw.
    """
    final = getattr(estimator, "best_estimator_", estimator)
    if isinstance(final, Pipeline):
        return {"image_shape": image_shape, "value_range": None}
    return {
        "image_shape": image_shape or getattr(final, "image_shape_", None),
        "value_range": getattr(final, "value_range_", None),
    }

"""What a flow is built from, with every "auto" resolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinvert.inversion.transforms import RandomAffine

__all__ = [
    "FlowSettings",
    "check_combination",
    "resolved_clip",
    "resolved_epochs",
    "resolved_settings",
    "resolved_views",
]

_VIEWS = (RandomAffine(degrees=5, translate=(0.04, 0.04), scale=(0.95, 1.05)),)
_LEAST_TURNED = 16  # pixels: below it a view is mostly interpolation
_IMAGE_NOISE = {"square": 0.3, "coupling": 0.45, "sliced": 0.7}
_BLOCKS = {"square": 4, "coupling": 8, "sliced": 0}
_PIXEL_BLOCKS, _PIXEL_HIDDEN, _AXES_HIDDEN = 2, 64, 256
_LIKELIHOODS = ("mle", "ib")


@dataclass
class FlowSettings:
    """What a network is built from; see `InvertibleFlowClassifier` for the meaning.

    Attributes
    ----------
    architecture, objective, kind_of_means, coupled : str
    n_blocks, n_components, n_mixture, hidden_size : int
    activation, bounded, fits_covariances : bool
    negative_slope, max_condition, noise, cross_entropy_weight : float
    logit : float or None
    step : float or None
        Quantisation step, where rows are dequantised.
    image_shape : tuple (C, H, W) or None
    n_classes, seed : int
    """

    architecture: str
    objective: str
    kind_of_means: str
    n_blocks: int
    activation: bool
    negative_slope: float
    bounded: bool
    max_condition: float
    n_components: int
    n_mixture: int
    hidden_size: int
    noise: float
    step: float | None
    logit: float | None
    cross_entropy_weight: float
    image_shape: tuple | None
    n_classes: int
    seed: int
    fits_covariances: bool = False
    coupled: str = "axes"


def check_combination(estimator):
    """Refuse parameters that exclude each other.

    Parameters
    ----------
    estimator : InvertibleFlowClassifier

    Raises
    ------
    ValueError
        With what goes together.
    """
    architecture, objective = estimator.architecture, estimator.objective
    if architecture == "sliced" and objective != "mle":
        raise ValueError(
            "architecture='sliced' is fitted without a loss and takes objective='mle' alone, "
            f"got {objective!r}. Use 'square' or 'coupling' for the other objectives."
        )
    if architecture == "sliced" and estimator.warm_start:
        raise ValueError("architecture='sliced' has no epochs to go on with; set warm_start=False.")
    if architecture == "coupling" and objective not in _LIKELIHOODS:
        raise ValueError(
            f"objective={objective!r} has no log-determinant and belongs to "
            "architecture='square'; use 'mle' or 'ib' with 'coupling'."
        )
    if architecture == "coupling" and estimator.coupled == "pixels":
        _check_pixels(estimator)
    if estimator.n_blocks == 0 and architecture != "sliced":
        raise ValueError(f"architecture={architecture!r} needs n_blocks of at least 1, got 0.")


def _check_pixels(estimator):
    if estimator.noise not in ("auto", 0) or estimator.logit is not None:
        raise ValueError(
            "coupled='pixels' has maps of quantised values in it and takes neither noise nor "
            f"logit; got noise={estimator.noise!r}, logit={estimator.logit!r}. Set noise='auto' "
            "and logit=None."
        )
    if estimator.dequantize is False:
        raise ValueError("coupled='pixels' models dequantised values; set dequantize='auto'.")


def _check_pixel_data(estimator):
    if estimator.image_shape_ is None or min(estimator.image_shape_[1:]) < 2:
        raise ValueError(
            "coupled='pixels' needs images of at least two by two pixels; set image_shape=(H, W) "
            "or (C, H, W), or coupled='axes'."
        )
    if estimator.quantization_step_ is None:
        raise ValueError(
            "coupled='pixels' needs quantised values, and those of X lie on no common grid; "
            "quantise X, for instance np.round(255 * X) / 255, or set coupled='axes'."
        )


def resolved_settings(estimator, seed):
    """The settings of an estimator that knows its data's shape, classes and quantisation.

    Parameters
    ----------
    estimator : InvertibleFlowClassifier
    seed : int

    Returns
    -------
    settings : FlowSettings

    Raises
    ------
    ValueError
        If values that lie on no grid are to be dequantised.
    """
    architecture, is_image = estimator.architecture, estimator.image_shape_ is not None
    likelihood = estimator.objective in _LIKELIHOODS
    on_pixels = architecture == "coupling" and estimator.coupled == "pixels"
    if on_pixels:
        _check_pixel_data(estimator)
    noise = estimator.noise
    if noise == "auto" and on_pixels:
        noise = 0.0
    elif noise == "auto":
        noise = (_IMAGE_NOISE[architecture] if is_image else 0.05) if likelihood else 0.0
    step = estimator.quantization_step_
    if estimator.dequantize is True and step is None:
        raise ValueError(
            "dequantize=True, but the values of X lie on no common grid; set dequantize='auto' "
            "and a positive noise."
        )
    dequantize = likelihood if estimator.dequantize == "auto" else estimator.dequantize
    slope = estimator.negative_slope
    if slope == "auto":
        slope = 0.5 if likelihood else 0.01
    fits = estimator.class_covariances == "fitted"
    if estimator.class_covariances == "auto":
        fits = estimator.objective == "mle"
    n_blocks, hidden = estimator.n_blocks, estimator.hidden_size
    if n_blocks == "auto":
        n_blocks = _PIXEL_BLOCKS if on_pixels else _BLOCKS[architecture]
    if hidden == "auto":
        hidden = _PIXEL_HIDDEN if on_pixels else _AXES_HIDDEN
    return FlowSettings(
        architecture=architecture,
        objective=estimator.objective,
        kind_of_means=estimator.class_means,
        n_blocks=n_blocks,
        activation=estimator.activation,
        negative_slope=slope,
        bounded=likelihood if estimator.linear == "auto" else estimator.linear == "bounded",
        max_condition=estimator.max_condition,
        fits_covariances=fits and architecture == "square",
        coupled=estimator.coupled,
        n_components=estimator.n_components,
        n_mixture=estimator.n_mixture,
        hidden_size=hidden,
        noise=noise,
        step=step if dequantize else None,
        logit=estimator.logit,
        cross_entropy_weight=estimator.cross_entropy_weight,
        image_shape=estimator.image_shape_,
        n_classes=len(estimator.classes_),
        seed=seed,
    )


def resolved_epochs(max_epochs: str | int, n_rows: int) -> Any:
    """Passes over the rows: 40,000 / n for "auto", between 5 and 40.

    Parameters
    ----------
    max_epochs : int or "auto"
    n_rows : int

    Returns
    -------
    n_epochs : int

    Examples
    --------
    >>> from skinvert.flows.settings import resolved_epochs
    >>> resolved_epochs("auto", 2000), resolved_epochs(7, 2000)
    (20, 7)
    """
    if max_epochs == "auto":
        return int(np.clip(40_000 // n_rows, 5, 40))
    return max_epochs


def resolved_clip(
    clip: str | Sequence[float] | None, value_range: tuple[float, float]
) -> tuple[float, float]:
    """Range of generated images.

    Parameters
    ----------
    clip : "auto", sequence (low, high) or None
    value_range : tuple (low, high)
        What "auto" stands for: the range of the training rows.

    Returns
    -------
    clip : tuple (low, high)
        Infinite for None.

    Raises
    ------
    ValueError
        For what is no range.

    Examples
    --------
    >>> from skinvert.flows.settings import resolved_clip
    >>> resolved_clip("auto", (0.0, 16.0)), resolved_clip(None, (0.0, 16.0))
    ((0.0, 16.0), (-inf, inf))
    """
    if clip is None:
        return (-np.inf, np.inf)
    if isinstance(clip, str):
        return value_range
    if len(clip) != 2 or not clip[0] <= clip[1]:
        raise ValueError(f"clip must be (low, high) with low <= high, got {clip!r}.")
    low, high = clip
    return low, high


def resolved_views(estimator):
    """Random views under which training sees images: a tuple of transforms.

    Parameters
    ----------
    estimator : InvertibleFlowClassifier

    Raises
    ------
    ValueError
        If rows that are no images are to be seen so.
    """
    shape = estimator.image_shape_
    if not isinstance(estimator.augmentation, str):
        views = tuple(estimator.augmentation or ())
        if views and shape is None:
            raise ValueError(
                "augmentation needs images; set image_shape=(H, W) or (C, H, W), or "
                "augmentation=None."
            )
        return views
    is_turned = shape is not None and min(shape[1:]) >= _LEAST_TURNED
    return _VIEWS if is_turned and estimator.objective in _LIKELIHOODS else ()

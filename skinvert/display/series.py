"""Images in series: along the values of a parameter, and from one class to another."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinvert.delegation import generate
from skinvert.display.asking import classes_of, look_of
from skinvert.display.drawing import Grid, draw_grid
from skinvert.display.images import series_of, shared_range

__all__ = ["InterpolationDisplay", "SweepDisplay"]


class SweepDisplay:
    """Images of every class along the values of a parameter.

    Figure 5 of the input-optimisation paper, where the parameter is λ. Made by
    `from_estimator` or `from_images`.

    Parameters
    ----------
    images : ndarray of shape (n_values, n_classes, C, H, W)
        First axis values, second classes.
    param_range : sequence of length n_values
        Values, one a column.
    classes : sequence of length n_classes
        Labels, one a row.
    value_range : tuple (low, high)
        Black and white, the same for all images.
    param_name : str, default="prior_weight"
        Name of the parameter, written above the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    "Use Classifier as Generator", arXiv:2209.09210, section 5.5.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert import InputOptimizationGenerator
    >>> from skinvert.display import SweepDisplay
    >>> generator = InputOptimizationGenerator(LogisticRegression(), prior="mean", init="mean",
    ...     n_steps=20, random_state=0).fit(*load_digits(return_X_y=True))
    >>> SweepDisplay.from_estimator(generator, [0.1, 1.0], classes=[3, 8]).images.shape
    (2, 2, 1, 8, 8)
    """

    def __init__(
        self,
        *,
        images: NDArray[Any],
        param_range: Sequence[Any] | NDArray[Any],
        classes: Sequence[Any] | NDArray[Any],
        value_range: tuple[float, float],
        param_name: str = "prior_weight",
    ) -> None:
        self.images = images
        self.param_range = param_range
        self.classes = classes
        self.value_range = value_range
        self.param_name = param_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        param_range: Sequence[Any] | NDArray[Any],
        *,
        param_name: str = "prior_weight",
        classes: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        image_shape: Sequence[int] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Generate one image of every class with each value and draw them.

        Parameters
        ----------
        estimator : fitted generator, Pipeline that ends in one, or search over either
            It is left as it is; a copy takes the values.
        param_range : sequence
            Values, one a column.
        param_name : str, default="prior_weight"
            A parameter that ``generate`` reads. Nothing is fitted again, so that those of ``fit``
            would change nothing.
        classes : array-like of shape (n_classes,), default=None
            Labels to show; all of them if None.
        random_state : int, RandomState instance or None, default=None
            None takes the generator's.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Only where neither the generator nor the images tell it.
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : SweepDisplay
        """
        labels = classes_of(estimator, classes)
        subject = copy.deepcopy(getattr(estimator, "best_estimator_", estimator))
        images = [
            generate(subject.set_params(**{param_name: value}), labels, random_state=random_state)
            for value in param_range
        ]
        look = look_of(estimator, image_shape)
        return cls.from_images(
            images, param_range, labels, param_name=param_name, **look, ax=ax, cmap=cmap
        )

    @classmethod
    def from_images(
        cls,
        X: Sequence[ArrayLike],
        param_range: Sequence[Any] | NDArray[Any],
        classes: Sequence[Any] | NDArray[Any],
        *,
        param_name: str = "prior_weight",
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw images that are there already.

        Parameters
        ----------
        X : sequence of length n_values
            For each value the images of all classes, as rows or image arrays.
        param_range : sequence of length n_values
            Values, one a column.
        classes : array-like of shape (n_classes,)
            Labels, one a row.
        param_name : str, default="prior_weight"
            Name of the parameter, written above the columns.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Of rows that are no one-channel squares.
        value_range : tuple (low, high), default=None
            Black and white; None takes (0, 1), or minimum and maximum of all images where values
            lie outside of it.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : SweepDisplay

        Raises
        ------
        ValueError
            If the numbers of images, values and classes disagree.
        """
        images, labels = series_of(X, len(param_range), image_shape), np.asarray(classes)
        if images.shape[1] != len(labels):
            raise ValueError(
                f"X holds {images.shape[1]} images a value, but there are {len(labels)} classes."
            )
        display = cls(
            images=images,
            param_range=param_range,
            classes=labels,
            value_range=shared_range(value_range, images),
            param_name=param_name,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw a row for each class, a column for each value.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : SweepDisplay
        """
        is_number = [isinstance(value, (int, float)) for value in self.param_range]
        labels = [
            f"{value:g}" if number else str(value)
            for value, number in zip(self.param_range, is_number, strict=True)
        ]
        name = "λ" if self.param_name == "prior_weight" else self.param_name
        grid = Grid(
            [list(row) for row in np.swapaxes(self.images, 0, 1)],
            self.value_range,
            row_labels=self.classes,
            column_labels=labels,
            column_title=name,
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self


class InterpolationDisplay:
    """Ways from one class to another, a row each.

    Figure 4 of the input-optimisation paper. Made by `from_estimator` or `from_images`.

    Parameters
    ----------
    images : ndarray of shape (n_pairs, n_images, C, H, W)
        One series a row.
    pairs : sequence of (start, end)
        The two ends of each series.
    value_range : tuple (low, high)
        Black and white, the same for all images.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    "Use Classifier as Generator", arXiv:2209.09210, section 5.4.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert import InputOptimizationGenerator
    >>> from skinvert.display import InterpolationDisplay
    >>> generator = InputOptimizationGenerator(LogisticRegression(), prior="mean", init="mean",
    ...     n_steps=20, random_state=0).fit(*load_digits(return_X_y=True))
    >>> InterpolationDisplay.from_estimator(generator, [(0, 6)], n_images=3).images.shape
    (1, 3, 1, 8, 8)
    """

    def __init__(
        self,
        *,
        images: NDArray[Any],
        pairs: Sequence[tuple[Any, Any]],
        value_range: tuple[float, float],
    ) -> None:
        self.images = images
        self.pairs = pairs
        self.value_range = value_range

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        pairs: Sequence[tuple[Any, Any]],
        *,
        n_images: int = 5,
        random_state: int | np.random.RandomState | None = None,
        image_shape: Sequence[int] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Interpolate between the classes of every pair and draw the series.

        Parameters
        ----------
        estimator : fitted generator with ``interpolate``
            With a method ``interpolate``.
        pairs : sequence of (start, end)
            Labels.
        n_images : int, default=5
            Length of a series, both ends included.
        random_state : int, RandomState instance or None, default=None
            None takes the generator's.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Only where neither the generator nor the images tell it.
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        TypeError
            If the estimator can't interpolate.
        """
        if not hasattr(estimator, "interpolate"):
            raise TypeError(
                f"{type(estimator).__name__} has no interpolate; expected a fitted generator that "
                "has. Series that are there already go to from_images."
            )
        images = [
            estimator.interpolate(start, end, n_images, random_state=random_state)
            for start, end in pairs
        ]
        return cls.from_images(images, pairs, **look_of(estimator, image_shape), ax=ax, cmap=cmap)

    @classmethod
    def from_images(
        cls,
        X: Sequence[ArrayLike],
        pairs: Sequence[tuple[Any, Any]],
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw series that are there already.

        Parameters
        ----------
        X : sequence of length n_pairs
            For each pair a series of images, as rows or image arrays, at even steps.
        pairs : sequence of (start, end)
            Labels.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Of rows that are no one-channel squares.
        value_range : tuple (low, high), default=None
            Black and white; None takes (0, 1), or minimum and maximum of all images where values
            lie outside of it.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        ValueError
            If there are not as many series as pairs, or their lengths differ.
        """
        images = series_of(X, len(pairs), image_shape)
        display = cls(images=images, pairs=pairs, value_range=shared_range(value_range, images))
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw a row for each pair.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : InterpolationDisplay
        """
        shares = np.linspace(0, 100, self.images.shape[1])
        grid = Grid(
            [list(series) for series in self.images],
            self.value_range,
            row_labels=[f"{start} → {end}" for start, end in self.pairs],
            column_labels=[f"{share:.0f}%" for share in shares],
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self

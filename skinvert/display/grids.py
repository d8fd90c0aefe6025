"""Images in a row for each class."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinvert.delegation import generate
from skinvert.display.asking import classes_of, look_of
from skinvert.display.drawing import Grid, draw_grid
from skinvert.display.images import images_of, shared_range

__all__ = ["ImageGridDisplay"]


class ImageGridDisplay:
    """Images in a row for each class.

    Made by `from_estimator` or `from_images`.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W)
        What is drawn, row after row.
    labels : ndarray of shape (n,)
        Names of the rows; equal labels share one.
    value_range : tuple (low, high)
        Black and white, the same for all images.
    column_labels : sequence, default=()
        Written above the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skinvert.datasets import load_digits_images
    >>> from skinvert.display import ImageGridDisplay
    >>> X, y = load_digits_images(return_X_y=True)
    >>> display = ImageGridDisplay.from_images(X[:50], y[:50])
    >>> len(display.ax_.images)
    50
    """

    def __init__(
        self,
        *,
        images: NDArray[Any],
        labels: NDArray[Any],
        value_range: tuple[float, float],
        column_labels: Sequence[Any] | NDArray[Any] = (),
    ) -> None:
        self.images = images
        self.labels = labels
        self.value_range = value_range
        self.column_labels = column_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        classes: ArrayLike | None = None,
        n_per_class: int = 10,
        random_state: int | np.random.RandomState | None = None,
        image_shape: Sequence[int] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Generate images of every class and draw them.

        Parameters
        ----------
        estimator : fitted generator, Pipeline that ends in one, or search over either
            Asked for images by :func:`skinvert.generate`.
        classes : array-like of shape (n_classes,), default=None
            Labels to show; all of them if None.
        n_per_class : int, default=10
            Images in a row.
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
        display : ImageGridDisplay
        """
        labels = np.repeat(classes_of(estimator, classes), n_per_class)
        images = generate(estimator, labels, random_state=random_state)
        return cls.from_images(images, labels, **look_of(estimator, image_shape), ax=ax, cmap=cmap)

    @classmethod
    def from_images(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        column_labels: Sequence[Any] | NDArray[Any] = (),
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw images that are there already.

        Parameters
        ----------
        X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        y : array-like of shape (n,)
            Rows follow the order in which labels appear first.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Of rows that are no one-channel squares.
        value_range : tuple (low, high), default=None
            Black and white; None takes (0, 1), or minimum and maximum of all images where values
            lie outside of it.
        column_labels : sequence, default=()
            Written above the columns.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : ImageGridDisplay

        Raises
        ------
        ValueError
            If X and y differ in length, or X can't be read as images.
        """
        images, labels = images_of(X, image_shape), np.asarray(y)
        if labels.shape != (len(images),) or not len(images):
            raise ValueError(
                f"y must hold one label an image and at least one, got shape {labels.shape} for "
                f"{len(images)} images."
            )
        display = cls(
            images=images,
            labels=labels,
            value_range=shared_range(value_range, images),
            column_labels=column_labels,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : ImageGridDisplay
        """
        classes = list(dict.fromkeys(self.labels.tolist()))
        grid = Grid(
            [list(self.images[self.labels == label]) for label in classes],
            self.value_range,
            row_labels=classes,
            column_labels=self.column_labels,
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self

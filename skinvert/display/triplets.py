"""Generated images between a reference and the training image nearest to them."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import pairwise_distances_argmin_min

from skinvert.delegation import generate
from skinvert.display.asking import classes_of, look_of
from skinvert.display.drawing import Grid, draw_grid
from skinvert.display.images import check_alike, images_of, shared_range
from skinvert.layout import flatten_images

__all__ = ["TripletDisplay"]


class TripletDisplay:
    """Reference, generated image and the training image nearest to it, one above the other.

    A generator that copies its training images is seen at a glance: the second and third row are
    then alike. Nearest is meant in pixels, by the Euclidean distance.

    Made by `from_estimator` or `from_images`.

    Parameters
    ----------
    references, generated, nearest : ndarray of shape (n, C, H, W)
        Real images, generated ones, and the training images nearest to those.
    distances : ndarray of shape (n,)
        From the generated images to their nearest training images.
    value_range : tuple (low, high)
        Black and white, the same for all images.
    labels : sequence, default=()
        Written above the columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skinvert.datasets import load_digits_images
    >>> from skinvert.display import TripletDisplay
    >>> X, y = load_digits_images(return_X_y=True)
    >>> display = TripletDisplay.from_images(X[:4], X[10:14], X[10:], labels=y[:4])
    >>> display.distances.tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        *,
        references: NDArray[Any],
        generated: NDArray[Any],
        nearest: NDArray[Any],
        distances: NDArray[Any],
        value_range: tuple[float, float],
        labels: Sequence[Any] | NDArray[Any] = (),
    ) -> None:
        self.references = references
        self.generated = generated
        self.nearest = nearest
        self.distances = distances
        self.value_range = value_range
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        image_shape: Sequence[int] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Generate an image of every class and draw it between a reference and its neighbour.

        Parameters
        ----------
        estimator : fitted generator, Pipeline that ends in one, or search over either
            Asked for images by :func:`skinvert.generate`.
        X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
            The rows that the generator was fitted on.
        y : array-like of shape (n,)
            The first row of every class is its reference.
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
        display : TripletDisplay

        Raises
        ------
        ValueError
            If a class has no row.
        """
        labels, row_labels = classes_of(estimator, classes), np.asarray(y)
        missing = sorted(set(labels.tolist()) - set(row_labels.tolist()), key=str)
        if missing:
            raise ValueError(
                f"y holds no row of {missing[:5]}, so that they have no reference. Leave them out "
                "with classes=."
            )
        rows = np.asarray(flatten_images(X)[0])
        generated = generate(estimator, labels, random_state=random_state)
        look = look_of(estimator, image_shape)
        if look["image_shape"] is None and np.ndim(X) > 2:
            look["image_shape"] = np.shape(X)[1:]
        return cls.from_images(
            rows[[np.flatnonzero(row_labels == label)[0] for label in labels]],
            generated,
            rows,
            labels=labels,
            **look,
            ax=ax,
            cmap=cmap,
        )

    @classmethod
    def from_images(
        cls,
        references: ArrayLike,
        generated: ArrayLike,
        X: ArrayLike,
        *,
        labels: Sequence[Any] | NDArray[Any] = (),
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw images that are there already beside their nearest neighbours in X.

        Parameters
        ----------
        references, generated : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
            Real images, and a generated one for each.
        X : array-like of shape (n_rows, n_features), (n_rows, H, W) or (n_rows, C, H, W)
            Training rows.
        labels : sequence of length n, default=()
            Written above the columns.
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
        display : TripletDisplay

        Raises
        ------
        ValueError
            If the images differ in number or shape.
        """
        known = images_of(references, image_shape, "references")
        made = images_of(generated, image_shape, "generated")
        training = images_of(X, image_shape)
        check_alike(known, made, "references", "generated")
        check_alike(training[:1], made[:1], "X", "generated")
        index, distances = pairwise_distances_argmin_min(
            made.reshape(len(made), -1), training.reshape(len(training), -1)
        )
        display = cls(
            references=known,
            generated=made,
            nearest=training[index],
            distances=distances,
            value_range=shared_range(value_range, known, made, training[index]),
            labels=labels,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw a column for each triplet.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : TripletDisplay
        """
        grid = Grid(
            [list(self.references), list(self.generated), list(self.nearest)],
            self.value_range,
            row_labels=("reference", "generated", "nearest"),
            column_labels=self.labels,
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self

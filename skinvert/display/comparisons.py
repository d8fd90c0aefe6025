"""Images beside those they came from: combinations and counterfactuals."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skinvert.display.drawing import Grid, draw_grid
from skinvert.display.images import check_alike, images_of, series_of, shared_range

__all__ = ["CombinationDisplay", "CounterfactualDisplay"]


class CombinationDisplay:
    """What images make with one another, as a matrix.

    On its left and above it stand the images that are combined, as in Figures 8 to 11 of ReGene.
    Made by `from_images`.

    Parameters
    ----------
    row_images : ndarray of shape (n_rows, C, H, W)
        Left of the matrix.
    column_images : ndarray of shape (n_columns, C, H, W)
        Above it.
    combined : ndarray of shape (n_rows, n_columns, C, H, W)
        One combination for each pair of them.
    value_range : tuple (low, high)
        Black and white, the same for all images.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skinvert.datasets import load_digits_images
    >>> from skinvert.display import CombinationDisplay
    >>> X, _ = load_digits_images(return_X_y=True)
    >>> rows, columns = X[:2], X[2:5]
    >>> display = CombinationDisplay.from_images(rows, columns, (rows[:, None] + columns) / 2)
    >>> display.combined.shape
    (2, 3, 1, 8, 8)
    """

    def __init__(
        self,
        *,
        row_images: NDArray[Any],
        column_images: NDArray[Any],
        combined: NDArray[Any],
        value_range: tuple[float, float],
    ) -> None:
        self.row_images = row_images
        self.column_images = column_images
        self.combined = combined
        self.value_range = value_range

    @classmethod
    def from_images(
        cls,
        row_images: ArrayLike,
        column_images: ArrayLike,
        combined: Sequence[Any] | NDArray[Any],
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw images that are there already.

        Parameters
        ----------
        row_images, column_images : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
            What is combined: one row, and one column of the picture for each.
        combined : sequence of length n_rows
            For each of `row_images` its combinations with all of `column_images`.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Of rows that are no one-channel squares.
        value_range : tuple (low, high), default=None
            Black and white; None takes (0, 1), or minimum and maximum of all images where values
            lie outside of it.
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : CombinationDisplay

        Raises
        ------
        ValueError
            If the numbers or shapes of the images disagree.
        """
        rows = images_of(row_images, image_shape, "row_images")
        columns = images_of(column_images, image_shape, "column_images")
        series = series_of(combined, len(rows), image_shape, "combined")
        check_alike(series[0], columns, "combined[0]", "column_images")
        check_alike(rows[:1], columns[:1], "row_images", "column_images")
        display = cls(
            row_images=rows,
            column_images=columns,
            combined=series,
            value_range=shared_range(value_range, rows, columns, series),
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : CombinationDisplay
        """
        rows = zip(self.row_images, self.combined, strict=True)
        grid = Grid(
            [[None, *self.column_images], *([image, *series] for image, series in rows)],
            self.value_range,
            wide_gaps=(1, 1),
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self


class CounterfactualDisplay:
    """Images before and after a change, and the difference, with the region that may change.

    The difference has a scale of its own, the same for all rows and symmetric about zero: red is
    more, blue is less. In colour images it is that of the channel that changes most.

    Made by `from_images`.

    Parameters
    ----------
    before, after : ndarray of shape (n, C, H, W)
        The images, and what became of them.
    value_range : tuple (low, high)
        Black and white, the same for all images.
    masks : ndarray of bool of shape (n, H, W), default=None
        Regions that are outlined.
    labels : sequence, default=()
        Written beside the rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skinvert.datasets import load_digits_images
    >>> from skinvert.display import CounterfactualDisplay
    >>> X, _ = load_digits_images(return_X_y=True)
    >>> display = CounterfactualDisplay.from_images(X[:2], X[2:4], labels=["0 → 2", "1 → 3"])
    >>> len(display.ax_.images)
    6
    """

    def __init__(
        self,
        *,
        before: NDArray[Any],
        after: NDArray[Any],
        value_range: tuple[float, float],
        masks: NDArray[np.bool_] | None = None,
        labels: Sequence[Any] | NDArray[Any] = (),
    ) -> None:
        self.before = before
        self.after = after
        self.value_range = value_range
        self.masks = masks
        self.labels = labels

    @classmethod
    def from_images(
        cls,
        before: ArrayLike,
        after: ArrayLike,
        *,
        masks: ArrayLike | None = None,
        labels: Sequence[Any] | NDArray[Any] = (),
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        ax: Any = None,
        cmap: Any = "gray",
    ) -> Self:
        """Draw images that are there already.

        Parameters
        ----------
        before, after : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
            The images, and what became of them.
        masks : array-like of shape (n, H * W) or (n, H, W), default=None
            True, or at least 0.5, where a change is allowed; outlined.
        labels : sequence of length n, default=()
            Written beside the rows.
        image_shape : tuple (H, W) or (C, H, W), default=None
            Of rows that are no one-channel squares.
        value_range : tuple (low, high), default=None
            Black and white; None takes (0, 1), or minimum and maximum of all images where values
            lie outside of it.
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        display : CounterfactualDisplay

        Raises
        ------
        ValueError
            If the images differ in number or shape, or the masks don't fit.
        """
        images = images_of(before, image_shape, "before")
        changed = images_of(after, image_shape, "after")
        check_alike(images, changed, "before", "after")
        regions = None
        if masks is not None:
            n, _, height, width = images.shape
            given = np.shape(masks)
            if given not in ((n, height, width), (n, height * width), (n, 1, height, width)):
                raise ValueError(
                    f"masks must have shape {(n, height, width)} or {(n, height * width)}, got "
                    f"{given}."
                )
            regions = np.asarray(masks).reshape(n, height, width) >= 0.5
        display = cls(
            before=images,
            after=changed,
            value_range=shared_range(value_range, images, changed),
            masks=regions,
            labels=labels,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "gray") -> Self:
        """Draw a row for each image.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure that fits.
        cmap : str or Colormap, default="gray"
            Of one-channel images.

        Returns
        -------
        self : CounterfactualDisplay
        """
        change = self.after - self.before
        largest = np.abs(change).argmax(axis=1, keepdims=True)
        change = np.take_along_axis(change, largest, axis=1)
        outlines = None if self.masks is None else [[mask, mask, mask] for mask in self.masks]
        grid = Grid(
            [list(row) for row in zip(self.before, self.after, change, strict=True)],
            self.value_range,
            row_labels=self.labels,
            column_labels=("before", "after", "difference"),
            signed_column=2,
            outlines=outlines,
        )
        self.ax_ = draw_grid(grid, ax, cmap)
        self.figure_ = self.ax_.figure
        return self

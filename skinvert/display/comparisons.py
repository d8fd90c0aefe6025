"""Images beside those they came from: combinations and counterfactuals."""

import numpy as np

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

    def __init__(self, *, row_images, column_images, combined, value_range):
        self.row_images = row_images
        self.column_images = column_images
        self.combined = combined
        self.value_range = value_range

    @classmethod
    def from_images(
        cls,
        row_images,
        column_images,
        combined,
        *,
        image_shape=None,
        value_range=None,
        ax=None,
        cmap="gray",
    ):
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
        row_images = images_of(row_images, image_shape, "row_images")
        column_images = images_of(column_images, image_shape, "column_images")
        combined = series_of(combined, len(row_images), image_shape, "combined")
        check_alike(combined[0], column_images, "combined[0]", "column_images")
        check_alike(row_images[:1], column_images[:1], "row_images", "column_images")
        display = cls(
            row_images=row_images,
            column_images=column_images,
            combined=combined,
            value_range=shared_range(value_range, row_images, column_images, combined),
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax=None, cmap="gray"):
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

    def __init__(self, *, before, after, value_range, masks=None, labels=()):
        self.before = before
        self.after = after
        self.value_range = value_range
        self.masks = masks
        self.labels = labels

    @classmethod
    def from_images(
        cls,
        before,
        after,
        *,
        masks=None,
        labels=(),
        image_shape=None,
        value_range=None,
        ax=None,
        cmap="gray",
    ):
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
        before = images_of(before, image_shape, "before")
        after = images_of(after, image_shape, "after")
        check_alike(before, after, "before", "after")
        if masks is not None:
            n, _, height, width = before.shape
            given = np.shape(masks)
            if given not in ((n, height, width), (n, height * width), (n, 1, height, width)):
                raise ValueError(
                    f"masks must have shape {(n, height, width)} or {(n, height * width)}, got "
                    f"{given}."
                )
            masks = np.asarray(masks).reshape(n, height, width) >= 0.5
        display = cls(
            before=before,
            after=after,
            value_range=shared_range(value_range, before, after),
            masks=masks,
            labels=labels,
        )
        return display.plot(ax=ax, cmap=cmap)

    def plot(self, *, ax=None, cmap="gray"):
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

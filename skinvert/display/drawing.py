"""The one way in which displays draw images: a labelled grid on one pair of axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "draw_grid", "require_matplotlib"]

_GAP = 0.08  # between cells, in sides of a cell
_WIDE_GAP = 0.25
_PIXELS_PER_INCH = 90
_LEAST_CELLS, _LARGEST_CELL, _LEAST_GRID, _WIDEST_FIGURE = (0.55, 1.0), 2.0, 5.5, 14.0  # inches
_INCHES_PER_LETTER, _LABEL_ROOM, _PAD = 0.085, 4.0, 0.06
_FRAME = "0.75"
_OUTLINE = "tab:orange"


def require_matplotlib():
    """matplotlib.pyplot, or an error that says how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            'displays need matplotlib, which is not installed: pip install "skinvert[plot]".'
        ) from None
    return plt


@dataclass
class Grid:
    """Images in rows and columns, and what stands beside them.

    Attributes
    ----------
    cells : list of list of (ndarray of shape (C, H, W) or None)
        None leaves a place empty.
    value_range : tuple (low, high)
    row_labels, column_labels : sequence
        Empty where there is nothing to say.
    column_title : str
        What the column labels are.
    wide_gaps : tuple (n_rows, n_columns)
        A wider gap follows this many rows and columns; 0 for none.
    signed_column : int or None
        Its cells hold signed differences, drawn on their own symmetric scale.
    outlines : list of list of (ndarray of bool of shape (H, W) or None), or None
        Regions to outline, as `cells`.
    """

    cells: list
    value_range: tuple
    row_labels: Sequence[Any] | NDArray[Any] = ()
    column_labels: Sequence[Any] | NDArray[Any] = ()
    column_title: str = ""
    wide_gaps: tuple = (0, 0)
    signed_column: int | None = None
    outlines: list | None = None

    @property
    def image_size(self):
        """Height and width of the images, in pixels."""
        return next(cell.shape[1:] for row in self.cells for cell in row if cell is not None)

    def corners(self):
        """Upper edges of rows and left edges of columns, and the whole extent, in pixels."""
        height, width = self.image_size
        edges = []
        for count, wide_after, side in zip(
            (len(self.cells), max(map(len, self.cells))),
            self.wide_gaps,
            (height, width),
            strict=True,
        ):
            places = np.arange(count) * side
            gaps = np.arange(count) * _GAP * min(height, width)
            if wide_after:
                gaps[wide_after:] += (_WIDE_GAP - _GAP) * min(height, width)
            edges.append(places + gaps)
        return (*edges, np.array([edges[0][-1] + height, edges[1][-1] + width]))


def draw_grid(grid, ax, cmap):
    """Draw a grid on one pair of axes.

    Parameters
    ----------
    grid : Grid
    ax : matplotlib Axes or None
        None makes a figure that fits.
    cmap : str or Colormap
        Of one-channel images.

    Returns
    -------
    ax : matplotlib Axes
    """
    tops, lefts, extent = grid.corners()
    inches = None
    if ax is None:
        inches = _inches_of(grid, extent)
        ax = _axes_of_size(inches)
    height, width = grid.image_size
    limit = _largest_difference(grid)
    for index, (row, top) in enumerate(zip(grid.cells, tops, strict=True)):
        for column, (cell, left) in enumerate(zip(row, lefts[: len(row)], strict=True)):
            if cell is None:
                continue
            box = (left, left + width, top + height, top)
            if column == grid.signed_column:
                ax.imshow(cell[0], extent=box, cmap="RdBu_r", vmin=-limit, vmax=limit)
            else:
                _show(ax, cell, box, cmap, grid.value_range)
            ax.add_patch(_frame(left, top, width, height))
            if grid.outlines is not None and grid.outlines[index][column] is not None:
                ax.add_collection(_outline(grid.outlines[index][column], left, top))
    # Inches a column will have, once the aspect is right.
    room = width * min(ax.bbox.size / extent[::-1]) / ax.figure.dpi
    _label(ax, grid, tops + height / 2, lefts + width / 2, room)
    margin = 0.02 * min(height, width)
    ax.set(xlim=(-margin, extent[1] + margin), ylim=(extent[0] + margin, -margin), aspect="equal")
    if inches is not None:
        _cut_to_labels(ax, inches)
    return ax


def _inches_of(grid, extent):
    """Width and height of the grid in a figure of its own."""
    height, width = grid.image_size
    # Few images may be larger, so that labels stand side by side.
    least = np.clip(_LEAST_GRID / max(len(grid.cells), *map(len, grid.cells)), *_LEAST_CELLS)
    cell = np.clip(max(height, width) / _PIXELS_PER_INCH, least, _LARGEST_CELL)
    return extent[::-1] * min(cell / max(height, width), _WIDEST_FIGURE / extent.max())


def _axes_of_size(inches):
    # Labels are measured before the figure is cut to them: there is room for long ones.
    figure = require_matplotlib().figure(figsize=inches + 2 * _LABEL_ROOM, layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    _place(ax, (_LABEL_ROOM, _LABEL_ROOM), inches)
    return ax


def _place(ax, corner, inches):
    """Set the lower left corner and the size of axes in inches."""
    whole = ax.figure.get_size_inches()
    ax.set_position((*(corner / whole), *(inches / whole)))


def _cut_to_labels(ax, inches):
    """Make the figure as large as the grid and its labels, whatever the fonts."""
    box = ax.get_tightbbox().transformed(ax.figure.dpi_scale_trans.inverted())
    ax.figure.set_size_inches(np.array(box.size) + 2 * _PAD)
    _place(ax, _LABEL_ROOM - np.array(box.min) + _PAD, inches)


def _show(ax, image, box, cmap, value_range):
    low, high = value_range
    if len(image) == 1:
        ax.imshow(image[0], extent=box, cmap=cmap, vmin=low, vmax=high)
    else:
        # matplotlib takes colours in [0, 1] only, and the channels last.
        colours = np.clip((image - low) / (high - low), 0, 1)
        ax.imshow(np.moveaxis(colours, 0, -1), extent=box)


def _largest_difference(grid):
    if grid.signed_column is None:
        return None
    column = [row[grid.signed_column] for row in grid.cells]
    return max(float(np.abs(cell).max()) for cell in column) or 1.0


def _frame(left, top, width, height):
    from matplotlib.patches import Rectangle

    style = {"fill": False, "edgecolor": _FRAME, "linewidth": 0.6, "clip_on": False}
    return Rectangle((left, top), width, height, **style)


def _outline(region, left, top):
    """Edges between the pixels of a region and those around it."""
    from matplotlib.collections import LineCollection

    padded = np.pad(np.asarray(region, dtype=np.int8), 1)
    lines = [[(x, y), (x + 1, y)] for y, x in np.argwhere(np.diff(padded, axis=0)[:, 1:-1])] + [
        [(x, y), (x, y + 1)] for y, x in np.argwhere(np.diff(padded, axis=1)[1:-1])
    ]
    lines = np.array(lines, dtype=float).reshape(-1, 2, 2) + np.array([left, top])
    return LineCollection(lines, colors=_OUTLINE, linewidths=1.5, capstyle="round", clip_on=False)


def _label(ax, grid, middles, centres, room):
    rows, columns = list(map(str, grid.row_labels)), list(map(str, grid.column_labels))
    slanted = max(map(len, columns), default=0) * _INCHES_PER_LETTER > room
    ax.set_yticks(middles[: len(rows)], rows)
    ax.set_xticks(
        centres[: len(columns)],
        columns,
        rotation=40 if slanted else 0,
        ha="left" if slanted else "center",
        rotation_mode="anchor",
    )
    ax.set_xlabel(grid.column_title)
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)

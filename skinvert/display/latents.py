"""What latents look like: barcodes, bars and maps (ReGene, Figures 4, 5 and B.18 to B.20)."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline

from skinvert.display.asking import generator_of
from skinvert.display.drawing import require_matplotlib

__all__ = ["LatentBarcodeDisplay", "LatentMapDisplay"]

_SILENT = 0.01  # of the largest value: smaller ones count as zeros
_GAP = 0.15  # between classes, in heights of one


class LatentBarcodeDisplay:
    """Latents of each class as a barcode: a line for each row, a column for each value.

    Under ``kind="bars"`` each class has one bar a column, its mean.

    Made by `from_estimator` or `from_latents`.

    Parameters
    ----------
    latents : list of ndarray of shape (n_rows, n_latents)
        Of each class.
    labels : sequence
        Names of the classes, in the order of `latents`.

    Attributes
    ----------
    sparsity : ndarray of shape (n_classes,)
        Share of each class's values that are below 1 % of the largest of all.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.display import LatentBarcodeDisplay
    >>> latents = np.array([[0.0, 1.0], [0.0, 2.0], [1.0, 0.5]])
    >>> LatentBarcodeDisplay.from_latents(latents, ["a", "a", "b"]).sparsity.tolist()
    [0.5, 0.0]
    """

    def __init__(
        self, *, latents: Sequence[NDArray[Any]], labels: Sequence[Any] | NDArray[Any]
    ) -> None:
        self.latents = latents
        self.labels = labels
        largest = max(float(np.abs(rows).max()) for rows in latents)
        self.sparsity = np.array([np.mean(np.abs(rows) <= _SILENT * largest) for rows in latents])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        kind: Literal["barcode", "bars"] = "barcode",
        ax: Any = None,
        cmap: Any = "gray_r",
    ) -> Self:
        """Draw the latents that a fitted generator gives to rows.

        Parameters
        ----------
        estimator : fitted generator with ``transform``, Pipeline that ends in one, or search
            Gives the latents.
        X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        y : array-like of shape (n,)
        kind : {"barcode", "bars"}, default="barcode"
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="gray_r"
            Of the strips; bars have none.

        Returns
        -------
        display : LatentBarcodeDisplay
        """
        return cls.from_latents(_latents_of(estimator, X), y, kind=kind, ax=ax, cmap=cmap)

    @classmethod
    def from_latents(
        cls,
        latents: ArrayLike,
        y: ArrayLike,
        *,
        kind: Literal["barcode", "bars"] = "barcode",
        ax: Any = None,
        cmap: Any = "gray_r",
    ) -> Self:
        """Draw latents that are there already.

        Parameters
        ----------
        latents : array-like of shape (n, n_latents)
            Of any encoder.
        y : array-like of shape (n,)
        kind : {"barcode", "bars"}, default="barcode"
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="gray_r"
            Of the strips; bars have none.

        Returns
        -------
        display : LatentBarcodeDisplay

        Raises
        ------
        ValueError
            If there are not as many labels as latents, or for another kind.
        """
        rows, row_labels = _checked(latents, y)
        labels = np.unique(row_labels)
        display = cls(latents=[rows[row_labels == label] for label in labels], labels=labels)
        return display.plot(kind=kind, ax=ax, cmap=cmap)

    def plot(
        self, *, kind: Literal["barcode", "bars"] = "barcode", ax: Any = None, cmap: Any = "gray_r"
    ) -> Self:
        """Draw a strip for each class.

        Parameters
        ----------
        kind : {"barcode", "bars"}, default="barcode"
        ax : matplotlib Axes, default=None
            None makes a figure.
        cmap : str or Colormap, default="gray_r"
            Of barcodes; its dark end stands for large values.

        Returns
        -------
        self : LatentBarcodeDisplay

        Raises
        ------
        ValueError
            For another kind.
        """
        if kind not in ("barcode", "bars"):
            raise ValueError(f"kind must be 'barcode' or 'bars', got {kind!r}.")
        n_classes, n_latents = len(self.latents), self.latents[0].shape[1]
        if ax is None:
            size = (7, 0.6 + 0.45 * n_classes)
            ax = require_matplotlib().subplots(figsize=size, layout="constrained")[1]
        low = min(float(rows.min()) for rows in self.latents)
        high = max(float(rows.max()) for rows in self.latents)
        means = [rows.mean(0) for rows in self.latents]
        tallest = max(float(np.abs(mean).max()) for mean in means) or 1.0
        for place, (rows, mean) in enumerate(zip(self.latents, means, strict=True)):
            top, bottom = place, place + 1 - _GAP
            if kind == "barcode":
                box = (0, n_latents, bottom, top)
                style = {"cmap": cmap, "vmin": low, "vmax": high, "interpolation": "nearest"}
                ax.imshow(rows, extent=box, aspect="auto", **style)
            else:
                heights = (bottom - top) * np.abs(mean) / tallest
                columns = np.arange(n_latents) + 0.5
                ax.bar(columns, -heights, bottom=bottom, width=1.0, color="0.2")
        ax.set_yticks(np.arange(n_classes) + (1 - _GAP) / 2, [str(label) for label in self.labels])
        ax.set(xlim=(0, n_latents), ylim=(n_classes, -_GAP), xlabel="latent")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class LatentMapDisplay:
    """Latents on a plane, a colour for each class: by t-SNE, or by any transformer to two columns.

    Made by `from_estimator` or `from_latents`.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        Places on the map.
    y : ndarray of shape (n,)

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from skinvert.display import LatentMapDisplay
    >>> latents = np.random.default_rng(0).normal(size=(20, 5))
    >>> LatentMapDisplay.from_latents(latents, np.arange(20) % 2, method=PCA(2)).points.shape
    (20, 2)
    """

    def __init__(self, *, points: NDArray[Any], y: NDArray[Any]) -> None:
        self.points = points
        self.y = y

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        method: Any = None,
        ax: Any = None,
        cmap: Any = "tab10",
    ) -> Self:
        """Draw the latents that a fitted generator gives to rows.

        Parameters
        ----------
        estimator : fitted generator with ``transform``, Pipeline that ends in one, or search
            Gives the latents.
        X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        y : array-like of shape (n,)
        method : transformer, default=None
            With ``fit_transform`` to two columns; cloned. None is ``TSNE(random_state=0)``.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="tab10"
            One colour a class.

        Returns
        -------
        display : LatentMapDisplay
        """
        return cls.from_latents(_latents_of(estimator, X), y, method=method, ax=ax, cmap=cmap)

    @classmethod
    def from_latents(
        cls,
        latents: ArrayLike,
        y: ArrayLike,
        *,
        method: Any = None,
        ax: Any = None,
        cmap: Any = "tab10",
    ) -> Self:
        """Draw latents that are there already.

        Parameters
        ----------
        latents : array-like of shape (n, n_latents)
            Of any encoder.
        y : array-like of shape (n,)
        method : transformer, default=None
            With ``fit_transform`` to two columns; cloned. None is ``TSNE(random_state=0)``.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.
        cmap : str or Colormap, default="tab10"
            One colour a class.

        Returns
        -------
        display : LatentMapDisplay

        Raises
        ------
        ValueError
            If there are not as many labels as latents, or the method gives no two columns.
        """
        rows, labels = _checked(latents, y)
        method = TSNE(random_state=0) if method is None else clone(method)
        points = np.asarray(method.fit_transform(rows))
        if points.shape != (len(rows), 2):
            raise ValueError(
                f"{type(method).__name__} gives {points.shape}, expected ({len(rows)}, 2); set "
                "its n_components=2."
            )
        return cls(points=points, y=labels).plot(ax=ax, cmap=cmap)

    def plot(self, *, ax: Any = None, cmap: Any = "tab10") -> Self:
        """Draw a point for each row.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.
        cmap : str or Colormap, default="tab10"
            Its first colours are those of the classes, in their order.

        Returns
        -------
        self : LatentMapDisplay
        """
        plt = require_matplotlib()
        if ax is None:
            ax = plt.subplots(figsize=(5, 4), layout="constrained")[1]
        colours = plt.get_cmap(cmap)
        for place, label in enumerate(np.unique(self.y)):
            own = self.points[self.y == label]
            ax.scatter(*own.T, s=6, color=colours(place % colours.N), label=str(label))
        ax.legend(frameon=False, markerscale=2, bbox_to_anchor=(1, 1), loc="upper left")
        # Neither the place nor the unit of such a map means anything.
        ax.set(xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="datalim")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _latents_of(estimator, X):
    generator = generator_of(estimator)
    if not hasattr(generator, "transform"):
        raise TypeError(
            f"{type(generator).__name__} has no transform, and so no latents; expected a ReGene or "
            "another generator that has them. Latents that are there already go to from_latents."
        )
    final = getattr(estimator, "best_estimator_", estimator)
    return final.transform(X) if isinstance(final, Pipeline) else generator.transform(X)


def _checked(latents, y):
    latents, y = np.asarray(latents, dtype=float), np.asarray(y)
    if latents.ndim != 2 or y.shape != (len(latents),) or not len(y):
        raise ValueError(
            f"latents have shape {latents.shape} and y has shape {y.shape}; expected (n, "
            "n_latents) and (n,), one label a row."
        )
    return latents, y

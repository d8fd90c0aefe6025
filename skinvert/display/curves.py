"""Values of the losses along a fit or a generation."""

from typing import Any, Self

import numpy as np

from skinvert.display.asking import generator_of
from skinvert.display.drawing import require_matplotlib

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """Every term of a loss along steps or epochs.

    Where there is a curve for each image, the line is the median of those that still run and the
    band reaches from their first to their third quartile.

    Made by `from_estimator` or `from_history`.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_steps,) or (n_images, n_steps)
        Values of each term.
    unit : str, default="step"
        What is counted.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert import InputOptimizationGenerator
    >>> from skinvert.display import LossCurveDisplay
    >>> generator = InputOptimizationGenerator(LogisticRegression(), prior="mean", init="mean",
    ...     n_steps=20, random_state=0).fit(*load_digits(return_X_y=True))
    >>> _, info = generator.generate([3, 8], return_info=True)
    >>> sorted(LossCurveDisplay.from_history(info.history).lines_)
    ['cross_entropy', 'prior']
    """

    def __init__(self, *, history: dict, unit: str = "step") -> None:
        self.history = history
        self.unit = unit

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> "LossCurveDisplay":
        """Draw the training that ``fit`` has done.

        Parameters
        ----------
        estimator : fitted generator, Pipeline that ends in one, or search over either
            With a ``history_``: one whose ``fit`` trained a network.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If ``fit`` trained nothing.
        """
        generator = generator_of(estimator)
        history = getattr(generator, "history_", None)
        if not history:
            raise ValueError(
                f"the history_ of this {type(generator).__name__} is empty: fit trained no "
                "network. The terms of a generation are in info.history of "
                "generate(..., return_info=True); give them to from_history."
            )
        return cls.from_history(history, unit="epoch", ax=ax)

    @classmethod
    def from_history(
        cls, history: dict, *, unit: str = "step", ax: Any = None
    ) -> "LossCurveDisplay":
        """Draw given values.

        Parameters
        ----------
        history : dict of str to array-like of shape (n_steps,) or (n_images, n_steps)
            As ``history_``, or ``info.history`` of ``generate(..., return_info=True)``; NaN after
            an image's end.
        unit : str, default="step"
            What is counted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that fits.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ValueError
            If there is nothing to draw.
        """
        history = {name: np.asarray(values, dtype=float) for name, values in history.items()}
        shapes = {name: values.shape for name, values in history.items()}
        if not shapes or any(len(shape) not in (1, 2) or 0 in shape for shape in shapes.values()):
            raise ValueError(
                "history must hold arrays of shape (n_steps,) or (n_images, n_steps), none of "
                f"them empty; got {shapes}."
            )
        return cls(history=history, unit=unit).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw a curve for each term.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a figure.

        Returns
        -------
        self : LossCurveDisplay
        """
        if ax is None:
            ax = require_matplotlib().subplots(figsize=(6, 4), layout="constrained")[1]
        self.lines_ = {}
        for name, values in self.history.items():
            values = np.atleast_2d(values)
            running = np.isfinite(values).any(axis=0)
            steps = np.flatnonzero(running) + 1
            low, middle, high = np.nanpercentile(values[:, running], (25, 50, 75), axis=0)
            (self.lines_[name],) = ax.plot(steps, middle, label=name.replace("_", " "))
            if len(values) > 1:
                color = self.lines_[name].get_color()
                ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        ax.set(xlabel=self.unit, ylabel="loss")
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self

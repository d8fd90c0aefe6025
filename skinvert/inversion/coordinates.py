"""Coordinates in which densities of bounded pixels are fitted: logits instead of values."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

__all__ = ["LogitModule", "PixelLogit"]


class PixelLogit(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Map pixels to logits and back, so that what a density draws stays inside their range.

    Values are scaled from the range of the training data to :math:`[m, 1 - m]`, then
    :math:`u \mapsto \log\frac{u}{1-u}`. Gaussians fitted to ink on paper in pixel space draw grey
    halos and values that have to be clipped; in logits they draw ink and paper.

    Parameters
    ----------
    margin : float, default=0.02
        m, in (0, 0.5); larger is closer to a straight line.

    Attributes
    ----------
    low_, high_ : float
        Least and largest value of all pixels in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.coordinates import PixelLogit
    >>> X = np.array([[0.0, 8.0], [16.0, 4.0]])
    >>> logit = PixelLogit().fit(X)
    >>> logit.inverse_transform(logit.transform(X)).round(6).tolist()
    [[0.0, 8.0], [16.0, 4.0]]
    """

    def __init__(self, margin: float = 0.02) -> None:
        self.margin = margin

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the range of the values.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Training rows.
        y : object, default=None
            Not used.

        Returns
        -------
        self : PixelLogit

        Raises
        ------
        ValueError
            If `margin` does not lie between 0 and 0.5.
        """
        if not 0 < self.margin < 0.5:
            raise ValueError(f"margin must lie between 0 and 0.5, got {self.margin!r}.")
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        self.low_, self.high_ = float(rows.min()), float(rows.max())
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Values to logits.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Values outside the range of `fit` are moved to its ends.

        Returns
        -------
        logits : ndarray of shape (n, n_features)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self.to_torch()(torch.from_numpy(np.array(X))).numpy()

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Logits to values, inside the range of `fit`.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Logits, of any size.

        Returns
        -------
        values : ndarray of shape (n, n_features)
        """
        check_is_fitted(self)
        X = np.array(X, dtype=np.result_type(np.float32, np.asarray(X).dtype))
        return self.to_torch().inverse(torch.from_numpy(X)).numpy()

    def to_torch(self) -> "LogitModule":
        """The same map as a torch module with ``inverse``.

        Returns
        -------
        module : LogitModule
        """
        return LogitModule(self.low_, self.high_, self.margin)


class LogitModule(torch.nn.Module):
    """`PixelLogit` in torch.

    Parameters
    ----------
    low, high : float
    margin : float
    """

    def __init__(self, low: float, high: float, margin: float) -> None:
        super().__init__()
        self.low, self.high, self.margin = low, high, margin
        # Constant data have no range; any unit serves them.
        self.unit = (high - low) or 1.0

    def forward(self, rows: Tensor) -> Tensor:
        level = ((rows - self.low) / self.unit).clamp(0, 1)
        return torch.logit(self.margin + (1 - 2 * self.margin) * level)

    def inverse(self, logits: Tensor) -> Tensor:
        level = (torch.sigmoid(logits) - self.margin) / (1 - 2 * self.margin)
        return self.low + self.unit * level.clamp(0, 1)

"""Manifold Parzen windows: a density with a thin Gaussian along the data at every training row."""

from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from skinvert.inversion.randomness import RowNoise

__all__ = ["ManifoldParzen", "ManifoldParzenDensity"]

_COMPONENTS_AT_ONCE = 1024


class ManifoldParzen(DensityMixin, BaseEstimator):
    r"""Mixture of as many Gaussians as rows, each shaped by the row's nearest neighbours.

    With :math:`c_i` the mean of the neighbours :math:`x_{ij}` of row :math:`x_i`, component i is

    .. math:: N\big((1-s)\,x_i + s\,c_i,\;
        \tfrac{h^2}{m}\sum_j (x_{ij}-c_i)(x_{ij}-c_i)^\top + \sigma^2 I\big).

    A kernel density spreads its draws in all directions, nearly all of which leave the manifold of
    images; these windows are wide along it and thin across. Nothing is iterated: fitting is one
    search for neighbours.

    Parameters
    ----------
    n_neighbors : int, default=20
        m; bounded by the number of other rows.
    bandwidth : float, default=0.7
        h, as a fraction of the neighbours' own spread.
    shrinkage : float, default=0.15
        s, in [0, 1]: how far centres move from the row to the mean of its neighbours.
    noise : float, default=0.01
        σ² as a fraction of the neighbours' mean variance a feature.

    Attributes
    ----------
    points_ : ndarray of shape (n_samples, n_features)
    neighbors_ : ndarray of shape (n_samples, m)
        Rows' nearest neighbours, by index.
    noise_variance_ : float
        σ².
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)

    Notes
    -----
    Vincent and Bengio, "Manifold Parzen Windows", NIPS 2003, section 4, with neighbours weighted
    equally; the shift of the centres is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.parzen import ManifoldParzen
    >>> line = np.linspace(0, 1, 50)[:, None] * [1.0, 1.0]
    >>> density = ManifoldParzen(n_neighbors=5).fit(line)
    >>> on_the_line, beside = density.score_samples([[0.5, 0.5], [0.5, 0.6]])
    >>> bool(on_the_line > beside)
    True
    """

    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        bandwidth: float = 0.7,
        shrinkage: float = 0.15,
        noise: float = 0.01,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.bandwidth = bandwidth
        self.shrinkage = shrinkage
        self.noise = noise

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find every row's nearest neighbours.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : object, default=None
            Not used.

        Returns
        -------
        self : ManifoldParzen

        Raises
        ------
        ValueError
            For parameters out of their range.
        """
        if not (self.n_neighbors >= 1 and self.bandwidth > 0 and self.noise > 0):
            raise ValueError(
                "ManifoldParzen needs n_neighbors of at least 1 and positive bandwidth and noise, "
                f"got {self.n_neighbors!r}, {self.bandwidth!r} and {self.noise!r}."
            )
        if not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage must lie in [0, 1], got {self.shrinkage!r}.")
        rows = validate_data(self, X, dtype=[np.float64, np.float32])
        self.points_ = rows
        # A single row has no neighbour but itself, and is all noise.
        n_neighbors = min(self.n_neighbors, len(rows) - 1)
        if n_neighbors:
            search = NearestNeighbors(n_neighbors=n_neighbors).fit(rows)
            self.neighbors_ = search.kneighbors(return_distance=False)
        else:
            self.neighbors_ = np.zeros((1, 1), dtype=np.int64)
        # Differences from the neighbours' mean, without gathering all neighbours at once.
        spread = np.mean([np.var(rows[neighbors], axis=0).mean() for neighbors in self.neighbors_])
        self.noise_variance_ = self.noise * float(spread) or 1e-6
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Log-density of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.to_torch().double().log_prob(torch.from_numpy(np.array(X))).numpy()

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Sum of the rows' log-densities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to judge.
        y : object, default=None
            Not used.

        Returns
        -------
        log_likelihood : float
            In nats.
        """
        return float(self.score_samples(X).sum())

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[np.float64]:
        """Draw rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState or None, default=None
            Seed of the draws; None draws afresh at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        density, noise = self.to_torch().double(), RowNoise([seed])
        (component,) = density.choose(noise, n_samples)
        (normal,) = noise.normal(n_samples, density.n_coordinates)
        return density.place(component, normal.double()).numpy()

    def to_torch(self) -> "ManifoldParzenDensity":
        """The same density as a torch module.

        Returns
        -------
        density : ManifoldParzenDensity
        """
        return ManifoldParzenDensity(self)


class ManifoldParzenDensity(torch.nn.Module):
    """A fitted `ManifoldParzen` in torch.

    Its coordinates are those of a component: one along each neighbour, then the isotropic noise.

    Parameters
    ----------
    density : fitted ManifoldParzen
        Its rows and neighbours are copied.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.inversion.parzen import ManifoldParzen, ManifoldParzenDensity
    >>> line = np.linspace(0, 1, 50)[:, None] * [1.0, 1.0]
    >>> density = ManifoldParzenDensity(ManifoldParzen(n_neighbors=5).fit(line))
    >>> density.n_coordinates  # five neighbours and two features
    7
    >>> density.log_prob(torch.from_numpy(line)).shape
    torch.Size([50])
    """

    points: Tensor
    neighbors: Tensor

    def __init__(self, density: ManifoldParzen) -> None:
        super().__init__()
        self.register_buffer("points", torch.as_tensor(density.points_.copy()))
        self.register_buffer("neighbors", torch.as_tensor(density.neighbors_.copy()))
        n_neighbors = density.neighbors_.shape[1]
        self.width = density.bandwidth / n_neighbors**0.5
        self.shrinkage = density.shrinkage
        self.noise_variance = density.noise_variance_
        self.n_coordinates = n_neighbors + density.points_.shape[1]

    def choose(self, noise: RowNoise, n: int) -> Tensor:
        """Draw components, all equally likely.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.
        n : int
            Draws a slot.

        Returns
        -------
        component : LongTensor of shape (n_slots, n)
        """
        n_points = len(self.points)
        drawn = (noise.uniform(n).double() * n_points).long()
        return drawn.clamp_max(n_points - 1).to(self.points.device)

    def place(self, component: Tensor, normal: Tensor) -> Tensor:
        """Points of components at standard normal coordinates.

        Parameters
        ----------
        component : LongTensor of shape (n,)
            As drawn by `choose` for one slot.
        normal : Tensor of shape (n, n_coordinates)
            One value along each neighbour, then one for each feature.

        Returns
        -------
        points : Tensor of shape (n, n_features)
        """
        centre, factor = self._component(component)
        n_neighbors = factor.shape[1]
        along = torch.einsum("nmd,nm->nd", factor, normal[:, :n_neighbors])
        return centre + along + self.noise_variance**0.5 * normal[:, n_neighbors:]

    def _component(self, component):
        """Centres (n, d) and square roots (n, m, d) of the windows' covariances, noise aside."""
        neighbors = self.points[self.neighbors[component]]
        mean = neighbors.mean(1)
        centre = (1 - self.shrinkage) * self.points[component] + self.shrinkage * mean
        return centre, self.width * (neighbors - mean[:, None])

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density of points.

        Parameters
        ----------
        points : Tensor of shape (n, n_features)
            In the coordinates that the density was fitted in.

        Returns
        -------
        log_density : Tensor of shape (n,)
            In nats.
        """
        every = torch.arange(len(self.points), device=self.points.device)
        parts = [self._log_windows(points, some) for some in every.split(_COMPONENTS_AT_ONCE)]
        return torch.logsumexp(torch.cat(parts, dim=1), dim=1) - np.log(len(every))

    def _log_windows(self, points, component):
        """Log-density (n, n_components) of single windows, by the Woodbury identity."""
        centre, factor = self._component(component)
        variance, (n_neighbors, n_dims) = self.noise_variance, factor.shape[1:]
        inner = factor @ factor.transpose(1, 2)
        inner = inner + variance * torch.eye(n_neighbors, dtype=inner.dtype, device=inner.device)
        root = torch.linalg.cholesky(inner)
        difference = points[:, None] - centre
        projected = torch.einsum("kmd,nkd->kmn", factor, difference)
        explained = torch.linalg.solve_triangular(root, projected, upper=False).square().sum(1).T
        square = (difference.square().sum(2) - explained) / variance
        log_det = 2 * torch.diagonal(root, dim1=1, dim2=2).log().sum(1)
        log_det = log_det + (n_dims - n_neighbors) * np.log(variance)
        return -0.5 * (square + log_det + n_dims * np.log(2 * np.pi))

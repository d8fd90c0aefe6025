r"""New latents of a class from those that are there: combined, or drawn from a density.

Section numbers are those of ReGene, Neurocomputing 471, 2022. Every sampler turns numbers, which
belong to one row, into one latent of whatever class is asked for, so that mixtures and strips of
classes can share them.
"""

import numpy as np
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skinvert.models.latent_flow import FlowSampler
from skinvert.models.training import pinned_threads

__all__ = ["ConvexSampler", "MixtureSampler", "check_ratios", "make_sampler"]

_SUM_TOLERANCE = 1e-3
_ROWS_AT_ONCE = 4096


def check_ratios(ratios, n):
    """Validate convex ratios.

    Parameters
    ----------
    ratios : array-like of shape (n,) or (m, n)
    n : int
        Number of latents that are combined.

    Returns
    -------
    ratios : ndarray of shape (n,) or (m, n), float64
        Each row sums to one exactly.

    Raises
    ------
    ValueError
        For a wrong length, negative ratios and rows that do not sum to one.

    Examples
    --------
    >>> from skinvert.models.latent_samplers import check_ratios
    >>> check_ratios([0.25, 0.75], 2)
    array([0.25, 0.75])
    """
    ratios = np.asarray(ratios, dtype=np.float64)
    if ratios.ndim not in (1, 2) or ratios.shape[-1] != n:
        raise ValueError(
            f"ratios have shape {ratios.shape}, expected ({n},) or (m, {n}): one for each of the "
            f"{n} latents that are combined."
        )
    totals = ratios.sum(-1, keepdims=True)
    if not np.isfinite(ratios).all() or (ratios < 0).any():
        raise ValueError(
            f"ratios must be non-negative, got {ratios.tolist()}: only convex combinations are "
            "sure to keep their class (Lemma 1)."
        )
    if (np.abs(totals - 1) > _SUM_TOLERANCE).any():
        raise ValueError(
            f"ratios must sum to one, got {totals.ravel()[:5].tolist()}: only convex combinations "
            "are sure to keep their class (Lemma 1). Divide them by their sum."
        )
    return ratios / totals


class ConvexSampler:
    r"""Convex combinations of latents of one class (3.3), or the same with their spread restored.

    With independent latents the covariance of :math:`\sum_i a_i z_i` is that of the class times
    :math:`\sum_i a_i^2`: 1/n for equal ratios, and 2/(n+1) on average for Dirichlet(1, …, 1).

    Parameters
    ----------
    latents : ndarray of shape (n_rows, n_latents)
    columns : ndarray of int of shape (n_rows,)
    sound : ndarray of bool of shape (n_rows,), default=None
        Rows that a linear layer gives their class. Lemma 1 is about these, and these alone are
        combined, as long as a class has `n_combine` of them. None means all.
    n_combine : int, default=2
    ratios : {"uniform", "dirichlet"} or array-like of shape (n_combine,), default="uniform"
        "uniform" is 1/n for each (3.4); "dirichlet" draws them uniformly from the simplex.
    matched : bool, default=False
        Divide each combination's distance from the class mean by :math:`\sqrt{\sum_i a_i^2}`,
        which gives back the covariance of the class. Such latents are no convex combinations.

    Raises
    ------
    ValueError
        For bad ratios, and, once it is asked for, for a class with fewer rows than `n_combine`.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.models.latent_samplers import ConvexSampler
    >>> sampler = ConvexSampler(np.array([[0.0], [2.0]]), np.array([0, 0]))
    >>> sampler.latents(sampler.numbers(RowNoise([1])), np.array([0]))
    array([[1.]])
    """

    def __init__(
        self, latents, columns, *, sound=None, n_combine=2, ratios="uniform", matched=False
    ):
        self.pool, self.n_combine, self.matched = latents, n_combine, matched
        if isinstance(ratios, str):
            self.ratios = np.full(n_combine, 1 / n_combine) if ratios == "uniform" else None
        else:
            self.ratios = check_ratios(ratios, n_combine)
            if self.ratios.ndim == 2:
                raise ValueError(
                    f"ratios has shape {self.ratios.shape}; give 'uniform', 'dirichlet', or one "
                    f"list of {n_combine}, and combine() for named images."
                )
        self.members = {}
        for column in np.unique(columns):
            of_class = np.flatnonzero(columns == column)
            those_sound = of_class if sound is None else of_class[sound[of_class]]
            self.members[column] = those_sound if len(those_sound) >= n_combine else of_class
        if matched:
            self.means = {
                column: latents[rows].mean(0, dtype=np.float64)
                for column, rows in self.members.items()
            }

    def check_class(self, column, label):
        """Raise ValueError, which names the class, unless it has enough rows."""
        n_rows = len(self.members.get(column, ()))
        if n_rows < self.n_combine:
            raise ValueError(
                f"class {label!r} has {n_rows} rows in the data of fit, and n_combine="
                f"{self.n_combine} of them are combined; fit on more rows, or lower n_combine."
            )

    def numbers(self, noise):
        """Uniform numbers (n_slots, 2 n_combine), from each slot's own stream."""
        return noise.uniform(2 * self.n_combine).cpu().numpy().astype(np.float64)

    def latents(self, numbers, columns):
        """Latents (n, n_latents), float64, of classes `columns` from such numbers."""
        sources, ratios = self.recipes(numbers, columns)
        combined = (ratios[:, :, None] * self.pool[sources]).sum(1)
        if self.matched:
            means = np.stack([self.means[column] for column in columns])
            spread = np.sqrt(np.square(ratios).sum(1, keepdims=True))
            combined = means + (combined - means) / spread
        return combined

    def recipes(self, numbers, columns):
        """Rows (n, n_combine) that are combined, all different, and their ratios."""
        n = self.n_combine
        n_rows = np.array([len(self.members[column]) for column in columns])
        places = np.empty((len(columns), n), dtype=np.int64)
        for k in range(n):
            place = np.minimum((numbers[:, k] * (n_rows - k)).astype(np.int64), n_rows - k - 1)
            # Skip what was taken: draws are without replacement.
            for taken in np.sort(places[:, :k], axis=1).T:
                place += place >= taken
            places[:, k] = place
        sources = np.empty_like(places)
        for column in np.unique(columns):
            sources[columns == column] = self.members[column][places[columns == column]]
        if self.ratios is not None:
            return sources, np.broadcast_to(self.ratios, sources.shape)
        waits = -np.log1p(-numbers[:, n:])
        return sources, waits / waits.sum(1, keepdims=True)


class MixtureSampler:
    """A Gaussian mixture for each class, on principal components of the latents.

    Parameters
    ----------
    latents : ndarray of shape (n_rows, n_latents)
    columns : ndarray of int of shape (n_rows,)
    mixture : GaussianMixture
        Cloned for each class, with as many components as its rows allow: ten rows each.
    n_components : int, default=64
        Most principal components that are kept. What they leave out is set to the mean.
    seed : int, default=0

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.models.latent_samplers import MixtureSampler
    >>> pool = np.random.default_rng(0).normal(size=(50, 3))
    >>> sampler = MixtureSampler(pool, np.zeros(50, dtype=int), GaussianMixture(2))
    >>> sampler.latents(sampler.numbers(RowNoise([1, 2])), np.array([0, 0])).shape
    (2, 3)
    """

    def __init__(self, latents, columns, mixture, *, n_components=64, seed=0):
        n_kept = min(n_components, *latents.shape)
        self.pca = PCA(n_kept, random_state=seed).fit(latents)
        points = self.pca.transform(latents).astype(np.float64)
        self.unit = max(float(points.std()), np.finfo(np.float64).tiny)
        self.mixtures = {}
        for column in np.unique(columns):
            rows = points[columns == column] / self.unit
            if len(rows) < 2:
                continue
            fitted = clone(mixture).set_params(
                n_components=max(1, min(mixture.n_components, len(rows) // 10)), random_state=seed
            )
            self.mixtures[column] = _Mixture(fitted.fit(rows))

    def check_class(self, column, label):
        """Raise ValueError, which names the class, unless a mixture was fitted to it."""
        if column not in self.mixtures:
            raise ValueError(
                f"class {label!r} has fewer than 2 rows in the data of fit, too few for a mixture; "
                "fit on more rows."
            )

    def numbers(self, noise):
        """One uniform and so many normal numbers as there are principal components."""
        parts = noise.uniform(1), noise.normal(self.pca.n_components_)
        return torch.cat(parts, dim=1).cpu().numpy().astype(np.float64)

    def latents(self, numbers, columns):
        """Latents (n, n_latents), float64, of classes `columns` from such numbers."""
        drawn = [
            # Row by row: a matrix product's bits can depend on the number of rows.
            self.mixtures[column].draw(row) @ self.pca.components_
            for row, column in zip(numbers, columns, strict=True)
        ]
        return self.unit * np.array(drawn) + self.pca.mean_


class _Mixture:
    """Means, roots of covariances and cumulative weights of a fitted GaussianMixture."""

    def __init__(self, mixture):
        self.ends = np.cumsum(mixture.weights_)
        self.means = mixture.means_
        n_components, n_dims = self.means.shape
        # precisions_cholesky_ P has P P^T = Σ^-1; its inverse transposed is a root of Σ.
        factors = mixture.precisions_cholesky_
        if mixture.covariance_type == "spherical":
            factors = factors[:, None] * np.ones(n_dims)
        if mixture.covariance_type == "tied":
            factors = np.broadcast_to(factors, (n_components, n_dims, n_dims))
        if factors.ndim == 2:
            self.roots = np.stack([np.diag(1 / factor) for factor in factors])
        else:
            self.roots = np.stack([np.linalg.inv(factor).T for factor in factors])

    def draw(self, numbers):
        component = min(int(np.searchsorted(self.ends, numbers[0])), len(self.ends) - 1)
        return self.means[component] + self.roots[component] @ numbers[1:]


def default_mixture():
    """The mixture behind ``sampler="gmm"``."""
    return GaussianMixture(3, reg_covar=1e-3)


def make_sampler(sampler, latents, columns, *, head, n_combine, ratios, seed):
    """The sampler of a name.

    Parameters
    ----------
    sampler : {"convex", "convex_matched", "gmm", "flow"} or GaussianMixture
    latents : ndarray of shape (n_rows, n_latents)
    columns : ndarray of int of shape (n_rows,)
    head : torch.nn.Linear
        Latents to class scores: it says which rows are combined.
    n_combine, ratios
        As of `ConvexSampler`.
    seed : int

    Returns
    -------
    sampler : ConvexSampler, MixtureSampler or FlowSampler

    Raises
    ------
    ValueError
        For bad ratios, and for latents that are too few or too short for a flow.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.latent_samplers import make_sampler
    >>> sampler = make_sampler("convex", np.ones((4, 2)), np.array([0, 0, 1, 1]),
    ...     head=torch.nn.Linear(2, 2), n_combine=2, ratios="uniform", seed=0)
    >>> sampler.ratios
    array([0.5, 0.5])
    """
    if isinstance(sampler, str) and sampler in ("convex", "convex_matched"):
        weight, bias = (part.detach().cpu().double().numpy() for part in (head.weight, head.bias))
        said = np.concatenate([(part @ weight.T + bias).argmax(1) for part in _parts(latents)])
        return ConvexSampler(
            latents,
            columns,
            sound=said == columns,
            n_combine=n_combine,
            ratios=ratios,
            matched=sampler == "convex_matched",
        )
    if isinstance(sampler, str) and sampler == "flow":
        return FlowSampler(latents, columns, seed=seed)
    mixture = default_mixture() if isinstance(sampler, str) else sampler
    with pinned_threads(1):
        return MixtureSampler(latents, columns, mixture, seed=seed)


def _parts(latents):
    """Blocks of rows in double precision, which all rows at once would fill memory with."""
    for first in range(0, len(latents), _ROWS_AT_ONCE):
        yield latents[first : first + _ROWS_AT_ONCE].astype(np.float64)

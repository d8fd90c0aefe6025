r"""Log-densities of images: the :math:`p(x)` of input optimisation, and what can be drawn from it.

A prior is a torch module called with ``(images, weights)``; it returns an energy
:math:`-\log p(x)` up to a constant, one value for each image. A `DensityPrior` has coordinates
besides (of a PCA and a mixture, say), in which it can be drawn from and walked through.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skinvert.inversion.coordinates import PixelLogit
from skinvert.inversion.parzen import ManifoldParzen
from skinvert.inversion.randomness import RowNoise
from skinvert.models.translate import NotTranslatable, translate_transformer

__all__ = [
    "DensityPrior",
    "GaussianMixtureDensity",
    "KernelDensityDensity",
    "MeanPrior",
    "as_density_prior",
]


class MeanPrior(torch.nn.Module):
    r"""Distance to the mean image: eq. 6 of input optimisation (arXiv:2209.09210).

    Parameters
    ----------
    means : ndarray of shape (n_features,) or (n_classes, n_features)
        The mean image µ, or one for each class: the row's class weights then mix them.
    norm : {"l2", "l1"}, default="l2"
        A Gaussian's or a Laplacian's distance (section 5.3).
    scale : {"norm", "squared", "mean", "mean_squared"}, default="norm"
        "norm" is :math:`\lVert x-\mu\rVert` as printed in eq. 6. "squared" is its square, "mean"
        and "mean_squared" are divided by the number of pixels.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.inversion.priors import MeanPrior
    >>> MeanPrior(np.zeros(4), scale="mean_squared")(torch.full((1, 1, 2, 2), 3.0), None)
    tensor([9.])
    """

    means: Tensor

    def __init__(self, means: ArrayLike, norm: str = "l2", scale: str = "norm") -> None:
        super().__init__()
        self.register_buffer("means", torch.as_tensor(np.asarray(means), dtype=torch.float32))
        self.norm = norm
        self.scale = scale

    def forward(self, images: Tensor, weights: Tensor | None) -> Tensor:
        """Energy of images: their distance to the mean.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In the units of the means.
        weights : Tensor of shape (n, n_classes) or None
            What each row asks for; mixes the means of classes, and is not used with one mean.

        Returns
        -------
        energy : Tensor of shape (n,)

        Raises
        ------
        ValueError
            If there are means of several classes and no weights.
        """
        means = self.means
        if means.ndim > 1:
            if weights is None:
                raise ValueError("means of several classes need the rows' class weights, got None.")
            means = weights @ means
        difference = images.flatten(1) - means
        n_pixels = difference.shape[1]
        if self.norm == "l1":
            distance = difference.abs().sum(1)
            distance = distance.square() if "squared" in self.scale else distance
        elif "squared" in self.scale:
            distance = difference.square().sum(1)
        else:
            # The norm has a kink at the mean, where autograd's slope is NaN; zero is a subgradient.
            distance = _safe_root(difference.square().sum(1))
        return distance / n_pixels if self.scale.startswith("mean") else distance


def _safe_root(squares):
    positive = squares > 0
    return torch.where(positive, squares.where(positive, 1.0).sqrt(), 0.0)


class GaussianMixtureDensity(torch.nn.Module):
    """A fitted `sklearn.mixture.GaussianMixture` in torch, any covariance type.

    Parameters
    ----------
    mixture : fitted GaussianMixture
        Or any object with its ``weights_``, ``means_`` and ``covariances_``.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.mixture import GaussianMixture
    >>> from skinvert.inversion.priors import GaussianMixtureDensity
    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> mixture = GaussianMixture(2, random_state=0).fit(rows)
    >>> found = GaussianMixtureDensity(mixture).log_prob(torch.from_numpy(rows))
    >>> bool(np.allclose(found, mixture.score_samples(rows)))
    True
    """

    means: Tensor
    factors: Tensor
    precisions: Tensor
    offsets: Tensor
    cumulative: Tensor

    def __init__(self, mixture: Any) -> None:
        super().__init__()
        covariances = _full_covariances(mixture)
        factors = np.linalg.cholesky(covariances)
        identity = np.broadcast_to(np.eye(factors.shape[1]), factors.shape)
        precisions = np.linalg.solve(factors, identity)
        log_dets = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
        n_dims = factors.shape[1]
        offsets = np.log(mixture.weights_) - log_dets - 0.5 * n_dims * np.log(2 * np.pi)
        for name, values in {
            "means": mixture.means_,
            "factors": factors,
            "precisions": precisions,
            "offsets": offsets,
            "cumulative": np.cumsum(mixture.weights_),
        }.items():
            self.register_buffer(name, torch.as_tensor(values.copy()))
        self.n_coordinates = n_dims

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density of points.

        Parameters
        ----------
        points : Tensor of shape (n, n_coordinates)
            In the coordinates that the mixture was fitted in.

        Returns
        -------
        log_density : Tensor of shape (n,)
            In nats.
        """
        whitened = torch.einsum("nkd,ked->nke", points[:, None] - self.means, self.precisions)
        return torch.logsumexp(self.offsets - 0.5 * whitened.square().sum(2), dim=1)

    def choose(self, noise: RowNoise, n: int) -> Tensor:
        """Draw components by their weights.

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
        level = noise.uniform(n).to(self.cumulative) * self.cumulative[-1]
        component = torch.searchsorted(self.cumulative, level.contiguous(), right=True)
        return component.clamp_max(len(self.means) - 1)

    def place(self, component: Tensor, normal: Tensor) -> Tensor:
        """Points of components at standard normal coordinates.

        Parameters
        ----------
        component : LongTensor of shape (n,)
            As drawn by `choose` for one slot.
        normal : Tensor of shape (n, n_coordinates)
            Turned and scaled as the component's covariance asks for.

        Returns
        -------
        points : Tensor of shape (n, n_coordinates)
        """
        return self.means[component] + torch.einsum("nde,ne->nd", self.factors[component], normal)


def _full_covariances(mixture):
    n_components, n_dims = mixture.means_.shape
    covariances = mixture.covariances_
    kind = getattr(mixture, "covariance_type", "full")
    if kind == "tied":
        return np.broadcast_to(covariances, (n_components, n_dims, n_dims))
    if kind == "diag":
        return np.stack([np.diag(row) for row in covariances])
    if kind == "spherical":
        return covariances[:, None, None] * np.eye(n_dims)
    return covariances


class KernelDensityDensity(torch.nn.Module):
    """A fitted `sklearn.neighbors.KernelDensity` with a Gaussian kernel in torch.

    Parameters
    ----------
    density : fitted KernelDensity
        kernel="gaussian", metric="euclidean".

    Raises
    ------
    NotTranslatable
        For other kernels and metrics.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.neighbors import KernelDensity
    >>> from skinvert.inversion.priors import KernelDensityDensity
    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> density = KernelDensity(bandwidth=0.5).fit(rows)
    >>> found = KernelDensityDensity(density).log_prob(torch.from_numpy(rows))
    >>> bool(np.allclose(found, density.score_samples(rows)))
    True
    """

    points: Tensor
    offsets: Tensor
    cumulative: Tensor

    def __init__(self, density: Any) -> None:
        super().__init__()
        if density.kernel != "gaussian" or density.metric not in ("euclidean", "minkowski"):
            raise NotTranslatable(
                f"KernelDensity is translated with kernel='gaussian' and metric='euclidean' only, "
                f"got {density.kernel!r} and {density.metric!r}."
            )
        points = np.asarray(density.tree_.data)
        weights = density.tree_.sample_weight
        weights = np.ones(len(points)) if weights is None else np.asarray(weights)
        self.bandwidth = float(density.bandwidth_)
        self.n_coordinates = points.shape[1]
        weights = weights / weights.sum()
        norm = self.n_coordinates * np.log(self.bandwidth * np.sqrt(2 * np.pi))
        self.register_buffer("points", torch.as_tensor(points.copy()))
        self.register_buffer("offsets", torch.as_tensor(np.log(weights) - norm))
        self.register_buffer("cumulative", torch.as_tensor(np.cumsum(weights)))

    def log_prob(self, points: Tensor) -> Tensor:
        """Log-density of points.

        Parameters
        ----------
        points : Tensor of shape (n, n_coordinates)
            In the coordinates that the density was fitted in.

        Returns
        -------
        log_density : Tensor of shape (n,)
            In nats.
        """
        squares = torch.cdist(points, self.points, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.logsumexp(self.offsets - 0.5 * (squares / self.bandwidth).square(), dim=1)

    def choose(self, noise: RowNoise, n: int) -> Tensor:
        """Draw training points by their weights.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.
        n : int
            Draws a slot.

        Returns
        -------
        component : LongTensor of shape (n_slots, n)
            Indices of the points.
        """
        level = noise.uniform(n).to(self.cumulative) * self.cumulative[-1]
        chosen = torch.searchsorted(self.cumulative, level.contiguous(), right=True)
        return chosen.clamp_max(len(self.points) - 1)

    def place(self, component: Tensor, normal: Tensor) -> Tensor:
        """Points at standard normal coordinates around training points.

        Parameters
        ----------
        component : LongTensor of shape (n,)
            As drawn by `choose` for one slot.
        normal : Tensor of shape (n, n_coordinates)
            In bandwidths.

        Returns
        -------
        points : Tensor of shape (n, n_coordinates)
        """
        return self.points[component] + self.bandwidth * normal


class DensityPrior(torch.nn.Module):
    r"""A density in the coordinates of invertible or dimension-reducing scikit-learn steps.

    With rows :math:`x`, coordinates :math:`z = e(x)` and reconstruction :math:`\hat x = d(z)`,
    the energy is :math:`-\log p(z) + \lVert x - \hat x\rVert^2 / 2\sigma^2`: the second part, with
    σ² the mean squared residual over the training rows, keeps images near the subspace as
    probabilistic PCA does (Tipping & Bishop 1999). Constants are left out.

    Parameters
    ----------
    steps : list of torch.nn.Module
        Translated transformers with ``inverse``, from rows to coordinates.
    density : torch.nn.Module
        A mixture: ``log_prob(points)``, ``choose(noise, n)``, ``place(component, normal)`` and
        ``n_coordinates``.
    residual_variance : float, default=0.0
        σ² a pixel; zero where the steps lose nothing.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sklearn.mixture import GaussianMixture
    >>> from skinvert.inversion.priors import DensityPrior, GaussianMixtureDensity
    >>> rows = np.random.default_rng(0).normal(size=(50, 4))
    >>> density = GaussianMixtureDensity(GaussianMixture(random_state=0).fit(rows))
    >>> prior = DensityPrior([], density)
    >>> prior(torch.zeros(3, 1, 2, 2)).shape, prior.n_coordinates
    (torch.Size([3]), 4)
    """

    def __init__(
        self, steps: Iterable[torch.nn.Module], density: Any, residual_variance: float = 0.0
    ) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(steps)
        self.density = density
        self.residual_variance = residual_variance
        self.float()

    @property
    def n_coordinates(self) -> int:
        """Length of a point."""
        return self.density.n_coordinates

    def encode(self, rows: Tensor) -> Tensor:
        """Rows to coordinates.

        Parameters
        ----------
        rows : Tensor of shape (n, n_features)
            Flattened images, in data units.

        Returns
        -------
        points : Tensor of shape (n, n_coordinates)
        """
        for step in self.steps:
            rows = step(rows)
        return rows

    def decode(self, points: Tensor) -> Tensor:
        """Coordinates to rows.

        Parameters
        ----------
        points : Tensor of shape (n, n_coordinates)
            As `encode` returns them.

        Returns
        -------
        rows : Tensor of shape (n, n_features)
            What the steps lost of a row is gone.
        """
        steps: list[Any] = [*self.steps]  # all of them have an inverse
        for step in reversed(steps):
            points = step.inverse(points)
        return points

    def draw(self, noise: RowNoise, n: int) -> tuple[Tensor, Tensor]:
        r"""`n` draws for a slot, in the mixture's own coordinates.

        A point is :math:`\mu_k + L_k \varepsilon` with a component k and a standard normal ε: in ε
        every component is equally wide in all directions, however thin it lies in pixel space.

        Parameters
        ----------
        noise : RowNoise with one slot
            Where the slot draws its own.
        n : int
            Number of draws.

        Returns
        -------
        component : LongTensor of shape (n,)
        normal : Tensor of shape (n, n_coordinates)
        """
        (component,) = self.density.choose(noise, n)
        (normal,) = noise.normal(n, self.n_coordinates)
        return component, normal

    def render(self, component: Tensor, normal: Tensor) -> Tensor:
        """Rows of draws.

        Parameters
        ----------
        component : LongTensor of shape (n,)
            As `draw` returns them.
        normal : Tensor of shape (n, n_coordinates)
            As `draw` returns them.

        Returns
        -------
        rows : Tensor of shape (n, n_features)
            In data units.
        """
        return self.decode(self.density.place(component, normal))

    def energy(self, points: Tensor) -> Tensor:
        """Minus the log-density of coordinates, without what the steps lose.

        Parameters
        ----------
        points : Tensor of shape (n, n_coordinates)
            As `encode` returns them.

        Returns
        -------
        energy : Tensor of shape (n,)
            In nats.
        """
        return -self.density.log_prob(points)

    def forward(self, images: Tensor, weights: Tensor | None = None) -> Tensor:
        """Energy of images: minus their log-density, up to a constant.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In data units.
        weights : Tensor of shape (n, n_classes) or None, default=None
            Not used: the density is that of all classes together.

        Returns
        -------
        energy : Tensor of shape (n,)
            In nats.
        """
        rows = images.flatten(1)
        points = self.encode(rows)
        energy = self.energy(points)
        if self.residual_variance:
            lost = (rows - self.decode(points)).square().sum(1)
            energy = energy + lost / (2 * self.residual_variance)
        return energy


class _FullGaussian:
    """One Gaussian in the attributes of a mixture."""

    def __init__(self, mean, covariance):
        self.weights_ = np.ones(1)
        self.means_ = np.asarray(mean)[None]
        self.covariances_ = np.asarray(covariance)[None]


def as_density_prior(prior: Any, rows: NDArray[Any], random_state: int) -> tuple[DensityPrior, Any]:
    """Fit, where it is unfitted, and translate a density to torch.

    Parameters
    ----------
    prior : "parzen", "gaussian" or a scikit-learn density estimator
        GaussianMixture, KernelDensity (Gaussian kernel), ManifoldParzen, PCA (as probabilistic
        PCA), or a Pipeline of StandardScaler, MinMaxScaler, PixelLogit and PCA that ends in one
        of them. "gaussian" is a full covariance with shrinkage (OAS); "parzen" is
        `default_density`.
    rows : ndarray of shape (n, n_features)
        What unfitted estimators are fitted on, as copies; labels are not used.
    random_state : int
        For unfitted estimators whose own is None.

    Returns
    -------
    prior : DensityPrior
    fitted : object
        The fitted scikit-learn estimator.

    Raises
    ------
    NotTranslatable
        For estimators that have no translation; a TypeError.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.priors import as_density_prior
    >>> rows = np.random.default_rng(0).normal(size=(50, 4))
    >>> prior, fitted = as_density_prior("gaussian", rows, random_state=0)
    >>> prior.n_coordinates, fitted
    (4, OAS())
    """
    rows = np.asarray(rows, dtype=np.float64)
    if isinstance(prior, str):
        prior = OAS() if prior == "gaussian" else default_density(*rows.shape)
    fitted = prior if _is_fitted(prior) else _fit_copy(prior, rows, random_state)
    steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else [fitted]
    steps = [step for step in steps if step not in (None, "passthrough")]
    *before, last = steps
    transforms = [
        step.to_torch() if isinstance(step, PixelLogit) else translate_transformer(step)
        for step in before
    ]
    density = _translate_density(last)
    if isinstance(last, PCA):
        transforms.append(translate_transformer(last))
    translated = DensityPrior(transforms, density)
    translated.residual_variance = _residual_variance(translated, rows)
    return translated, fitted


def default_density(n_rows: int, n_features: int) -> Pipeline:
    """The density that stands for images where the user names none, unfitted.

    `ManifoldParzen` on the principal components of the pixels' logits.
    """
    n_dims = max(1, min(300, n_features, n_rows - 1))
    return Pipeline(
        [
            ("logit", PixelLogit()),
            ("pca", PCA(n_dims, svd_solver="full")),
            ("density", ManifoldParzen()),
        ]
    )


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _fit_copy(prior, rows, random_state):
    prior = clone(prior)
    seeds = {
        name: random_state
        for name, value in prior.get_params().items()
        if name.split("__")[-1] == "random_state" and value is None
    }
    return prior.set_params(**seeds).fit(rows)


def _translate_density(estimator):
    if isinstance(estimator, GaussianMixture):
        return GaussianMixtureDensity(estimator)
    if isinstance(estimator, ManifoldParzen):
        return estimator.to_torch()
    if isinstance(estimator, KernelDensity):
        return KernelDensityDensity(estimator)
    if isinstance(estimator, OAS):
        return GaussianMixtureDensity(_FullGaussian(estimator.location_, estimator.covariance_))
    if isinstance(estimator, PCA):
        variances = np.ones_like(estimator.explained_variance_)
        if not estimator.whiten:
            variances = np.maximum(estimator.explained_variance_, 1e-12)
        return GaussianMixtureDensity(_FullGaussian(np.zeros(len(variances)), np.diag(variances)))
    raise NotTranslatable(
        f"prior: {type(estimator).__name__} is not a density that skinvert translates; expected "
        "GaussianMixture, KernelDensity, ManifoldParzen or PCA, alone or at the end of a Pipeline "
        "of StandardScaler, MinMaxScaler, PixelLogit and PCA."
    )


def _residual_variance(prior, rows):
    """What the steps lose of a row, a lost dimension: PCA's noise_variance_ for a plain PCA."""
    rows = torch.as_tensor(rows[:: max(1, len(rows) // 2000)], dtype=torch.float32)
    n_lost = rows.shape[1] - prior.n_coordinates
    if n_lost < 1 or len(rows) < 2:
        return 0.0
    with torch.no_grad():
        lost = (rows - prior.decode(prior.encode(rows))).double().square().sum()
    return float(lost) / (n_lost * (len(rows) - 1))

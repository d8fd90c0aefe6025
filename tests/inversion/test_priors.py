"""Priors say of an image what scikit-learn's own densities say, and draws have their moments."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from skinvert.inversion.priors import (
    GaussianMixtureDensity,
    KernelDensityDensity,
    MeanPrior,
    as_density_prior,
)
from skinvert.inversion.randomness import RowNoise
from skinvert.models.translate import NotTranslatable

N_FEATURES = 6


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES))
    centres = 4 * rng.normal(size=(3, N_FEATURES))
    return centres[rng.integers(3, size=300)] + rng.normal(size=(300, N_FEATURES)) @ mixing


@pytest.fixture(scope="module")
def points():
    """Where densities are compared: near the rows and far from them."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(40, N_FEATURES)) * np.repeat([1.0, 4.0], 20)[:, None]


def log_densities(density, points):
    return density.log_prob(torch.from_numpy(points)).numpy()


def energies(prior, points):
    with torch.no_grad():
        return prior.double()(torch.from_numpy(points)).numpy()


def same_up_to_a_constant(energy, log_density, atol):
    sums = energy + log_density
    np.testing.assert_allclose(sums, sums.mean(), rtol=1e-5, atol=atol)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_mixtures_agree_with_scikit_learn(covariance_type, rows, points):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    density = GaussianMixtureDensity(mixture)
    np.testing.assert_allclose(
        log_densities(density, points), mixture.score_samples(points), rtol=1e-8
    )
    prior, fitted = as_density_prior(mixture, rows, 0)
    assert fitted is mixture
    assert prior.residual_variance == 0
    same_up_to_a_constant(energies(prior, points), mixture.score_samples(points), 1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bandwidth", [0.7, "scott"])
def test_kernel_densities_agree_with_scikit_learn(weighted, bandwidth, rows, points):
    weights = np.random.default_rng(2).uniform(0, 3, size=len(rows)) if weighted else None
    # In one leaf: over several, scikit-learn's tree loses digits far from the rows.
    kde = KernelDensity(bandwidth=bandwidth, leaf_size=1000).fit(rows, sample_weight=weights)
    np.testing.assert_allclose(
        log_densities(KernelDensityDensity(kde), points), kde.score_samples(points), rtol=1e-8
    )


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_probabilistic_pca(whiten, rows, points):
    pca = PCA(3, whiten=whiten).fit(rows)
    prior, _ = as_density_prior(pca, rows, 0)
    assert prior.residual_variance == pytest.approx(pca.noise_variance_, rel=1e-4)
    # Whitening changes the coordinates, not the density; scikit-learn's own scores do change.
    expected = PCA(3).fit(rows).score_samples(points)
    same_up_to_a_constant(energies(prior, points), expected, 1e-2)


def test_one_gaussian_is_shrunk(rows, points):
    prior, fitted = as_density_prior("gaussian", rows, 0)
    assert isinstance(fitted, OAS)
    expected = multivariate_normal(fitted.location_, fitted.covariance_).logpdf(points)
    same_up_to_a_constant(energies(prior, points), expected, 1e-3)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), "passthrough"])
def test_pipelines_agree_but_for_what_pca_loses(scaler, rows, points):
    pipeline = make_pipeline(scaler, PCA(3), GaussianMixture(2, random_state=0)).fit(rows)
    prior, _ = as_density_prior(pipeline, rows, 0)
    before = pipeline[:-1]
    lost = ((points - before.inverse_transform(before.transform(points))) ** 2).sum(1)
    # The density of coordinates and that of rows differ by the scaler's constant Jacobian.
    expected = pipeline.score_samples(points) - lost / (2 * prior.residual_variance)
    same_up_to_a_constant(energies(prior, points), expected, 1e-2)
    coordinates = torch.from_numpy(before.transform(points))
    np.testing.assert_allclose(
        prior.energy(coordinates).numpy(), -pipeline.score_samples(points), rtol=1e-4
    )


def test_coordinates_go_there_and_back(rows, points):
    pipeline = make_pipeline(StandardScaler(), PCA(3), GaussianMixture(2, random_state=0))
    prior, fitted = as_density_prior(pipeline, rows, 0)
    prior.double()
    assert fitted is not pipeline, "an unfitted estimator is cloned"
    coordinates = fitted[:-1].transform(points)
    encoded = prior.encode(torch.from_numpy(points))
    np.testing.assert_allclose(encoded.numpy(), coordinates, atol=1e-4)
    np.testing.assert_allclose(
        prior.decode(encoded).numpy(), fitted[:-1].inverse_transform(coordinates), atol=1e-4
    )
    torch.testing.assert_close(prior.encode(prior.decode(encoded)), encoded, rtol=1e-4, atol=1e-4)


N_DRAWS = 40_000


def drawn(density):
    noise = RowNoise([3, 4])
    component, normal = density.choose(noise, N_DRAWS), noise.normal(N_DRAWS, density.n_coordinates)
    points = torch.stack(
        [density.place(*slot) for slot in zip(component, normal.double(), strict=True)]
    )
    assert points.shape == (2, N_DRAWS, density.n_coordinates)
    return points[1].double().numpy()


def moments_agree(draws, mean, covariance):
    spread = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(0) - mean) / spread).max() < 4 / np.sqrt(len(draws))
    difference = (np.cov(draws.T) - covariance) / np.outer(spread, spread)
    assert np.abs(difference).max() < 8 / np.sqrt(len(draws))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_draws_of_a_mixture_have_its_moments(covariance_type, rows):
    mixture = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    mean = mixture.weights_ @ mixture.means_
    covariances = {
        "full": lambda c: c,
        "tied": lambda c: np.stack([c] * 3),
        "diag": lambda c: np.stack([np.diag(row) for row in c]),
        "spherical": lambda c: np.stack([row * np.eye(N_FEATURES) for row in c]),
    }[covariance_type](mixture.covariances_)
    between = (mixture.means_ - mean).T @ np.diag(mixture.weights_) @ (mixture.means_ - mean)
    within = np.einsum("k,kij->ij", mixture.weights_, covariances)
    moments_agree(drawn(GaussianMixtureDensity(mixture)), mean, within + between)


@pytest.mark.parametrize("weighted", [False, True])
def test_draws_of_a_kernel_density_have_its_moments(weighted, rows):
    weights = np.random.default_rng(2).uniform(0, 3, len(rows)) if weighted else np.ones(len(rows))
    kde = KernelDensity(bandwidth=1.3).fit(rows, sample_weight=weights if weighted else None)
    mean = np.average(rows, axis=0, weights=weights)
    covariance = np.cov(rows.T, aweights=weights, ddof=0) + 1.3**2 * np.eye(N_FEATURES)
    moments_agree(drawn(KernelDensityDensity(kde)), mean, covariance)


def test_draws_decode_to_the_moments_of_the_rows(rows):
    prior, _ = as_density_prior(PCA(N_FEATURES - 1), rows, 0)
    images = prior.render(*prior.draw(RowNoise([0]), N_DRAWS)).double().numpy()
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(rows.T)).max())
    assert np.abs(images.mean(0) - rows.mean(0)).max() < 4 * spread / np.sqrt(N_DRAWS)
    # All of the covariance but the smallest direction, which PCA left out.
    missing = np.linalg.eigvalsh(np.cov(rows.T)).min()
    assert np.abs(np.cov(images.T) - np.cov(rows.T)).max() < missing + 0.05 * spread**2


PRIORS = {
    "mixture": GaussianMixture(3, random_state=0),
    "kernel density": KernelDensity(bandwidth=2.0),
    "PCA": PCA(3),
    "gaussian": "gaussian",
    "pipeline": make_pipeline(StandardScaler(), PCA(3), GaussianMixture(2, random_state=0)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_slopes(name, rows, points, assert_slope):
    prior = as_density_prior(PRIORS[name], rows, 0)[0].double()
    assert_slope(prior, torch.from_numpy(points[:4]), rtol=1e-4, atol=1e-5)


def test_slopes_exist_on_a_training_row(rows):
    # The distance to the row's own kernel has a kink there.
    prior = as_density_prior(KernelDensity(bandwidth=2.0), rows, 0)[0].double()
    at = torch.from_numpy(rows[:3]).requires_grad_()
    (slope,) = torch.autograd.grad(prior(at).sum(), at)
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", PRIORS)
def test_images_and_rows_have_one_energy_each(name, rows, points):
    prior = as_density_prior(PRIORS[name], rows, 0)[0].double()
    images = torch.from_numpy(points).reshape(-1, 1, 2, 3)
    together = prior(images, None)
    torch.testing.assert_close(together, prior(images.flatten(1)))
    alone = torch.cat([prior(image[None]) for image in images])
    torch.testing.assert_close(alone, together)


def test_unfitted_estimators_are_fitted_with_the_seed_and_left_alone(rows):
    mixture = GaussianMixture(3, init_params="random")
    first, again, other = (as_density_prior(mixture, rows, seed)[1] for seed in (1, 1, 2))
    assert not hasattr(mixture, "means_")
    assert mixture.random_state is None
    np.testing.assert_array_equal(first.means_, again.means_)
    assert not np.array_equal(first.means_, other.means_)
    own = GaussianMixture(3, init_params="random", random_state=7)
    np.testing.assert_array_equal(
        as_density_prior(own, rows, 1)[1].means_, as_density_prior(own, rows, 2)[1].means_
    )


@pytest.mark.parametrize(("n_rows", "n_features"), [(2, 4), (2, 1), (3, 64), (30, 64), (400, 7)])
def test_the_default_density_fits_any_rows(n_rows, n_features):
    rows = np.random.default_rng(0).normal(size=(n_rows, n_features))
    prior, _ = as_density_prior("parzen", rows, 0)
    images = prior.render(*prior.draw(RowNoise([0]), 5))
    assert images.shape == (5, n_features)
    assert images.isfinite().all()
    assert prior(images).isfinite().all()


@pytest.mark.parametrize(
    ("prior", "complaint"),
    [
        (KernelDensity(kernel="tophat"), "gaussian.*'tophat'"),
        (KernelDensity(metric="manhattan"), "euclidean.*'manhattan'"),
        (
            KMeans(2),
            "KMeans is not a density.*GaussianMixture, KernelDensity",
        ),
        (make_pipeline(RobustScaler(), GaussianMixture()), "RobustScaler"),
    ],
)
def test_densities_without_a_translation_are_refused(prior, complaint, rows):
    with pytest.raises(NotTranslatable, match=complaint):
        as_density_prior(prior, rows, 0)


MEAN = np.array([1.0, -2.0, 0.5, 3.0])
DIFFERENCE = torch.tensor([[1.0, -2.0, 0.0, 2.0], [0.5, 0.5, -0.5, 0.5]])
CLOSED_FORMS = {
    ("l2", "norm"): lambda d: d.norm(dim=1),
    ("l2", "squared"): lambda d: (d**2).sum(1),
    ("l2", "mean"): lambda d: d.norm(dim=1) / 4,
    ("l2", "mean_squared"): lambda d: (d**2).mean(1),
    ("l1", "norm"): lambda d: d.abs().sum(1),
    ("l1", "squared"): lambda d: d.abs().sum(1) ** 2,
    ("l1", "mean"): lambda d: d.abs().mean(1),
    ("l1", "mean_squared"): lambda d: d.abs().sum(1) ** 2 / 4,
}


@pytest.mark.parametrize(("norm", "scale"), CLOSED_FORMS)
def test_distances_to_the_mean(norm, scale, assert_slope):
    prior = MeanPrior(MEAN, norm, scale)
    images = (torch.from_numpy(MEAN).float() + DIFFERENCE).reshape(-1, 1, 2, 2)
    torch.testing.assert_close(prior(images, None), CLOSED_FORMS[norm, scale](DIFFERENCE))
    kinkless = images.double() + 0.1
    assert_slope(lambda images: prior.double()(images, None), kinkless)


@pytest.mark.parametrize(("norm", "scale"), CLOSED_FORMS)
def test_the_slope_at_the_mean_is_zero(norm, scale):
    images = torch.from_numpy(MEAN).float().reshape(1, 1, 2, 2).requires_grad_()
    value = MeanPrior(MEAN, norm, scale)(images, None)
    (slope,) = torch.autograd.grad(value.sum(), images)
    assert value == 0
    assert torch.equal(slope, torch.zeros_like(slope))


def test_means_of_classes_are_mixed_by_the_weights():
    means = np.stack([MEAN, -MEAN, 2 * MEAN])
    prior = MeanPrior(means, scale="squared")
    weights = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])
    images = weights @ torch.from_numpy(means).float() + DIFFERENCE
    torch.testing.assert_close(prior(images, weights), (DIFFERENCE**2).sum(1))

"""Manifold Parzen windows are the mixture that their definition says, in NumPy and in torch."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.pipeline import make_pipeline

from skinvert.inversion.coordinates import PixelLogit
from skinvert.inversion.parzen import ManifoldParzen
from skinvert.inversion.priors import as_density_prior


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 2)) @ rng.normal(size=(2, 5)) + 0.05 * rng.normal(size=(40, 5))


def windows(density, rows):
    """Mean and covariance of every component, from the definition."""
    for row, neighbors in zip(rows, rows[density.neighbors_], strict=True):
        centre = neighbors.mean(0)
        scatter = (neighbors - centre).T @ (neighbors - centre) / len(neighbors)
        covariance = density.bandwidth**2 * scatter + density.noise_variance_ * np.eye(len(row))
        yield (1 - density.shrinkage) * row + density.shrinkage * centre, covariance


@pytest.mark.parametrize("n_neighbors", [1, 4, 39, 100])
def test_the_density_is_the_mixture_of_its_windows(n_neighbors, rows):
    density = ManifoldParzen(n_neighbors, bandwidth=0.8, shrinkage=0.2, noise=0.1).fit(rows)
    points = rows[:6] + 0.1
    components = [
        multivariate_normal(mean, cov).logpdf(points) for mean, cov in windows(density, rows)
    ]
    expected = logsumexp(components, axis=0) - np.log(len(rows))
    np.testing.assert_allclose(density.score_samples(points), expected, rtol=1e-8)
    np.testing.assert_allclose(density.score(points), expected.sum(), rtol=1e-8)


def test_draws_have_the_moments_of_the_mixture(rows):
    density = ManifoldParzen(5).fit(rows)
    means, covariances = (np.array(part) for part in zip(*windows(density, rows), strict=True))
    draws = density.sample(40_000, random_state=0)
    expected = covariances.mean(0) + np.cov(means.T, bias=True)
    np.testing.assert_allclose(draws.mean(0), means.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.05 * np.trace(expected))


def test_the_density_of_draws_integrates_to_one():
    rows = np.linspace(0, 1, 9)[:, None] ** 2
    density = ManifoldParzen(2, noise=0.2).fit(rows)
    line = np.linspace(-3, 4, 20_001)[:, None]
    assert np.trapezoid(np.exp(density.score_samples(line)), line[:, 0]) == pytest.approx(1, 1e-3)


def test_one_row_is_enough():
    density = ManifoldParzen().fit([[1.0, 2.0]])
    np.testing.assert_allclose(density.sample(3, random_state=0), [[1.0, 2.0]] * 3, atol=0.01)


@pytest.mark.parametrize(
    "settings", [{"n_neighbors": 0}, {"bandwidth": 0.0}, {"noise": -1.0}, {"shrinkage": 1.5}]
)
def test_parameters_out_of_range_are_refused(settings, rows):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ManifoldParzen(**settings).fit(rows)


def test_a_pipeline_in_logits_draws_inside_the_range():
    rows = np.random.default_rng(0).uniform(0, 16, size=(50, 6)).round()
    prior, _ = as_density_prior(make_pipeline(PixelLogit(), ManifoldParzen()), rows, 0)
    with torch.no_grad():
        images = prior.render(torch.arange(50), torch.full((50, prior.n_coordinates), 3.0))
    assert images.min() >= 0
    assert images.max() <= 16

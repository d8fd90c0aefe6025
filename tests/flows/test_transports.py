"""Monotone transports: slopes against autograd, inverses, and the densities that they stand for."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal

from skinvert.flows.transports import (
    MixtureTransport,
    RationalQuadraticSplines,
    normal_quantile,
)


@pytest.fixture(scope="module")
def skewed():
    return np.random.default_rng(0).gamma(2.0, size=(800, 3))


@pytest.fixture(scope="module")
def splines(skewed):
    return RationalQuadraticSplines.to_normal(skewed, n_knots=15, shrinkage=0.05)


@pytest.fixture(scope="module")
def mixture():
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(4, 3, 3, generator=generator).double()
    covariances = 0.3 * roots @ roots.mT + 0.1 * torch.eye(3).double()
    covariances[-1] = 9 * torch.eye(3)
    means = 2 * torch.randn(4, 3, generator=generator).double()
    weights = torch.tensor([0.5, 0.3, 0.19, 0.01]).double()
    return MixtureTransport(weights, means, torch.linalg.cholesky(covariances))


def wide_values(n_columns):
    """Within the knots and far beyond them."""
    scale = torch.linspace(0.1, 20, 50).double()[:, None]
    return scale * torch.randn(50, n_columns, generator=torch.Generator().manual_seed(1)).double()


def test_splines_are_monotone_and_have_the_slopes_they_say(splines):
    x = wide_values(3).requires_grad_()
    y, log_slope = splines(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert bool((slope > 0).all())
    torch.testing.assert_close(log_slope, slope.log(), rtol=1e-9, atol=1e-9)


def test_splines_are_inverted(splines):
    x = wide_values(3)
    torch.testing.assert_close(splines.inverse(splines(x)[0]), x, rtol=1e-10, atol=1e-10)


def test_splines_make_their_rows_normal(splines, skewed):
    z, _ = splines(torch.from_numpy(skewed))
    for before, after in zip(skewed.T, z.numpy().T, strict=True):
        standard = (before - before.mean()) / before.std()
        assert kstest(after, "norm").statistic < 0.5 * kstest(standard, "norm").statistic


def test_ties_leave_finite_slopes():
    splines = RationalQuadraticSplines.to_normal(np.repeat([0.0, 1.0], 40)[:, None])
    _, log_slope = splines(torch.tensor([[0.0], [0.5], [1.0]]).double())
    assert bool(torch.isfinite(log_slope).all())


def test_a_mixtures_transport_has_the_mixtures_density(mixture):
    x = wide_values(3)
    z, log_det = mixture(x)
    expected = sum(
        float(weight) * multivariate_normal(mean, factor @ factor.T).pdf(x)
        for weight, mean, factor in zip(
            mixture.log_weights.exp(), mixture.means.numpy(), mixture.factors.numpy(), strict=True
        )
    )
    likely = torch.from_numpy(expected > 1e-200)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det
    torch.testing.assert_close(density[likely], torch.from_numpy(expected)[likely].log())
    torch.testing.assert_close(mixture.log_density(x), density, rtol=1e-10, atol=1e-10)


def test_a_mixtures_log_det_is_that_of_the_jacobian(mixture):
    x = 0.3 * wide_values(3)[:20]
    _, log_det = mixture(x)
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda r: mixture(r[None])[0][0], row)
        assert float(jacobian.triu(1).abs().max()) < 1e-12, "the map is triangular"
        torch.testing.assert_close(value, torch.linalg.slogdet(jacobian)[1], rtol=1e-8, atol=1e-8)


def test_a_mixtures_transport_is_inverted(mixture):
    x = 0.3 * wide_values(3)
    torch.testing.assert_close(mixture.inverse(mixture(x)[0]), x, rtol=1e-7, atol=1e-7)


def test_a_mixtures_transport_is_inverted_far_out(mixture):
    x = 30 * wide_values(3)
    torch.testing.assert_close(mixture.inverse(mixture(x)[0]), x, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def uneven():
    """Components tight along some of many coordinates, wide along others: weights underflow."""
    generator = torch.Generator().manual_seed(3)
    spreads = torch.randn(5, 16, generator=generator).double().exp()
    factors = torch.randn(5, 16, 16, generator=generator).double().tril(-1) / 8
    factors = spreads[:, :, None] * (factors + torch.eye(16).double())
    means = torch.randn(5, 16, generator=generator).double()
    return MixtureTransport(torch.full((5,), 0.2).double(), means, factors)


@pytest.mark.parametrize("scale", [1.0, 25.0, 40.0, 1e3, 1e6])
def test_latents_of_any_scale_are_reached(scale, uneven):
    generator = torch.Generator().manual_seed(4)
    z = scale * torch.randn(60, 16, generator=generator).double()
    torch.testing.assert_close(uneven(uneven.inverse(z))[0], z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [40.0, 1e8, 1e14])
@pytest.mark.parametrize("place", [0, 7, 15])
def test_a_mixtures_inverse_is_finite_and_increasing(scale, place, uneven):
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(5)).double().repeat(201, 1)
    z[:, place] = scale * torch.linspace(-1, 1, 201).double()
    x = uneven.inverse(z)
    assert bool(torch.isfinite(x).all())
    assert bool((x[:, place].diff() > 0).all())
    before = x[:, :place]
    torch.testing.assert_close(before, before[:1].expand_as(before), msg="it is triangular")


def test_draws_of_the_mixture_become_normal(mixture):
    generator = torch.Generator().manual_seed(2)
    component = torch.multinomial(mixture.log_weights.exp(), 3000, True, generator=generator)
    normal = torch.randn(3000, 3, generator=generator).double()
    x = mixture.means[component] + (mixture.factors[component] @ normal[:, :, None])[:, :, 0]
    z, _ = mixture(x)
    assert all(kstest(column, "norm").pvalue > 1e-3 for column in z.numpy().T)


def test_quantiles_of_any_level():
    log_level = -torch.logspace(-8, 6, 40).double()
    z = normal_quantile(log_level)
    torch.testing.assert_close(torch.special.log_ndtr(z), log_level, rtol=1e-12, atol=1e-15)

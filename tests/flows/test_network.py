"""The objectives against their formulas, and what training adds to rows."""

import math

import numpy as np
import pytest
import torch

from skinvert.flows.bases import class_means, fitted_spreads
from skinvert.flows.network import FlowNetwork, gaussian_divergence, paper_loss
from skinvert.flows.preprocessing import Preprocessing
from skinvert.flows.square import SquareFlow

N_FEATURES = 5


@pytest.fixture
def residual():
    return 2 * torch.randn(7, N_FEATURES, generator=torch.Generator().manual_seed(0)).double() + 1


def network(objective, **arguments):
    rows = np.random.default_rng(0).integers(0, 17, size=(40, N_FEATURES)).astype(float)
    preprocessing = Preprocessing(rows, is_image=True, step=1.0)
    flow = SquareFlow(N_FEATURES, n_blocks=2, negative_slope=0.5)
    prior = torch.full((3,), 1 / 3).log()
    means = class_means("random", 3, N_FEATURES)
    return FlowNetwork(preprocessing, flow, means, prior, objective=objective, **arguments).double()


def test_the_papers_loss(residual):
    likelihood = -torch.distributions.Normal(0.0, 1.0).log_prob(residual).sum(1)
    expected = likelihood + (residual.var(1, correction=0) - 1) ** 2
    torch.testing.assert_close(paper_loss(residual), expected)


def test_the_divergence_is_torchs_own(residual):
    own = torch.distributions.Normal(residual.mean(1), residual.std(1, correction=0))
    expected = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_divergence(residual), expected)


def test_a_single_feature_has_no_variance():
    assert bool(torch.isfinite(paper_loss(torch.ones(2, 1))).all())
    assert bool(torch.isfinite(gaussian_divergence(torch.ones(2, 1))).all())


@pytest.mark.parametrize("objective", ["paper", "kl", "mle", "ib"])
def test_slopes_of_the_objectives(objective, assert_slope):
    flow = network(objective)
    columns = torch.tensor([0, 2, 1, 1])
    v = torch.randn(4, N_FEATURES, generator=torch.Generator().manual_seed(1)).double()
    assert_slope(lambda at: flow.loss(at, columns), v)


def test_the_likelihood_is_minus_the_log_density_of_the_own_class():
    flow, columns = network("mle"), torch.tensor([0, 2, 1])
    v = torch.randn(3, N_FEATURES).double()
    own = flow.log_likelihoods(v)[torch.arange(3), columns]
    torch.testing.assert_close(flow.loss(v, columns), -own.mean())


def test_the_bottleneck_weighs_likelihood_and_cross_entropy():
    columns = torch.tensor([0, 2, 1])
    v = torch.randn(3, N_FEATURES).double()
    flow = network("ib", cross_entropy_weight=2.5, label_smoothing=0.0)
    joint = flow.log_likelihoods(v) + flow.log_prior
    own = joint[torch.arange(3), columns]
    posterior = own - torch.logsumexp(joint, dim=1)
    expected = -own.mean() / N_FEATURES - 2.5 * posterior.mean()
    torch.testing.assert_close(flow.loss(v, columns), expected)


def test_the_log_det_is_what_the_paper_leaves_out():
    v, columns = torch.randn(4, N_FEATURES).double(), torch.tensor([0, 0, 1, 2])
    with_it, without = network("mle"), network("paper")
    z, log_det = with_it.flow(v)
    spread = ((z - with_it.means[columns]).var(1, correction=0) - 1) ** 2
    expected = without.loss(v, columns) - spread.mean() - log_det.mean()
    torch.testing.assert_close(with_it.loss(v, columns), expected)


def test_training_adds_noise_and_use_does_not():
    flow = network("mle", noise=0.3)
    x = torch.zeros(4000, N_FEATURES).double()
    clean = flow.preprocessing(x)[0]
    added = flow.train()(x) - clean
    cell = flow.preprocessing.cell_width()
    assert float(added.std()) == pytest.approx(math.hypot(0.3, cell / math.sqrt(12)), rel=0.03)
    torch.testing.assert_close(flow.eval()(x), clean)


@pytest.mark.parametrize("learn", [True, False])
def test_means_move_where_they_are_learned(learn):
    names = dict(network("mle", learn_means=learn).named_parameters())
    assert ("means" in names) is learn


# Spreads of the classes


def spread_network(rows, columns):
    flow = network("mle")
    flow.preprocessing.step = None
    flow.requires_grad_(False)
    flow.spreads = fitted_spreads(flow, rows, columns, move_means=True)
    return flow


def drawn_rows(n):
    rng, columns = np.random.default_rng(1), np.arange(n) % 3
    mixing = rng.normal(size=(3, N_FEATURES, N_FEATURES))
    rows = np.einsum("nd,nde->ne", rng.normal(size=(n, N_FEATURES)), mixing[columns])
    return rows + 3 * columns[:, None], columns


def test_a_spread_is_a_gaussian_of_the_latents():
    rows, columns = drawn_rows(600)
    flow = spread_network(rows, columns)
    z, log_det = flow.flow(flow.preprocessing(torch.from_numpy(rows[:20]))[0])
    v = flow.preprocessing(torch.from_numpy(rows[:20]))[0]
    for column in range(3):
        root = flow.spreads.axes[column] * flow.spreads.scales[column]
        law = torch.distributions.MultivariateNormal(flow.spreads.means[column], root @ root.T)
        torch.testing.assert_close(flow.log_likelihoods(v)[:, column], law.log_prob(z) + log_det)


def test_many_rows_show_the_covariance_and_few_are_drawn_to_the_sphere():
    rows, columns = drawn_rows(3000)
    flow = spread_network(rows, columns)
    z = flow.flow(flow.preprocessing(torch.from_numpy(rows))[0])[0]
    for column in range(3):
        own = z[torch.from_numpy(columns == column)]
        noise = flow.spreads(own, column)[0]
        torch.testing.assert_close(noise.T @ noise / len(own), torch.eye(N_FEATURES).double())
    few = spread_network(rows[:12], columns[:12]).spreads
    own = z[:12][torch.from_numpy(columns[:12] == 0)]
    alone = np.linalg.eigvalsh(np.cov(own.T.numpy(), bias=True))
    assert float(few.scales[0].min()) ** 2 > alone.min() + 1e-3


def test_noise_of_a_class_becomes_its_latents_and_back():
    flow = spread_network(*drawn_rows(300))
    noise, weights = torch.randn(4, N_FEATURES).double(), torch.eye(3).double()[[1] * 4]
    torch.testing.assert_close(flow.residual(flow.latents(noise, weights), 1), noise)

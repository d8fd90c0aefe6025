"""The objectives against their formulas, and what training adds to rows."""

import math

import numpy as np
import pytest
import torch

from skinvert.flows.bases import class_means
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

"""Candidates are chosen by their weights, and the effective number of them is counted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from skinvert import Target
from skinvert.inversion.loop import optimize
from skinvert.inversion.objectives import as_objective
from skinvert.inversion.optimizers import Langevin
from skinvert.inversion.priors import DensityPrior, GaussianMixtureDensity
from skinvert.inversion.sampling import PosteriorSampler, effective_sample_size, resample
from skinvert.inversion.targeted import TargetedObjective
from skinvert.models.frozen import FrozenClassifier


class StandardNormal:
    """One dimension, in the attributes of a fitted mixture."""

    weights_, means_, covariances_ = np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))


log_weights = st.lists(st.floats(-30, 30), min_size=1, max_size=8).map(torch.tensor)


@given(weights=log_weights)
def test_choices_have_the_frequencies_of_the_weights(weights):
    n = 500
    chosen = [resample(weights, (draw + 0.5) / n) for draw in range(n)]
    shares = np.bincount(chosen, minlength=len(weights)) / n
    # The inverse distribution function on an even grid is off by one draw at each end.
    np.testing.assert_allclose(shares, torch.softmax(weights.double(), 0), atol=1.01 / n)


@given(weights=log_weights, uniform=st.floats(0, 1, exclude_max=True), shift=st.floats(-50, 50))
def test_choices_are_candidates_whatever_the_constant(weights, uniform, shift):
    index = resample(weights.double(), uniform)
    assert 0 <= index < len(weights)
    cumulative = torch.softmax(weights.double(), 0).cumsum(0)
    if (cumulative - uniform).abs().min() > 1e-9:
        assert resample(weights.double() + shift, uniform) == index


@pytest.mark.parametrize("uniform", [0.0, 0.3, 1 - 2**-24])
def test_a_candidate_without_weight_is_never_chosen(uniform):
    weights = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf])
    assert resample(weights, uniform) in (1, 3)


@given(weights=log_weights, shift=st.floats(-50, 50))
def test_effective_sizes_lie_between_one_and_all(weights, shift):
    weights = weights.double()
    size = effective_sample_size(weights)
    assert 1 - 1e-9 <= size <= len(weights) + 1e-9
    assert effective_sample_size(weights + shift) == pytest.approx(size)
    assert effective_sample_size(weights.flip(0)) == pytest.approx(size)


@given(n=st.integers(1, 9), copies=st.integers(1, 4))
def test_equal_candidates_all_count(n, copies):
    weights = torch.full((n,), -3.0)
    idle = torch.full((copies,), -torch.inf)
    assert effective_sample_size(weights) == pytest.approx(n)
    assert effective_sample_size(torch.cat([weights, idle])) == pytest.approx(n)


class TestPosteriorSampler:
    """One pixel, a standard normal prior and a logistic classifier: the law is known."""

    slope, n_rows = 3.0, 4000

    def sampler(self, power):
        prior = DensityPrior([], GaussianMixtureDensity(StandardNormal))
        classifier = FrozenClassifier(nn.Linear(1, 2), (1,))
        with torch.no_grad():
            classifier.network.weight.copy_(torch.tensor([[0.0], [self.slope]]))
            classifier.network.bias.zero_()
        ask = TargetedObjective(
            as_objective("cross_entropy"),
            classifier,
            Target([1] * self.n_rows),
            example=torch.zeros(1, 1, 1, 1),
        )
        return PosteriorSampler(
            prior,
            ask,
            range(self.n_rows),
            power=power,
            n_candidates=30,
            image_shape=(1, 1, 1),
            value_range=None,
        )

    def expected_mean(self, power):
        line = np.linspace(-8, 8, 4001)
        law = np.exp(-(line**2) / 2) / (1 + np.exp(-self.slope * line)) ** power
        return np.sum(line * law) / np.sum(law)

    @pytest.mark.parametrize("power", [1.0, 4.0])
    @pytest.mark.parametrize("n_steps", [0, 20])
    def test_draws_follow_the_posterior(self, power, n_steps):
        sampler = self.sampler(power)
        images = optimize(
            sampler.problem(),
            range(self.n_rows),
            batch_size=500,
            n_steps=n_steps,
            optimizer=Langevin(0.02),
        ).images
        # Finite candidates and steps bias the mean by about 0.02; the standard error is 0.01.
        assert images.mean() == pytest.approx(self.expected_mean(power), abs=0.06)
        assert self.expected_mean(4.0) > self.expected_mean(1.0) + 0.2

    def test_a_classifier_that_does_not_care_leaves_the_prior(self):
        self.slope = 0.0
        sampler = self.sampler(4.0)
        images = optimize(
            sampler.problem(), range(1000), batch_size=500, n_steps=0, optimizer=Langevin(0.02)
        ).images
        assert images.mean() == pytest.approx(0, abs=0.12)
        np.testing.assert_allclose(sampler.effective_sizes[:1000], 30)

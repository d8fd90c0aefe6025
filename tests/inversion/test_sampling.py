"""Candidates are chosen by their weights, and the effective number of them is counted."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skinvert.inversion.sampling import effective_sample_size, resample

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

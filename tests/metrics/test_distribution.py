"""The Fréchet distance is that of two Gaussians, and a metric's laws hold of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from skinvert.metrics import frechet_distance


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_it_agrees_with_the_matrix_square_root(rng):
    first = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    second = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1
    covariances = np.cov(first.T), np.cov(second.T)
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_fewer_rows_than_features(rng):
    first, second = rng.normal(size=(10, 40)), rng.normal(size=(12, 40))
    root = sqrtm(np.cov(first.T) @ np.cov(second.T) + 1e-14 * np.eye(40)).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(
        np.cov(first.T) + np.cov(second.T) - 2 * root
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 5), scale=st.floats(0.1, 10))
def test_laws(seed, width, scale):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(20, width)), rng.normal(size=(30, width)) + 1
    distance = frechet_distance(first, second)
    assert distance >= 0
    assert frechet_distance(second, first) == pytest.approx(distance, rel=1e-6)
    assert frechet_distance(first, rng.permutation(first)) == pytest.approx(0, abs=1e-8)
    scaled = frechet_distance(scale * first, scale * second)
    assert scaled == pytest.approx(scale**2 * distance, rel=1e-6)


@pytest.mark.parametrize("shapes", [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5,), (5, 3))])
def test_sets_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="2 rows and equal width"):
        frechet_distance(*(np.zeros(shape) for shape in shapes))

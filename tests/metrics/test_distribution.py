"""Distances between sets: closed forms, reference libraries, a metric's laws, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from skinvert.metrics import (
    frechet_distance,
    frechet_distance_at_infinity,
    kernel_distance,
    mind,
    sliced_wasserstein,
)

DISTANCES = {
    "frechet_distance": frechet_distance,
    "frechet_distance_at_infinity": frechet_distance_at_infinity,
    "kernel_distance": lambda x, y: kernel_distance(x, y)[0],
    "mind": lambda x, y: mind(x, y, n_projections=50),
    "sliced_wasserstein": lambda x, y: sliced_wasserstein(x, y, n_projections=50),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class FlatFeatures(torch.nn.Module):
    """Features that are their own extractor: rows pass through torchmetrics untouched."""

    num_features = 24

    def forward(self, rows):
        return rows


def feed(metric, features, real_features):
    metric.update(torch.from_numpy(real_features), real=True)
    metric.update(torch.from_numpy(features), real=False)
    return metric.compute()


def two_sets(rng, n=300, m=300, width=24):
    mixing = rng.normal(size=(width, width)) / 5
    real = np.maximum(rng.normal(size=(m, width)) @ mixing, 0)
    generated = np.maximum(rng.normal(size=(n, width)) @ mixing.T + 0.3, 0)
    return generated, real


# The Fréchet distance


def test_frechet_agrees_with_the_matrix_square_root(rng):
    first = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    second = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 1
    covariances = np.cov(first.T), np.cov(second.T)
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)


def test_frechet_agrees_with_torchmetrics(rng):
    image = pytest.importorskip("torchmetrics.image.fid")
    features, real = two_sets(rng, n=250)
    metric = image.FrechetInceptionDistance(feature=FlatFeatures()).set_dtype(torch.float64)
    expected = feed(metric, features, real).item()
    assert expected > 0.1
    assert frechet_distance(features, real) == pytest.approx(expected, rel=1e-4)


def exact_moments(rng, n, mean, deviations):
    """Rows whose mean and covariance are exactly these, the covariance diagonal."""
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(0)
    orthonormal, _ = np.linalg.qr(rows)
    return orthonormal * np.sqrt(n - 1) * deviations + mean


def test_frechet_of_two_gaussians_has_a_closed_form(rng):
    mean, deviations = np.array([1.0, -2.0, 0.5]), np.array([1.0, 0.5, 3.0])
    other, others = np.array([0.0, 1.0, 0.5]), np.array([2.0, 0.5, 1.0])
    first = exact_moments(rng, 50, mean, deviations)
    second = exact_moments(rng, 80, other, others)
    expected = np.sum((mean - other) ** 2) + np.sum((deviations - others) ** 2)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)


def test_frechet_with_fewer_rows_than_features(rng):
    first, second = rng.normal(size=(10, 40)), rng.normal(size=(12, 40))
    # The roots of the product's eigenvalues are the singular values of the product of the rows.
    centred = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (first, second)]
    singular = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False)
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2)
    expected += sum(np.square(rows).sum() for rows in centred) - 2 * singular.sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_frechet_with_constant_features(rng):
    first, second = rng.normal(size=(50, 3)), rng.normal(size=(60, 3))
    padded = [np.hstack([rows, np.full((len(rows), 2), 7.0)]) for rows in (first, second)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(first, second), rel=1e-8)
    assert frechet_distance(np.ones((5, 4)), np.zeros((9, 4))) == pytest.approx(4)


def test_extrapolation_finds_the_distance_of_the_distributions(rng):
    width, deviations = 64, np.linspace(0.7, 1.3, 64)
    first, second = rng.normal(size=(2, 2000, width))
    second = second * deviations + 0.2
    truth = width * 0.2**2 + np.sum((deviations - 1) ** 2)
    assert frechet_distance(first, second) > 1.15 * truth
    assert frechet_distance_at_infinity(first, second) == pytest.approx(truth, rel=0.08)


def test_extrapolation_between_samples_of_one_distribution_is_near_zero(rng):
    first, second = rng.normal(size=(1500, 32)), rng.normal(size=(1000, 32))
    assert frechet_distance(first, second) > 0.3
    assert abs(frechet_distance_at_infinity(first, second)) < 0.1


# The kernel distance


def test_kernel_distance_agrees_with_torchmetrics(rng):
    image = pytest.importorskip("torchmetrics.image.kid")
    features, real = two_sets(rng)
    metric = image.KernelInceptionDistance(feature=FlatFeatures(), subsets=2, subset_size=300)
    expected = feed(metric.set_dtype(torch.float64), features, real)[0].item()
    assert kernel_distance(features, real)[0] == pytest.approx(expected, rel=1e-4)
    whole = kernel_distance(features, real, subset_size=300, n_subsets=2)
    assert whole[0] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(whole[1])


def test_kernel_distance_is_its_definition(rng):
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1

    def kernel(a, b):
        return (0.5 * a @ b + 2) ** 2

    within_x = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([kernel(a, b) for a in x for b in y])
    value, _ = kernel_distance(x, y, degree=2, gamma=0.5, coef0=2)
    assert value == pytest.approx(within_x + within_y - 2 * between)


@pytest.mark.parametrize("subset_size", [None, 30])
def test_kernel_distance_has_no_bias_and_knows_its_error(subset_size):
    rng = np.random.default_rng(1)
    draws = [
        kernel_distance(
            rng.normal(size=(60, 3)), rng.normal(size=(80, 3)) + 0.5, subset_size=subset_size
        )
        for _ in range(150)
    ]
    values, errors = np.transpose(draws)
    large = kernel_distance(rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3)) + 0.5)[0]
    assert values.mean() == pytest.approx(large, abs=4 * values.std() / np.sqrt(150) + 0.05)
    # The subsets' error may be on the large side, never much too small.
    assert 0.75 < errors.mean() / values.std() < (1.35 if subset_size is None else 1.7)


# Sliced Wasserstein


def test_one_dimension_needs_no_slices(rng):
    x, y = rng.normal(size=8), rng.normal(size=8) + 1
    expected = np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2))
    assert sliced_wasserstein(x[:, None], y[:, None]) == pytest.approx(expected)
    assert mind(x[:, None], y[:, None]) == pytest.approx(3 * expected**2)


@settings(max_examples=30)
@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 1000))
def test_unequal_sets_are_compared_whole(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1))
    # Each set said over as often as the other is long: equal sizes, the same distributions.
    expected = sliced_wasserstein(np.repeat(x, m, axis=0), np.repeat(y, n, axis=0))
    assert sliced_wasserstein(x, y) == pytest.approx(expected)
    assert sliced_wasserstein(x, y) >= wasserstein_distance(x[:, 0], y[:, 0]) - 1e-12


def test_a_shift_has_a_closed_form(rng):
    rows = rng.normal(size=(200, 5))
    shift = np.array([1.0, 2.0, 0.0, -1.0, 0.5])
    assert mind(rows + shift, rows, n_projections=20000) == pytest.approx(
        3 * np.sum(shift**2), rel=0.03
    )


def test_mind_sees_what_two_moments_do_not(rng):
    real = exact_moments(rng, 400, np.zeros(2), np.ones(2))
    signs = np.sign(rng.normal(size=(400, 2)))
    signs = (signs - signs.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(signs.T))).T
    assert frechet_distance(signs, real) == pytest.approx(0, abs=1e-6)
    assert mind(signs, real) > 5 * mind(rng.normal(size=(400, 2)), real)


# Laws that all of them keep


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 5), scale=st.floats(0.1, 10))
def test_laws_of_squared_distances(seed, width, scale):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(20, width)), rng.normal(size=(30, width)) + 1
    for name in ("frechet_distance", "mind"):
        distance = DISTANCES[name]
        value = distance(first, second)
        assert value >= 0
        assert distance(second, first) == pytest.approx(value, rel=1e-6)
        assert distance(first, rng.permutation(first)) == pytest.approx(0, abs=1e-8)
        assert distance(scale * first, scale * second) == pytest.approx(scale**2 * value, rel=1e-6)
        assert distance(first + 3, second + 3) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance", "mind"])
def test_order_does_not_matter(name, rng):
    features, real = two_sets(rng, n=100, m=120)
    expected = DISTANCES[name](features, real)
    assert DISTANCES[name](rng.permutation(features), rng.permutation(real)) == pytest.approx(
        expected, rel=1e-9
    )


@pytest.mark.parametrize("name", DISTANCES)
def test_it_repeats_and_leaves_its_input_alone(name, rng, global_rng_untouched):
    features, real = two_sets(rng, n=50, m=60)
    copies = features.copy(), real.copy()
    with global_rng_untouched():
        assert DISTANCES[name](features, real) == DISTANCES[name](features, real)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(real, copies[1])


def test_a_copycat_has_a_perfect_frechet_distance(rng):
    _, real = two_sets(rng)
    assert frechet_distance(real.copy(), real) == pytest.approx(0, abs=1e-7)


# Bad input


@pytest.mark.parametrize("name", DISTANCES)
def test_bad_input_is_refused(name):
    distance, rows = DISTANCES[name], np.ones((20, 3))
    with pytest.raises(ValueError, match=r"3 wide.*4 wide.*same extractor"):
        distance(rows, np.ones((20, 4)))
    with pytest.raises(ValueError, match="shape \\(20,\\)"):
        distance(rows, np.ones(20))
    broken = rows.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"real_features holds NaN .* in 1 of 20.*row 7"):
        distance(rows, broken)
    with pytest.raises(ValueError, match="features has 0 rows, expected at least"):
        distance(rows[:0], rows)


@pytest.mark.parametrize("name", DISTANCES)
def test_constant_features_have_limit_values(name):
    assert DISTANCES[name](np.ones((20, 3)), np.ones((20, 3))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "minimum"),
    [("frechet_distance", 2), ("frechet_distance_at_infinity", 8), ("kernel_distance", 3)],
)
def test_too_few_rows_are_refused(name, minimum):
    with pytest.raises(ValueError, match=f"expected at least {minimum}"):
        DISTANCES[name](np.zeros((minimum - 1, 2)), np.zeros((10, 2)))


def test_parameters_out_of_range_are_refused():
    rows = np.ones((20, 3))
    with pytest.raises(ValueError, match="n_points must be at least 2"):
        frechet_distance_at_infinity(rows, rows, n_points=1)
    with pytest.raises(ValueError, match="n_projections must be at least 1"):
        mind(rows, rows, n_projections=0)
    with pytest.raises(ValueError, match=r"smaller set, 20.*got 21"):
        kernel_distance(rows, rows, subset_size=21)

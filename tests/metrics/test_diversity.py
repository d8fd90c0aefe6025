"""A mean image has no diversity and reaches few modes; a copycat has all of both."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skinvert.metrics import mode_coverage, relative_diversity


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    # In file order the writers differ from part to part.
    order = np.random.default_rng(0).permutation(len(X))
    return X[order] / 16, y[order]


@pytest.fixture(scope="module")
def means(digits):
    X, y = digits
    return np.stack([X[y == label].mean(0) for label in y])


def test_a_copycat_is_diverse(digits):
    X, y = digits
    assert relative_diversity(X[:200], y[:200], X[:900], y[:900]) == pytest.approx(1, abs=0.1)


def test_a_mean_image_has_no_diversity(digits, means):
    X, y = digits
    assert relative_diversity(means, y, X, y) == pytest.approx(0, abs=1e-6)


def test_diversity_is_that_of_classes_and_scales(digits):
    X, y = digits
    assert relative_diversity(X / 2 + 3, y, X, y) == pytest.approx(0.5)
    assert relative_diversity(X.reshape(-1, 8, 8), y, X, y) == pytest.approx(1)


def test_diversity_forgets_the_order(digits):
    X, y = digits
    order = np.random.default_rng(0).permutation(300)
    assert relative_diversity(X[order], y[order], X, y) == pytest.approx(
        relative_diversity(X[:300], y[:300], X, y)
    )


def test_classes_without_a_pair_are_left_out(digits):
    X, y = digits
    assert np.isnan(relative_diversity(X[:1], y[:1], X, y))
    assert np.isnan(relative_diversity(X[:5], np.zeros(5), np.ones((9, 64)), np.zeros(9)))
    without_threes = relative_diversity(X[y != 3] / 2, y[y != 3], X, y)
    assert without_threes == pytest.approx(0.5)


def test_modes_that_real_rows_reach_and_mean_images_and_noise_do_not(digits, means):
    X, _ = digits
    real = mode_coverage(X[:900], X[900:], n_modes=50)
    assert real > 0.9
    assert mode_coverage(means[:900], X[900:], n_modes=50) <= 10 / 50
    noise = np.random.default_rng(0).uniform(size=(900, 64))
    assert mode_coverage(noise, X[900:], n_modes=50) == 0


def test_a_copycat_reaches_every_mode(digits):
    X, _ = digits
    assert mode_coverage(X[::-1], X, n_modes=60) == 1


def test_modes_dropped_are_counted():
    rng = np.random.default_rng(0)
    centres = 100 * np.arange(8)[:, None]
    real = (centres + rng.uniform(-1, 1, size=(8, 20))).reshape(-1, 1)
    assert mode_coverage(real[:60], real, n_modes=8) == 3 / 8
    assert mode_coverage(50 + 100 * np.arange(8.0)[:, None], real, n_modes=8) == 0


def test_constant_rows_are_one_mode():
    with pytest.warns(match="distinct clusters"):
        assert mode_coverage(np.ones((5, 2)), np.ones((20, 2)), n_modes=4) == 1


def test_mode_coverage_repeats(digits):
    X, _ = digits
    first, second = (mode_coverage(X[:50], X[900:], n_modes=20) for _ in range(2))
    assert first == second


def test_bad_input_is_refused(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"half the real rows, 10; got 11"):
        mode_coverage(X, X[:20], n_modes=11)
    with pytest.raises(ValueError, match="64 wide and real_features is 63 wide"):
        mode_coverage(X, X[:, 1:])
    with pytest.raises(ValueError, match="64 wide and X is 63 wide"):
        relative_diversity(X, y, X[:, 1:], y)
    with pytest.raises(ValueError, match="y_generated has shape"):
        relative_diversity(X, y[:5], X, y)
    with pytest.raises(ValueError, match="X_generated holds NaN"):
        relative_diversity(X * np.nan, y, X, y)

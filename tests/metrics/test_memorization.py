"""A copycat is caught by authenticity, a mean image by diversity."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from skinvert.metrics import authenticity, relative_diversity


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def test_a_copycat_is_diverse_and_not_authentic(digits):
    X, y = digits
    copies = np.random.default_rng(0).permutation(900)[:200]
    assert relative_diversity(X[copies], y[copies], X[:900], y[:900]) == pytest.approx(1, abs=0.1)
    assert authenticity(X[copies], X[:900]) == 0


def test_real_rows_are_half_authentic(digits):
    X, _ = digits
    assert 0.35 < authenticity(X[900:], X[:900]) < 0.75


def test_a_mean_image_has_no_diversity(digits):
    X, y = digits
    means = np.stack([X[y == label].mean(0) for label in y])
    assert relative_diversity(means, y, X, y) == pytest.approx(0, abs=1e-6)


def test_diversity_is_that_of_classes_and_scales(digits):
    X, y = digits
    assert relative_diversity(X / 2 + 3, y, X, y) == pytest.approx(0.5)
    assert np.isnan(relative_diversity(X[:1], y[:1], X, y))


def test_order_does_not_matter(digits):
    X, y = digits
    order = np.random.default_rng(0).permutation(300)
    assert authenticity(X[order], X[300:]) == authenticity(X[:300], X[300:])
    assert relative_diversity(X[order], y[order], X, y) == pytest.approx(
        relative_diversity(X[:300], y[:300], X, y)
    )

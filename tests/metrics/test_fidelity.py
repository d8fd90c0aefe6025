"""The judge learns from generated rows alone and is asked about real ones."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from skinvert.metrics import judge_accuracy


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    # In file order the writers differ from part to part.
    some = np.random.default_rng(0).permutation(len(X))[:600]
    return X[some], y[some]


def test_real_rows_teach_and_noise_does_not(digits):
    X, y = digits
    noise = np.random.default_rng(0).uniform(0, 16, size=X.shape)
    assert judge_accuracy(X[:300], y[:300], X[300:], y[300:]) > 0.9
    assert judge_accuracy(noise[:300], y[:300], X[300:], y[300:]) < 0.3


def test_labels_that_lie_teach_lies(digits):
    X, y = digits
    assert judge_accuracy(X[:300], (y[:300] + 1) % 10, X[300:], y[300:]) < 0.05


def test_any_classifier_can_judge_and_stays_unfitted(digits):
    X, y = digits
    judge = KNeighborsClassifier(1)
    assert judge_accuracy(X[:300], y[:300], X[:300], y[:300], judge=judge) == 1
    assert not hasattr(judge, "classes_")


def test_one_class_needs_no_judge():
    assert judge_accuracy(np.zeros((2, 1)), ["a", "a"], np.zeros((4, 1)), list("aaab")) == 0.75


def test_it_repeats(digits):
    X, y = digits
    first, second = (judge_accuracy(X[:200], y[:200], X[200:], y[200:]) for _ in range(2))
    assert first == second

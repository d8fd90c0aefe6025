"""Judges that are given see through lies and noise; the one that is trained learns from
generated rows alone and is asked about real ones."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from skinvert.metrics import (
    classification_accuracy_score,
    inception_score,
    judge_accuracy,
    judge_confidence,
)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    # In file order the writers differ from part to part.
    some = np.random.default_rng(0).permutation(len(X))[:600]
    return X[some], y[some]


@pytest.fixture(scope="module")
def judge(digits):
    X, y = digits
    return LogisticRegression(max_iter=300).fit(X[300:] / 16, y[300:])


# A fitted judge


def test_a_judge_knows_real_rows_and_not_noise(digits, judge):
    X, y = digits[0][:300] / 16, digits[1][:300]
    noise = np.random.default_rng(0).uniform(size=X.shape)
    for measure in (judge_accuracy, judge_confidence):
        assert measure(judge, X, y) > 0.75
        assert measure(judge, X, (y + 1) % 10) < 0.1
        assert measure(judge, noise, y) < 0.3


def test_accuracy_is_that_of_score_and_order_does_not_matter(digits, judge):
    X, y = digits[0][:100] / 16, digits[1][:100]
    order = np.random.default_rng(0).permutation(100)
    assert judge_accuracy(judge, X, y) == judge.score(X, y)
    assert judge_accuracy(judge, X[order], y[order]) == judge.score(X, y)
    assert judge_confidence(judge, X[order], y[order]) == pytest.approx(
        judge_confidence(judge, X, y)
    )


def test_columns_are_those_of_the_judges_classes():
    judge = KNeighborsClassifier(1).fit([[0.0], [1.0]], ["zebra", "ant"])
    assert judge_confidence(judge, [[0.0], [1.0]], ["zebra", "zebra"]) == 0.5
    assert judge_accuracy(judge, [[0.0], [1.0]], ["zebra", "zebra"]) == 0.5


def test_labels_that_no_judge_knows_are_refused(judge):
    rows = np.zeros((2, 64))
    for measure in (judge_accuracy, judge_confidence):
        with pytest.raises(ValueError, match="11"):
            measure(judge, rows, [0, 11])
        with pytest.raises(ValueError, match=r"expected \(2,\)"):
            measure(judge, rows, [0])
        with pytest.raises(ValueError, match="NaN or infinity"):
            measure(judge, rows + np.nan, [0, 1])


def test_a_judge_without_probabilities_has_no_confidence(digits):
    X, y = digits
    judge = RidgeClassifier().fit(X, y)
    with pytest.raises(TypeError, match="predict_proba, got RidgeClassifier"):
        judge_confidence(judge, X, y)


# The classification accuracy score


def test_real_rows_teach_and_noise_does_not(digits):
    X, y = digits
    noise = np.random.default_rng(0).uniform(0, 16, size=X.shape)
    assert classification_accuracy_score(X[:300], y[:300], X[300:], y[300:]) > 0.9
    assert classification_accuracy_score(noise[:300], y[:300], X[300:], y[300:]) < 0.3


def test_labels_that_lie_teach_lies(digits):
    X, y = digits
    assert classification_accuracy_score(X[:300], (y[:300] + 1) % 10, X[300:], y[300:]) < 0.05


def test_any_classifier_can_judge_and_stays_unfitted(digits):
    X, y = digits
    judge = KNeighborsClassifier(1)
    assert classification_accuracy_score(X[:300], y[:300], X[:300], y[:300], judge=judge) == 1
    assert not hasattr(judge, "classes_")


def test_images_are_rows_to_the_judge(digits):
    X, y = digits
    rows = classification_accuracy_score(X[:200], y[:200], X[200:], y[200:])
    images = X.reshape(-1, 1, 8, 8)
    assert classification_accuracy_score(images[:200], y[:200], X[200:], y[200:]) == rows


def test_one_class_needs_no_judge():
    real = np.zeros((4, 1)), list("aaab")
    assert classification_accuracy_score(np.zeros((2, 1)), ["a", "a"], *real) == 0.75


def test_a_class_that_was_never_generated_counts_as_wrong(digits):
    X, y = digits
    seen = y != 3
    score = classification_accuracy_score(X[seen], y[seen], X, y, judge=KNeighborsClassifier(1))
    assert score == pytest.approx(seen.mean())


def test_it_repeats(digits):
    X, y = digits
    first, second = (
        classification_accuracy_score(X[:200], y[:200], X[200:], y[200:]) for _ in range(2)
    )
    assert first == second


def test_sets_that_do_not_fit_are_refused(digits):
    X, y = digits
    with pytest.raises(ValueError, match="64 wide and X is 63 wide"):
        classification_accuracy_score(X, y, X[:, 1:], y)
    with pytest.raises(ValueError, match=r"y_generated has shape \(600, 1\)"):
        classification_accuracy_score(X, y[:, None], X, y)
    with pytest.raises(ValueError, match="X holds NaN"):
        classification_accuracy_score(X, y, X + np.nan, y)


# The Inception Score


class Logits(torch.nn.Module):
    def forward(self, rows):
        return rows


@pytest.mark.parametrize("n_splits", [1, 5])
def test_inception_score_agrees_with_torchmetrics(n_splits, monkeypatch):
    image = pytest.importorskip("torchmetrics.image.inception")
    logits = 3 * np.random.default_rng(0).normal(size=(200, 6))
    metric = image.InceptionScore(feature=Logits(), splits=n_splits).set_dtype(torch.float64)
    metric.update(torch.from_numpy(logits))
    order = torch.from_numpy(np.random.default_rng(4).permutation(200))
    monkeypatch.setattr(torch, "randperm", lambda n: order)
    expected = [value.item() for value in metric.compute()]
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    figures = inception_score(probabilities, n_splits=n_splits, random_state=4)
    np.testing.assert_allclose(figures, expected, rtol=1e-4)


def test_inception_score_runs_from_one_to_the_number_of_classes():
    sure = np.eye(5)[np.arange(500) % 5]
    assert inception_score(sure, n_splits=1)[0] == pytest.approx(5)
    assert inception_score(sure[::5], n_splits=4) == (1, 0)
    assert inception_score(np.full((40, 5), 0.2)) == pytest.approx((1, 0))
    assert np.isnan(inception_score(sure, n_splits=1)[1])


def test_inception_score_forgets_the_order():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=60)
    expected = inception_score(probabilities, n_splits=1)[0]
    assert inception_score(probabilities[::-1], n_splits=1)[0] == pytest.approx(expected)


def test_logits_are_no_probabilities():
    with pytest.raises(ValueError, match="Apply softmax"):
        inception_score(np.ones((20, 3)))
    with pytest.raises(ValueError, match="Apply softmax"):
        inception_score([[1.5, -0.5]] * 20)
    with pytest.raises(ValueError, match="n_splits must lie between 1"):
        inception_score(np.eye(3), n_splits=4)

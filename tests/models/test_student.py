"""Students answer as their teachers do, the same for the same seed, and disturb nothing."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from skinvert.models.student import distill


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def tree(iris):
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(*iris)


def named(distillation, X):
    logits = distillation.module(torch.as_tensor(np.asarray(X), dtype=torch.float32))
    return distillation.classes[logits.argmax(dim=1).numpy()]


@pytest.mark.parametrize(
    "teacher",
    [
        RandomForestClassifier(50, random_state=0),
        HistGradientBoostingClassifier(max_iter=30, random_state=0),
        SVC(),
        KNeighborsClassifier(),
    ],
    ids=lambda teacher: type(teacher).__name__,
)
def test_students_are_faithful_on_digits(teacher):
    X, y = load_digits(return_X_y=True)
    teacher.fit(X[:1200], y[:1200])
    student = distill(teacher, X[:1200], n_epochs=8, random_state=0)
    assert student.n_held_out == 240
    assert student.fidelity >= 0.95
    # Rows that neither of them learned from.
    assert np.mean(named(student, X[1200:]) == teacher.predict(X[1200:])) >= 0.9


def test_probabilities_are_copied_not_only_labels(iris):
    X, y = iris
    teacher = KNeighborsClassifier(40).fit(X, y)
    student = distill(teacher, X, n_epochs=8, random_state=0)
    got = student.module(torch.tensor(X, dtype=torch.float32)).softmax(dim=1).numpy()
    assert np.abs(got - teacher.predict_proba(X)).mean() < 0.03


def test_columns_are_the_classes_of_the_teacher(iris, tree):
    student = distill(FrozenEstimator(tree), iris[0], n_epochs=8, random_state=0)
    assert student.classes.tolist() == tree.classes_.tolist()
    assert student.module.n_outputs == 3
    assert np.mean(named(student, iris[0]) == tree.predict(iris[0])) > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(iris, tree):
    def weights(random_state):
        student = distill(tree, iris[0], n_epochs=2, random_state=random_state)
        return torch.nn.utils.parameters_to_vector(student.module.parameters())

    first = weights(0)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))
    assert torch.equal(weights(np.random.RandomState(3)), weights(np.random.RandomState(3)))


@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_states_and_the_teacher_stay_as_they_were(iris, tree, random_state):
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    distill(tree, iris[0], n_epochs=2, random_state=random_state)
    after = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1][1], after[1][1])
    assert before[1][2:] == after[1][2:]
    assert torch.equal(before[2], after[2])


def test_the_student_is_frozen_and_differentiable_in_its_rows(iris, tree):
    student = distill(tree, iris[0], n_epochs=5, random_state=0)
    assert not student.module.training
    assert not any(weight.requires_grad for weight in student.module.parameters())
    rows = torch.tensor(iris[0], dtype=torch.float32, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(student.module(rows), torch.zeros(150).long())
    (gradient,) = torch.autograd.grad(loss, rows)
    assert gradient.abs().sum() > 0


def test_constant_features_are_ignored(iris):
    X = np.column_stack([iris[0], np.zeros(150), np.full(150, 1e6)])
    teacher = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, iris[1])
    student = distill(teacher, X, n_epochs=8, random_state=0)
    assert student.fidelity > 0.9
    rows = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    logits = student.module(rows)
    assert torch.isfinite(logits).all()
    (gradient,) = torch.autograd.grad(logits.logsumexp(dim=1).sum(), rows)
    assert (gradient[:, 4:] == 0).all()
    assert (gradient[:, :4] != 0).any()


@pytest.mark.parametrize("X", [np.zeros((30, 3)), np.arange(90.0).reshape(30, 3)])
def test_a_teacher_of_one_class_has_a_constant_student(X):
    teacher = DummyClassifier().fit(X, np.full(30, "only"))
    student = distill(teacher, X, random_state=0)
    logits = student.module(torch.randn(5, 3, requires_grad=True))
    assert student.fidelity == 1.0
    assert logits.tolist() == [[0.0]] * 5
    assert logits.requires_grad


def test_a_small_table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3)) * [1, 100, 0.01]
    y = (X[:, 0] > 0).astype(int)
    teacher = make_pipeline(StandardScaler(), KNeighborsClassifier(3)).fit(X, y)
    student = distill(teacher, X, random_state=0)
    assert student.n_held_out == 6
    assert np.mean(named(student, X) == teacher.predict(X)) > 0.9


@pytest.mark.parametrize("n_rows", [1, 9])
def test_few_rows_are_all_learned_from_and_judged_by(n_rows):
    X = np.linspace(0, 1, 2 * n_rows).reshape(n_rows, 2)
    teacher = KNeighborsClassifier(1).fit([[0.0, 0.0], [1.0, 1.0]], [0, 1])
    student = distill(teacher, X, n_epochs=5, random_state=0)
    assert student.n_held_out == 0
    assert student.fidelity >= 8 / 9


class Coin(ClassifierMixin, BaseEstimator):
    """Labels a row by a hash of its digits: nothing can be learned; it has no classes_."""

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return np.where(np.sin(1e6 * X).sum(axis=1) > 0, "heads", "tails")


def test_an_unfaithful_student_is_warned_about_and_labels_are_classes_enough():
    X = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.warns(UserWarning, match=r"agrees with Coin on .*raise n_epochs \(now 2\)"):
        student = distill(Coin(), X, n_epochs=2, random_state=0)
    assert student.classes.tolist() == ["heads", "tails"]
    assert student.fidelity < 0.9


def test_a_teacher_of_named_columns_is_asked_by_name(iris):
    X = pd.DataFrame(iris[0], columns=list("abcd"))
    teacher = make_pipeline(
        make_column_transformer((StandardScaler(), ["c", "d"])), DecisionTreeClassifier(max_depth=2)
    ).fit(X, iris[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student = distill(teacher, X.to_numpy(), n_epochs=8, random_state=0)
    assert student.fidelity > 0.9


def test_bad_input(iris, tree):
    X = iris[0]
    several = DecisionTreeClassifier().fit(X, np.eye(2, dtype=int)[(X[:, 0] > 6).astype(int)])
    with pytest.raises(ValueError, match="several outputs"):
        distill(several, X)
    with pytest.raises(TypeError, match="StandardScaler, which has neither"):
        distill(StandardScaler().fit(X), X)
    with pytest.raises(NotFittedError):
        distill(DecisionTreeClassifier(), X)
    with pytest.raises(ValueError, match="n_epochs=0"):
        distill(tree, X, n_epochs=0)
    with pytest.raises(ValueError, match="NaN"):
        distill(tree, np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="0 sample"):
        distill(tree, np.empty((0, 4)))

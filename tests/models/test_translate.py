"""Translated classifiers say what scikit-learn's say, on the training rows and far from them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from skinvert.models.translate import NotTranslatable, translate, translate_transformer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=200),
    "logistic, saga": LogisticRegression(solver="saga", max_iter=20),
    "logistic, no intercept": LogisticRegression(fit_intercept=False, max_iter=200),
    "logistic, cross-validated": LogisticRegressionCV(
        Cs=2, cv=2, max_iter=50, l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"
    ),
    "linear SVC": LinearSVC(max_iter=200, random_state=0),
    "linear SVC, Crammer-Singer": LinearSVC(multi_class="crammer_singer", max_iter=200),
    "SGD, hinge": SGDClassifier(random_state=0),
    "SGD, log loss": SGDClassifier(loss="log_loss", random_state=0),
    "SGD, modified Huber": SGDClassifier(loss="modified_huber", random_state=0),
    "ridge": RidgeClassifier(),
    "ridge, no intercept": RidgeClassifier(fit_intercept=False),
    "ridge, cross-validated": RidgeClassifierCV(),
    "LDA, svd": LinearDiscriminantAnalysis(),
    "LDA, lsqr": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
    "LDA, eigen": LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.1),
    "naive Bayes": GaussianNB(var_smoothing=1e-3),
    **{
        f"perceptron, {activation}": MLPClassifier((12, 7), activation=activation, max_iter=15)
        for activation in ("identity", "logistic", "tanh", "relu")
    },
    "linear perceptron": MLPClassifier((), max_iter=15),
}


@pytest.fixture(scope="module")
def data():
    digits = load_digits()
    iris = load_iris()
    few = digits.target < 6
    two = iris.target > 0
    return {
        "digits": (digits.data[few][:300] / 16, digits.target[few][:300].astype(str)),
        "iris, two classes": (iris.data[two], np.array(["b", "a"])[iris.target[two] - 1]),
    }


def rows_near_and_far(X):
    rng = np.random.default_rng(0)
    return np.concatenate([X, 3 * rng.normal(size=(50, X.shape[1])), np.zeros((1, X.shape[1]))])


def assert_agrees(classifier, X, tolerance=1e-5):
    module = translate(classifier)
    scores = module(torch.from_numpy(X))
    assert scores.shape == (len(X), len(classifier.classes_))
    assert module.n_outputs == len(classifier.classes_)
    if module.agrees_with == "predict_proba":
        got, expected = scores.softmax(dim=1), classifier.predict_proba(X)
    else:
        got, expected = scores, classifier.decision_function(X)
        if expected.ndim == 1:
            got = got[:, 1] - got[:, 0]
    np.testing.assert_allclose(got.numpy(), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(
        classifier.classes_[scores.argmax(dim=1).numpy()], classifier.predict(X)
    )


@pytest.mark.parametrize("problem", ["digits", "iris, two classes"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_agree_with_scikit_learn(name, problem, data):
    X, y = data[problem]
    classifier = copy.deepcopy(CLASSIFIERS[name])
    if "random_state" in classifier.get_params():
        classifier.set_params(random_state=0)
    assert_agrees(classifier.fit(X, y), rows_near_and_far(X))


@pytest.mark.parametrize(
    ("classifier", "method"),
    [
        (LogisticRegression(), "predict_proba"),
        (SGDClassifier(loss="log_loss"), "predict_proba"),
        (SGDClassifier(loss="modified_huber"), "decision_function"),
        (LinearSVC(), "decision_function"),
    ],
)
def test_the_module_says_what_its_scores_are(classifier, method):
    X, y = load_iris(return_X_y=True)
    assert translate(make_pipeline(StandardScaler(), classifier).fit(X, y)).agrees_with == method


def test_sparse_coefficients():
    X, y = load_iris(return_X_y=True)
    assert_agrees(SGDClassifier(random_state=0).fit(X, y).sparsify(), X)


STEPS = {
    "standard": [StandardScaler()],
    "mean only": [StandardScaler(with_std=False)],
    "scale only": [StandardScaler(with_mean=False)],
    "neither": [StandardScaler(with_mean=False, with_std=False)],
    "range": [MinMaxScaler((-1, 2))],
    "clipped range": [MinMaxScaler(clip=True)],
    "l1": [Normalizer("l1")],
    "l2": [Normalizer("l2")],
    "max": [Normalizer("max")],
    "PCA": [PCA(5)],
    "whitened PCA": [PCA(5, whiten=True)],
    "all": [StandardScaler(), MinMaxScaler(), "passthrough", Normalizer(), PCA(4, whiten=True)],
    "nested and frozen": [make_pipeline(StandardScaler(), PCA(6)), "passthrough", MinMaxScaler()],
}


@pytest.mark.parametrize("name", STEPS)
def test_transformers_agree_and_pipelines_over_them(name, data):
    X, y = data["digits"]
    pipeline = make_pipeline(*copy.deepcopy(STEPS[name]), LogisticRegression(max_iter=500))
    pipeline.fit(X, y)
    far = rows_near_and_far(X)
    coordinates = translate_transformer(pipeline[:-1])(torch.from_numpy(far))
    np.testing.assert_allclose(coordinates.numpy(), pipeline[:-1].transform(far), atol=1e-9)
    assert_agrees(pipeline, far)


@pytest.mark.parametrize("name", [name for name in STEPS if name not in ("l1", "l2", "max", "all")])
def test_inverse_agrees(name, data):
    X, _ = data["digits"]
    pipeline = make_pipeline(*copy.deepcopy(STEPS[name])).fit(X)
    coordinates = pipeline.transform(X) + 0.3
    rows = translate_transformer(pipeline).inverse(torch.from_numpy(coordinates))
    np.testing.assert_allclose(rows.numpy(), pipeline.inverse_transform(coordinates), atol=1e-9)


def test_rows_without_length_are_left_alone():
    rows = np.array([[0.0, 0.0], [1e-18, -1e-18], [3.0, -4.0]])
    for norm in ("l1", "l2", "max"):
        transformer = Normalizer(norm).fit(rows)
        got = translate_transformer(transformer)(torch.from_numpy(rows))
        np.testing.assert_allclose(got.numpy(), transformer.transform(rows))


def test_a_normalizer_has_no_inverse():
    module = translate_transformer(make_pipeline(StandardScaler(), Normalizer()).fit(np.eye(3)))
    with pytest.raises(NotTranslatable, match="no inverse"):
        module.inverse(torch.eye(3, dtype=torch.float64))


def test_frozen_estimators_are_opened_wherever_they_stand():
    X, y = load_iris(return_X_y=True)
    scaler = StandardScaler().fit(X)
    classifier = LogisticRegression().fit(scaler.transform(X), y)
    pipeline = make_pipeline(FrozenEstimator(scaler), FrozenEstimator(classifier)).fit(X, y)
    assert_agrees(FrozenEstimator(pipeline), X)


class Renamed(LogisticRegression):
    """Computes what its parent computes."""


class Contrary(LogisticRegression):
    """Answers something else."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


def test_a_subclass_counts_as_its_parent_unless_it_answers_differently():
    X, y = load_iris(return_X_y=True)
    assert_agrees(Renamed(max_iter=500).fit(X, y), X)
    with pytest.raises(NotTranslatable, match="Contrary"):
        translate(Contrary(max_iter=500).fit(X, y))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (RandomForestClassifier(2), "RandomForestClassifier"),
        (make_pipeline(RobustScaler(), LogisticRegression()), "step 'robustscaler'"),
        (make_pipeline(StandardScaler(), RandomForestClassifier(2)), "step 'randomforest"),
        (
            Pipeline([("outer", make_pipeline(RobustScaler())), ("final", RidgeClassifier())]),
            "step 'outer.robustscaler'",
        ),
        (make_pipeline(StandardScaler()), "StandardScaler"),
        (make_pipeline("passthrough"), "passthrough"),
    ],
)
def test_refusals_name_the_step(estimator, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(NotTranslatable, match=message):
        translate(estimator.fit(X, y))


@pytest.mark.parametrize("estimator", [torch.nn.Linear(2, 2), LogisticRegression, object()])
def test_what_is_no_estimator_is_refused(estimator):
    with pytest.raises(NotTranslatable, match="expected one of"):
        translate(estimator)


@pytest.mark.parametrize("classifier", [RidgeClassifier(), MLPClassifier((3,), max_iter=3)])
@pytest.mark.parametrize("y", [np.eye(2)[[0, 1, 1, 0]], np.zeros(4)])
def test_multilabel_and_single_class_fits_are_refused(classifier, y):
    y = y.astype(int)
    with pytest.raises(NotTranslatable, match="multilabel"):
        translate(copy.deepcopy(classifier).fit(np.arange(8.0).reshape(4, 2), y))


def test_unfitted_estimators_are_refused():
    with pytest.raises(NotFittedError):
        translate(LogisticRegression())
    with pytest.raises(NotFittedError):
        translate_transformer(make_pipeline(StandardScaler(), PCA()))


def test_rows_of_another_width_are_refused():
    module = translate(GaussianNB().fit(*load_iris(return_X_y=True)))
    for shape in ((2, 3), (4,), (2, 1, 4)):
        with pytest.raises(ValueError, match=r"expected rows of shape \(n, 4\)"):
            module(torch.zeros(shape, dtype=torch.float64))


def test_buffers_follow_the_dtype_and_survive_pickling():
    X, y = load_iris(return_X_y=True)
    classifier = make_pipeline(
        StandardScaler(), MLPClassifier((5,), solver="lbfgs", max_iter=5000)
    ).fit(X, y)
    module = pickle.loads(pickle.dumps(translate(classifier))).to(torch.float32)
    assert not list(module.parameters())
    assert {buffer.dtype for buffer in module.buffers()} == {torch.float32}
    probabilities = module(torch.from_numpy(X).float()).softmax(dim=1)
    np.testing.assert_allclose(probabilities.numpy(), classifier.predict_proba(X), atol=1e-5)


def test_the_module_shares_no_memory_with_the_estimator():
    X, y = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=500).fit(X, y)
    before = classifier.coef_.copy()
    for buffer in translate(classifier).buffers():
        buffer.zero_()
    np.testing.assert_array_equal(classifier.coef_, before)


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss", random_state=0),
        GaussianNB(),
        make_pipeline(Normalizer(), MLPClassifier((4,), "tanh", max_iter=5)),
        make_pipeline(MinMaxScaler(), Normalizer("l1"), PCA(2, whiten=True), RidgeClassifier()),
    ],
)
def test_gradients_are_those_of_finite_differences(classifier):
    X, y = load_iris(return_X_y=True)
    module = translate(classifier.fit(X, y))
    rows = torch.from_numpy(X[::40] + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(module, rows)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    n_features=st.integers(1, 6),
    n_classes=st.integers(2, 5),
    classifier=st.sampled_from(
        [LogisticRegression(), SGDClassifier(loss="log_loss"), RidgeClassifier(), GaussianNB()]
    ),
)
def test_any_small_problem(seed, n_features, n_classes, classifier):
    rng = np.random.default_rng(seed)
    y = np.arange(40) % n_classes
    X = rng.normal(size=(40, n_features)) + y[:, None] * rng.normal(size=n_features)
    if "random_state" in classifier.get_params():
        classifier.set_params(random_state=0)
    pipeline = make_pipeline(StandardScaler(), PCA(whiten=True), classifier).fit(X, y)
    assert_agrees(pipeline, X)

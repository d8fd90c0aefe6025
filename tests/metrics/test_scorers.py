"""Scorers are figures with a sign, and work in scikit-learn's searches."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skinvert import InputOptimizationGenerator
from skinvert.metrics.evaluation import evaluate
from skinvert.metrics.scorers import cas_scorer, make_generator_scorer

CAS_JUDGE = KNeighborsClassifier(3)


class Noisy(BaseEstimator):
    """Training rows with noise: the more of it, the worse."""

    def __init__(self, noise=0.1, random_state=0):
        self.noise = noise
        self.random_state = random_state

    def fit(self, X, y):
        self.X_, self.y_ = np.asarray(X), np.asarray(y)
        return self

    def generate(self, y, random_state=None):
        rng = np.random.default_rng(random_state)
        rows = np.array([rng.choice(self.X_[self.y_ == label]) for label in y])
        return rows + self.noise * rng.normal(size=rows.shape)


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return (X / 16)[:400], y[:400]


@pytest.fixture(scope="module")
def judge():
    X, y = load_digits(return_X_y=True)
    return LogisticRegression(max_iter=500).fit(X[800:1400] / 16, y[800:1400])


@pytest.fixture(scope="module")
def extractor():
    return PCA(20, random_state=0).fit(load_digits().data[800:1400] / 16)


@pytest.mark.parametrize(
    ("metric", "sign"),
    [
        ("judge_accuracy", 1),
        ("judge_confidence", 1),
        ("cas", 1),
        ("coverage", 1),
        ("inception_score", 1),
        ("fd", -1),
        ("mind", -1),
        ("kid", -1),
    ],
)
def test_a_score_is_the_figure_of_the_report(metric, sign, rows, judge, extractor):
    X, y = rows
    generator = Noisy().fit(X[:200], y[:200])
    arguments = {"judge": judge, "extractor": extractor, "cas_judge": CAS_JUDGE}
    arguments |= {"n_per_class": 10, "random_state": 3}
    score = make_generator_scorer(metric, **arguments)(generator, X[200:], y[200:])
    report = evaluate(generator, X[200:], y[200:], metrics=[metric], n_bootstrap=2, **arguments)
    found = report.figures["fd_pca" if metric == "fd" else metric]
    assert score == sign * found.value


@pytest.mark.parametrize(
    "metric", ["judge_accuracy", "cas", "fd", "fd_inf", "mind", "kid", "precision", "diversity"]
)
def test_higher_is_better(metric, rows, judge, extractor):
    scorer = make_generator_scorer(
        metric, judge=judge, extractor=extractor, cas_judge=CAS_JUDGE, n_per_class=20
    )
    clear, noisy = (Noisy(noise).fit(*rows) for noise in (0.05, 1.0))
    assert scorer(clear, *rows) > scorer(noisy, *rows)


def test_searches_find_the_better_generator(rows, judge):
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), Noisy()),
        {"noisy__noise": [1.0, 0.1]},
        scoring=make_generator_scorer("judge_accuracy", judge=judge, n_per_class=10),
        cv=StratifiedKFold(2),
        error_score="raise",
    ).fit(*rows)
    assert search.best_params_ == {"noisy__noise": 0.1}
    assert clone(search).scoring.metric == "judge_accuracy"


@pytest.mark.slow
def test_workers_give_the_same_scores(rows, judge):
    X, y = rows
    generator = InputOptimizationGenerator(
        LogisticRegression(max_iter=300), random_state=0, device="cpu"
    )
    scoring = {
        "judge": make_generator_scorer("judge_accuracy", judge=judge, n_per_class=5),
        "cas": make_generator_scorer("cas", cas_judge=CAS_JUDGE, n_per_class=5),
    }
    alone, together = (
        cross_validate(
            make_pipeline(MinMaxScaler(), generator),
            X,
            y,
            scoring=scoring,
            cv=StratifiedKFold(2),
            error_score="raise",
            n_jobs=n_jobs,
        )
        for n_jobs in (1, 2)
    )
    for name in ("test_judge", "test_cas"):
        np.testing.assert_array_equal(alone[name], together[name])
        assert alone[name].min() > 0.5


def test_what_is_pickled_scores_alike(rows, judge):
    scorer = make_generator_scorer("judge_confidence", judge=judge, n_per_class=5)
    generator = Noisy().fit(*rows)
    again = pickle.loads(pickle.dumps(scorer))
    assert again(generator, *rows) == scorer(generator, *rows)
    assert repr(again) == repr(scorer)
    assert repr(scorer).startswith("make_generator_scorer('judge_confidence', judge=Logistic")


def test_the_ready_scorer_trains_a_network(rows):
    X, y = rows
    few = y < 2
    generator = Noisy().fit(X[few], y[few])
    assert cas_scorer(generator, X[few], y[few]) > 0.95
    assert cas_scorer(Noisy(20.0).fit(X[few], y[few]), X[few], y[few]) < 0.9


def test_folds_with_one_row_of_a_class_are_scored(rows, judge):
    X, y = rows
    few = np.append(np.flatnonzero(y != 4), np.flatnonzero(y == 4)[0])
    scorer = make_generator_scorer("judge_accuracy", judge=judge, n_per_class=5)
    assert scorer(Noisy().fit(X, y), X[few], y[few]) > 0.7


@pytest.mark.parametrize("metric", ["authenticity", "nearest_distance_ratio", "cas_ratio", "fid"])
def test_metrics_that_no_scorer_can_have(metric):
    with pytest.raises(ValueError, match=f"no scorer of the metric '{metric}'"):
        make_generator_scorer(metric)


def test_bad_requests_are_refused(rows, judge):
    X, y = rows
    generator = Noisy().fit(X, y)
    with pytest.raises(ValueError, match="needs features"):
        make_generator_scorer("fd", judge=judge)(generator, X, y)
    with pytest.raises(ValueError, match="judge=, a fitted classifier"):
        make_generator_scorer("judge_accuracy")(generator, X, y)
    with pytest.raises(TypeError, match="has no generate"):
        cas_scorer(judge, X, y)
    blind = LogisticRegression(max_iter=300).fit(X[y != 4], y[y != 4])
    with pytest.raises(ValueError, match=r"knows no class \[4\]"):
        make_generator_scorer("judge_accuracy", judge=blind)(generator, X, y)

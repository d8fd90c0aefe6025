"""GenerativeSampler as a step of imbalanced-learn's own Pipeline, inside of a search."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from skinvert import GenerativeSampler, InputOptimizationGenerator

imblearn_pipeline = pytest.importorskip(
    "imblearn.pipeline", reason="imbalanced-learn comes with the extra tests"
)
FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def data(digits):
    """Sixty rows of digit 0 and six of digit 1."""
    X, y = digits
    kept = np.concatenate([np.flatnonzero(y == 0)[:60], np.flatnonzero(y == 1)[:6]])
    return X[kept], y[kept]


@pytest.fixture
def pipeline():
    generator = InputOptimizationGenerator(
        LogisticRegression(), n_candidates=16, random_state=0, device="cpu"
    )
    return imblearn_pipeline.Pipeline(
        [
            ("sampler", GenerativeSampler(generator, random_state=0)),
            ("neighbours", KNeighborsClassifier(5)),
        ]
    )


@pytest.mark.filterwarnings("ignore:in .* of the rows one of")
def test_a_search_sets_parameters_of_the_generator_in_the_sampler(pipeline, data):
    grid = {
        "sampler__sampling_strategy": ["auto", 0.0],
        "sampler__generator__prior_weight": [0.1, 1.0],
    }
    search = GridSearchCV(pipeline, grid, cv=FOLDS, error_score="raise").fit(*data)
    fitted = search.best_estimator_["sampler"]
    assert fitted.generator_.prior_weight == search.best_params_["sampler__generator__prior_weight"]
    assert not hasattr(pipeline["sampler"], "generator_"), "what was passed stays unfitted"


@pytest.mark.filterwarnings("ignore:in .* of the rows one of")
def test_only_training_rows_are_added_to(pipeline, data):
    X, y = data
    answers = cross_val_predict(pipeline, X, y, cv=FOLDS)
    assert answers.shape == y.shape
    n_seen = pipeline.fit(X, y)["neighbours"].n_samples_fit_
    assert n_seen == 2 * (y == 0).sum()

"""At home in scikit-learn: each of its tools is used as it is, on small data."""

import re
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import HalvingGridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import estimator_html_repr

import skinvert
from skinvert import InputOptimizationGenerator, InvertibleFlowClassifier, ReGene
from skinvert.metrics import make_generator_scorer

pytestmark = pytest.mark.filterwarnings("ignore:in .* of the rows one of")

PUBLIC = {name: getattr(skinvert, name) for name in skinvert.__all__}
ESTIMATORS = [name for name, thing in PUBLIC.items() if hasattr(thing, "get_params")]
GENERATORS = [name for name in ESTIMATORS if hasattr(PUBLIC[name], "generate")]
LINEAR = LogisticRegression(max_iter=500)
FOLDS = StratifiedKFold(2, shuffle=True, random_state=0)


def small_generator(**arguments):
    return InputOptimizationGenerator(
        **{"classifier": LINEAR, "random_state": 0, "device": "cpu"} | arguments
    )


def small_flow(**arguments):
    return InvertibleFlowClassifier(
        **{"n_components": 10, "n_mixture": 2, "random_state": 0, "device": "cpu"} | arguments
    )


def small_regene(**arguments):
    return ReGene(
        **{
            "classifier": LINEAR,
            "layer": "0",
            "n_epochs": 2,
            "threshold": None,
            "random_state": 0,
            "device": "cpu",
        }
        | arguments
    )


@pytest.fixture(scope="module")
def data(digits):
    """Rows of digits 0, 1 and 2: (180, 64), with labels in words."""
    X, y = digits
    chosen = np.flatnonzero(y < 3)[:180]
    return X[chosen], np.array(["nought", "one", "two"])[y[chosen]]


@pytest.fixture(scope="module")
def frame(data):
    return pd.DataFrame(data[0], columns=[f"pixel {i}" for i in range(64)])


@pytest.fixture(scope="module")
def flow(data):
    return small_flow().fit(*data)


# How an estimator shows itself


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_show_themselves_in_a_notebook(name):
    estimator = PUBLIC[name]()
    page = estimator_html_repr(estimator)
    assert name in page
    for parameter in estimator.get_params(deep=False):
        assert parameter in page


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_representation_links_to_the_site_that_the_package_names(name, monkeypatch):
    class Installed:
        @staticmethod
        def get_all(field):
            assert field == "Project-URL"
            return ["Documentation, https://skinvert.example/stable/", "Source, https://other"]

    monkeypatch.setattr(metadata, "metadata", lambda name: Installed)
    page = f"https://skinvert.example/stable/api/generated/skinvert.{name}.html"
    assert PUBLIC[name]()._get_doc_link() == page
    assert f'href="{page}"' in estimator_html_repr(PUBLIC[name]())


def test_without_a_site_there_is_no_link(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", absent)
    assert ReGene()._get_doc_link() == ""
    assert "ReGene" in estimator_html_repr(ReGene())


@pytest.mark.parametrize("name", GENERATORS)
def test_parameter_errors_have_the_wording_of_scikit_learn(name, data):
    expected = rf"The 'verbose' parameter of {name} must be .* Got 'loud' instead\."
    with pytest.raises(ValueError, match=expected):
        PUBLIC[name](verbose="loud").fit(*data)


# Searches and ensembles


def test_cross_validate_scores_generators_by_several_figures(data):
    found = cross_validate(
        small_generator(),
        *data,
        cv=FOLDS,
        scoring={"distinct": share_of_distinct_images, "default": default_score},
        return_estimator=True,
        error_score="raise",
    )
    assert (found["test_default"] > 0.8).all()
    assert (found["test_distinct"] == 1).all()
    assert all(hasattr(estimator, "generate") for estimator in found["estimator"])


def default_score(estimator, X, y):
    return estimator.score(X, y)


def share_of_distinct_images(estimator, X, y):
    return len(np.unique(estimator.generate(y), axis=0)) / len(y)


def test_successive_halving_finds_the_better_setting(data):
    search = HalvingGridSearchCV(
        small_generator(),
        {"n_candidates": [1, 32]},
        cv=FOLDS,
        min_resources=60,
        factor=2,
        error_score="raise",
        random_state=0,
    ).fit(*data)
    assert search.best_params_ == {"n_candidates": 32}, "one candidate leaves no choice"
    assert skinvert.generate(search, ["two"]).shape == (1, 64)


def test_the_flow_votes(data):
    X, y = data
    vote = VotingClassifier([("flow", small_flow()), ("linear", clone(LINEAR))], voting="soft").fit(
        X[:120], y[:120]
    )
    flow, linear = vote.estimators_
    mean = (flow.predict_proba(X[120:]) + linear.predict_proba(X[120:])) / 2
    np.testing.assert_allclose(vote.predict_proba(X[120:]), mean)
    assert vote.score(X[120:], y[120:]) > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_the_flow_is_calibrated(method, data):
    X, y = data
    calibrated = CalibratedClassifierCV(small_flow(), method=method, cv=FOLDS).fit(X, y)
    answers = calibrated.predict_proba(X)
    np.testing.assert_allclose(answers.sum(1), 1)
    assert (calibrated.classes_[answers.argmax(1)] == y).mean() > 0.9


def test_only_the_flow_is_a_classifier():
    assert is_classifier(InvertibleFlowClassifier())
    assert not is_classifier(InputOptimizationGenerator())
    assert not is_classifier(ReGene())


# Transformers and frames


@pytest.mark.parametrize("make", [small_flow, small_regene])
def test_transformed_rows_come_as_the_frame_that_was_asked_for(make, data, frame):
    _, y = data
    estimator = make().set_output(transform="pandas").fit(frame, y)
    latents = estimator.transform(frame)
    assert list(latents.columns) == list(estimator.get_feature_names_out())
    assert list(latents.index) == list(frame.index)
    assert re.fullmatch(rf"{type(estimator).__name__.lower()}\d+", latents.columns[0])
    plain = estimator.set_output(transform="default").transform(frame)
    np.testing.assert_array_equal(latents.to_numpy(), plain)


def test_latents_are_columns_among_others(data, frame):
    _, y = data
    table = frame.assign(weight=np.arange(len(frame)))
    columns = ColumnTransformer(
        [
            ("latents", small_regene(image_shape=(8, 8)), list(frame.columns)),
            ("scaled", MinMaxScaler(), ["weight"]),
        ]
    ).set_output(transform="pandas")
    latents = columns.fit_transform(table, y)
    names = columns.get_feature_names_out()
    assert list(latents.columns) == list(names)
    assert names[0] == "latents__regene0"
    assert names[-1] == "scaled__weight"
    assert make_pipeline(columns, clone(LINEAR)).fit(table, y).score(table, y) > 0.9


def test_the_flow_goes_through_a_pipeline_and_back(data, flow):
    X, y = data
    pipeline = make_pipeline(MinMaxScaler(), small_flow()).fit(X, y)
    np.testing.assert_allclose(pipeline.inverse_transform(pipeline.transform(X)), X, atol=1e-4)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_rows(library, data, frame):
    frames = pytest.importorskip(library, reason="frames of this library are optional")
    X, y = data
    table = frames.DataFrame({name: frame[name].to_numpy() for name in frame})
    labels = frames.Series("kind", y) if library == "polars" else frames.Series(y, name="kind")
    generator = small_generator().fit(table, labels)
    # scikit-learn 1.8 does not know the columns of polars 2.
    if hasattr(MinMaxScaler().fit(table), "feature_names_in_"):
        assert generator.feature_names_in_.tolist() == list(table.columns)
    asked = labels[:3]
    expected = small_generator().fit(X, y).generate(y[:3])
    np.testing.assert_array_equal(generator.generate(asked), expected)
    assert 0 <= generator.score(table, labels) <= 1


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_class_weights_of_a_frame_are_found_by_name(library, data):
    frames = pytest.importorskip(library, reason="frames of this library are optional")
    generator = small_generator().fit(*data)
    mixed = frames.DataFrame({"two": [1.0, 0.5], "nought": [0.0, 0.5]})
    expected = generator.generate(weights=[[0, 0, 1], [0.5, 0, 0.5]])
    np.testing.assert_array_equal(generator.generate(weights=mixed), expected)


@pytest.mark.parametrize("make", [small_flow, small_generator])
def test_renamed_columns_are_refused(make, data, frame):
    estimator = make().fit(frame, data[1])
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.score(frame.rename(columns={"pixel 3": "pixel three"}), data[1])


# Metadata


@pytest.mark.parametrize("make", [small_generator, small_flow, small_regene])
def test_weights_that_nobody_would_honour_are_refused(make, data):
    X, y = data
    pipeline = make_pipeline(MinMaxScaler(), make())
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(TypeError, match="sample_weight"),
    ):
        pipeline.fit(X, y, sample_weight=np.ones(len(y)))


def test_a_scorer_needs_no_metadata(data):
    generator = small_generator().fit(*data)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_generator_scorer("cas", cas_judge=clone(LINEAR), n_per_class=10)
        assert 0 <= scorer(generator, *data) <= 1

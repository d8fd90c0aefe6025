"""Judges and extractors are scikit-learn estimators, repeatable, and blind to layout and batch."""

import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from torchvision.models import Inception_V3_Weights

from skinvert.metrics.extractors import InceptionFeatures, ModuleFeatures, NeutralJudge

IDENTITY = nn.Sequential(nn.Identity())


@parametrize_with_checks(
    [NeutralJudge(device="cpu"), ModuleFeatures(IDENTITY, "0", device="cpu")], xfail_strict=True
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def halves():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return (X[:300], y[:300]), (X[300:], y[300:])


@pytest.fixture(scope="module")
def judge(halves):
    return NeutralJudge(device="cpu").fit(*halves[0])


def test_the_judge_knows_unseen_digits(judge, halves):
    assert judge.score(*halves[1]) > 0.9
    probabilities = judge.predict_proba(halves[1][0])
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(
        judge.classes_[probabilities.argmax(1)], judge.predict(halves[1][0])
    )


def test_features_have_the_spread_of_real_rows(judge, halves):
    features = judge.transform(halves[0][0])
    assert features.shape == (300, 128)
    spread = features.std(0)
    assert spread.max() <= 1 + 1e-4
    # Most features have unit spread, and a hidden unit that is always silent stays silent.
    assert np.isclose(spread, 1, atol=1e-3).mean() > 0.5


def test_the_same_seed_gives_the_same_judge(halves, global_rng_untouched):
    X, y = halves[0][0][:60], halves[0][1][:60]
    with global_rng_untouched():
        judges = [NeutralJudge(device="cpu", random_state=seed).fit(X, y) for seed in (3, 3, 4)]
    answers = [judge.transform(X[:50]) for judge in judges]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_layouts_are_the_same_rows(halves):
    X, y = halves[0][0][:60], halves[0][1][:60]
    layouts = [X, X.reshape(-1, 8, 8), X.reshape(-1, 1, 8, 8)]
    answers = [
        NeutralJudge(device="cpu").fit(images, y).transform(images[:9]) for images in layouts
    ]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])
    named = NeutralJudge(device="cpu", image_shape=(8, 8)).fit(X, y)
    np.testing.assert_array_equal(named.transform(layouts[2][:9]), answers[0])


def test_neighbours_never_matter(judge, halves):
    X = halves[1][0]
    for method in (judge.predict_proba, judge.transform):
        np.testing.assert_array_equal(method(X)[:7], method(X[:7]))


def test_what_is_pickled_answers_alike(judge, halves):
    again = pickle.loads(pickle.dumps(judge))
    np.testing.assert_array_equal(again.transform(halves[1][0]), judge.transform(halves[1][0]))
    assert not hasattr(clone(judge), "network_")


def test_labels_are_the_users_own(halves):
    X, y = halves[0]
    names = np.array(["zero", "one", "two"])
    rows = y < 3
    judge = NeutralJudge(device="cpu").fit(X[rows], names[y[rows]])
    assert judge.classes_.tolist() == ["one", "two", "zero"]
    assert judge.score(X[rows], names[y[rows]]) > 0.98


def test_plain_training_differs_from_views(judge, halves):
    plain = NeutralJudge(device="cpu", augmentation=None).fit(*halves[0])
    assert plain.score(*halves[1]) > 0.85
    assert not np.array_equal(plain.transform(halves[1][0]), judge.transform(halves[1][0]))


def test_a_judge_fits_searches_and_pipelines(halves):
    X, y = halves[0][0][:150], halves[0][1][:150]
    pipeline = make_pipeline(MinMaxScaler(), NeutralJudge(device="cpu"))
    assert cross_val_score(pipeline, X, y, cv=2).min() > 0.6


def test_wide_rows_that_are_no_images(halves):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    X = rng.normal(size=(120, 13)) + 2 * y[:, None]
    judge = NeutralJudge(device="cpu").fit(X, y)
    assert judge.image_shape_ is None
    assert judge.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((4, 64)), [1, 1, 1, 1], "at least 2 classes"),
        (np.full((4, 64), np.nan), [0, 1, 0, 1], "NaN"),
        (np.zeros((4, 64)), [0.5, 1.5, 0.1, 0.2], "label type"),
        (np.zeros((4, 8, 8, 3)), [0, 1, 0, 1], "channels-last"),
    ],
)
def test_bad_rows_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        NeutralJudge(device="cpu").fit(X, y)


def test_module_features_are_the_layers_own(net, halves):
    X = halves[1][0]
    plain = ModuleFeatures(
        net, "4", image_shape=(8, 8), n_components=None, standardize=False, device="cpu"
    ).fit(X)
    with torch.no_grad():
        expected = net[:5](torch.from_numpy(X).reshape(-1, 1, 8, 8)).numpy()
    np.testing.assert_allclose(plain.transform(X), expected, rtol=1e-5, atol=1e-5)
    pooled = plain.set_params(layer="3").fit(X.reshape(-1, 8, 8)).transform(X)
    np.testing.assert_allclose(
        pooled, expected.reshape(len(X), 8, 16).mean(2), rtol=1e-5, atol=1e-5
    )


def test_standardising_and_projecting_keep_the_distances_of_real_rows(net, halves):
    X = halves[1][0][:100]
    arguments = {"image_shape": (1, 8, 8), "device": "cpu"}
    whole = ModuleFeatures(net, "4", n_components=None, **arguments).fit(X)
    assert whole.transform(X).std(0).max() == pytest.approx(1, abs=1e-4)
    # A hundred rows span 99 directions, so that their projection on 100 loses nothing.
    projected = ModuleFeatures(net, "4", n_components=100, **arguments).fit(X)
    assert projected.transform(X).shape == (100, 100)
    full, short = (
        np.linalg.norm(rows[:, None] - rows[None], axis=2)
        for rows in (whole.transform(X), projected.transform(X))
    )
    np.testing.assert_allclose(short, full, atol=1e-3)
    assert len(projected.get_feature_names_out()) == 100


def test_module_features_name_what_is_wrong(net, halves):
    X = halves[1][0]
    with pytest.raises(ValueError, match="no layer named 'nope'"):
        ModuleFeatures(net, "nope", image_shape=(8, 8), device="cpu").fit(X)
    with pytest.raises(ValueError, match=r"image_shape=\(C, H, W\)"):
        ModuleFeatures(net, "4", device="cpu").fit(X)
    with pytest.raises(ValueError, match="minimum of 2"):
        ModuleFeatures(net, "4", image_shape=(8, 8), device="cpu").fit(X[:1])


def test_inception_takes_grey_images_of_any_size_and_range(halves):
    X = halves[0][0][:4]
    extractor = InceptionFeatures(weights=None, batch_size=4, device="cpu")
    features = extractor.fit_transform(X)
    assert features.shape == (4, 4), "four rows have no more principal axes"
    in_colour = np.repeat(255 * X.reshape(-1, 1, 8, 8), 3, axis=1)
    same = clone(extractor).set_params(value_range=(0, 255)).fit_transform(in_colour)
    np.testing.assert_allclose(same, features, rtol=1e-2, atol=1e-2)


def test_inception_says_what_it_needs(halves, monkeypatch):
    with pytest.raises(ValueError, match="one or three channels"):
        InceptionFeatures(weights=None, device="cpu").fit(np.zeros((4, 13)))
    with pytest.raises(ValueError, match="low < high"):
        InceptionFeatures(weights=None, value_range=(1, 0), device="cpu").fit(halves[0][0][:4])

    def no_network(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    with pytest.raises(OSError, match=Inception_V3_Weights.DEFAULT.url.split("/")[-1]):
        InceptionFeatures(device="cpu").fit(halves[0][0][:4])

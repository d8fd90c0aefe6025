"""Generated rows beside real ones: counts are those asked for, and real rows stay as they are."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skinvert.augmentation import GenerativeSampler
from skinvert.regene import ReGene


@pytest.fixture(scope="module")
def data(digits):
    """200 rows, few of class 3."""
    X, y = digits
    kept = np.r_[np.flatnonzero(y != 3)[:190], np.flatnonzero(y == 3)[:10]]
    return X[kept], y[kept]


@pytest.fixture
def generator(trained_net):
    return ReGene(trained_net, n_epochs=2, threshold=None, random_state=0, device="cpu")


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", lambda counts: np.full(10, counts.max())),
        (1.0, lambda counts: 2 * counts),
        (0.5, lambda counts: counts + np.round(counts / 2)),
        ({3: 25, 4: 40}, lambda counts: np.r_[counts[:3], 25, 40, counts[5:]]),
        (0, lambda counts: counts),
    ],
)
def test_counts_are_those_asked_for(strategy, expected, data, generator):
    X, y = data
    sampler = GenerativeSampler(generator, sampling_strategy=strategy, random_state=0)
    X_more, y_more = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(np.bincount(y_more), expected(np.bincount(y)))
    np.testing.assert_array_equal(X_more[: len(X)], X)
    np.testing.assert_array_equal(y_more[: len(y)], y)
    assert X_more.dtype == X.dtype


def test_the_same_seed_gives_the_same_rows(data, generator):
    sampler = GenerativeSampler(generator, random_state=0)
    first, again = (clone(sampler).fit_resample(*data)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not hasattr(generator, "decoder_"), "the generator is cloned"


def test_images_and_labels_keep_their_kind(data, generator):
    X, y = data
    names = np.array([f"digit {label}" for label in y])
    plain = clone(generator).set_params(classifier=LogisticRegression(max_iter=500))
    sampler = GenerativeSampler(plain, sampling_strategy={"digit 3": 12})
    images, labels = sampler.fit_resample(X.reshape(-1, 8, 8), names)
    assert images.shape == (202, 8, 8)
    assert labels[-2:].tolist() == ["digit 3"] * 2


def test_frames_stay_frames(data, generator):
    X, y = data
    frame = pd.DataFrame(X, columns=[f"pixel {k}" for k in range(64)])
    sampler = GenerativeSampler(generator.set_params(image_shape=(8, 8)))
    more, labels = sampler.fit_resample(frame, y)
    assert list(more.columns) == list(frame.columns)
    assert len(more) == len(labels)


def test_it_is_a_step_of_imbalanced_learns_pipeline(data, generator):
    pipeline = pytest.importorskip("imblearn.pipeline", reason="a library that is not needed")
    X, y = data
    sampler = GenerativeSampler(generator, random_state=0)
    grown = sampler.fit_resample(X, y)
    steps = [("grow", clone(sampler)), ("regression", LogisticRegression(max_iter=500))]
    piped = pipeline.Pipeline(steps).fit(X, y)
    alone = LogisticRegression(max_iter=500).fit(*grown)
    # Rows are grown for the last step's fit alone: as many come out of predict as go in.
    np.testing.assert_allclose(piped[-1].coef_, alone.coef_, atol=1e-8)
    assert piped.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("most", "must be 'auto'"),
        (-1.0, "must be 'auto'"),
        ({99: 5}, "labels that y does not hold"),
        ({4: 1}, "never removed"),
    ],
)
def test_bad_strategies_are_refused(strategy, message, data, generator):
    with pytest.raises(ValueError, match=message):
        GenerativeSampler(generator, sampling_strategy=strategy).fit_resample(*data)

"""A copycat is caught by authenticity, by its distances and by its closest matches."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skinvert.metrics import (
    authenticity,
    closest_matches,
    feature_distance,
    frechet_distance,
    nearest_distance_ratio,
    ssim,
)


@pytest.fixture(scope="module")
def digits():
    X, _ = load_digits(return_X_y=True)
    return X / 16


@pytest.fixture(scope="module")
def mixed(digits):
    return np.random.default_rng(0).permutation(digits)


def test_a_copycat_with_a_perfect_distance_is_caught(mixed):
    train, held_out = mixed[:900], mixed[900:]
    copies = train[::-1]
    assert frechet_distance(copies, train) == pytest.approx(0, abs=1e-6)
    assert authenticity(copies, train) == 0
    assert nearest_distance_ratio(copies, train, held_out) == 0
    matches = closest_matches(copies[:20], train)
    assert (matches.mse.scores == 0).all()
    np.testing.assert_allclose(matches.ssim.scores, 1)
    np.testing.assert_array_equal(matches.mse.indices.ravel(), np.arange(899, 879, -1))


def test_held_out_rows_are_half_authentic_and_indifferent(mixed):
    assert 0.35 < authenticity(mixed[900:], mixed[:900]) < 0.75
    ratio = nearest_distance_ratio(mixed[:600], mixed[600:1200], mixed[1200:])
    assert ratio == pytest.approx(1, abs=0.05)


def test_order_and_units_do_not_matter(mixed):
    order = np.random.default_rng(0).permutation(300)
    generated, train, held_out = mixed[:300], mixed[300:900], mixed[900:1500]
    assert authenticity(generated[order], train[::-1]) == authenticity(generated, train)
    expected = nearest_distance_ratio(generated, train, held_out)
    for factor in (1, 5):
        sets = factor * generated[order], factor * train[::-1], factor * held_out[::-1]
        assert nearest_distance_ratio(*sets) == pytest.approx(expected)


def test_the_ratio_has_limits(mixed):
    assert nearest_distance_ratio(mixed[:5], mixed[5:20], mixed[:5]) == np.inf
    assert np.isnan(nearest_distance_ratio(mixed[:5], mixed[:5], mixed[:5]))


def test_closest_matches_are_those_of_a_search_by_hand(mixed):
    generated, train = mixed[:6], mixed[6:46]
    pca = PCA(8).fit(train)
    matches = closest_matches(generated, train, extractor=pca, k=3)
    assert list(matches) == ["mse", "ssim", "latent_mse", "feature_distance"]
    latent, latent_train = pca.transform(generated), pca.transform(train)
    for i in range(len(generated)):
        repeated = np.repeat(generated[i : i + 1], len(train), axis=0)
        by_hand = {
            "mse": np.mean((train - generated[i]) ** 2, axis=1),
            "ssim": -ssim(repeated, train, window=7),
            "latent_mse": np.mean((latent_train - latent[i]) ** 2, axis=1),
            "feature_distance": feature_distance(repeated, train, extractor=pca),
        }
        for name, values in by_hand.items():
            order = np.argsort(values)[:3]
            np.testing.assert_array_equal(matches[name].indices[i], order, err_msg=name)
            sign = -1 if name == "ssim" else 1
            np.testing.assert_allclose(sign * matches[name].scores[i], values[order])


def test_training_images_come_in_blocks_that_do_not_show(mixed, monkeypatch):
    whole = closest_matches(mixed[:4], mixed[4:60], k=4)
    monkeypatch.setattr("skinvert.metrics.memorization._BLOCK", 10 * 64)
    parts = closest_matches(mixed[:4], mixed[4:60], k=4)
    np.testing.assert_array_equal(parts.ssim.indices, whole.ssim.indices)
    np.testing.assert_allclose(parts.ssim.scores, whole.ssim.scores)


def test_rows_that_are_no_images_have_no_ssim(mixed):
    assert list(closest_matches(mixed[:3, :50], mixed[:, :50])) == ["mse"]
    shaped = closest_matches(mixed[:3, :50], mixed[:30, :50], image_shape=(5, 10))
    assert list(shaped) == ["mse", "ssim"]
    with pytest.raises(ValueError, match="image_shape"):
        closest_matches(mixed[:3, :50], mixed[:, :50], image_shape=(8, 8))


def test_images_and_rows_match_alike(mixed):
    images = mixed[:40].reshape(-1, 1, 8, 8)
    as_images = closest_matches(images[:5], images[5:])
    as_rows = closest_matches(mixed[:5], mixed[5:40])
    for name in ("mse", "ssim"):
        np.testing.assert_array_equal(as_images[name].indices, as_rows[name].indices)


def test_bad_input_is_refused(mixed):
    for measure in (authenticity, closest_matches, lambda a, b: nearest_distance_ratio(a, b, a)):
        with pytest.raises(ValueError, match="64 wide and X_train is 63 wide"):
            measure(mixed, mixed[:, 1:])
        with pytest.raises(ValueError, match="X_generated holds NaN"):
            measure(mixed[:5] * np.nan, mixed)
    with pytest.raises(ValueError, match="X_train has 1 rows, expected at least 2"):
        authenticity(mixed, mixed[:1])
    with pytest.raises(ValueError, match="X_test is 63 wide"):
        nearest_distance_ratio(mixed, mixed, mixed[:, 1:])
    with pytest.raises(ValueError, match="number of training rows, 4; got 5"):
        closest_matches(mixed, mixed[:4], k=5)

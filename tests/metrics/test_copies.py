"""Every planted copy is found, few others are, and the report promises no privacy."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from skinvert.metrics.copies import find_copies


def flipped(image):
    return image[:, ::-1]


def shifted(image):
    moved = np.zeros_like(image)
    moved[2:, :-2] = image[:-2, 2:]
    return moved


PLANTS = {
    "exact": lambda image: image,
    "flipped": flipped,
    "shifted by two pixels": shifted,
    "rolled back": lambda image: np.roll(image, (-2, 2), (0, 1)),
    "shifted by one": lambda image: np.roll(image, 1, 0),
    "flipped and shifted": lambda image: shifted(flipped(image)),
}


@pytest.fixture(scope="module")
def parts():
    """Training, held-out and other digits, as images in [0, 1]."""
    X = load_digits().images / 16
    X = np.unique(X, axis=0)
    X = X[np.random.default_rng(0).permutation(len(X))]
    return X[:800], X[800:1200], X[1200:1700]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("seed", range(3))
def test_every_planted_copy_is_found(plant, seed, parts):
    train, held_out, other = parts
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(other), len(other) // 100, replace=False)  # one per cent
    copied = rng.choice(len(train), len(rows), replace=False)
    generated = other.copy()
    for row, source in zip(rows, copied, strict=True):
        generated[row] = PLANTS[plant](train[source])
    report = find_copies(generated, train, held_out)
    assert report.is_copy[rows].all()
    assert report.false_alarms <= 0.01
    assert np.delete(report.is_copy, rows).mean() < 0.05
    if plant in ("exact", "flipped"):
        np.testing.assert_array_equal(report.nearest[rows], copied)
        np.testing.assert_array_equal(report.distances[rows], 0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1])
def test_held_out_rows_set_the_threshold(share, parts):
    train, held_out, _ = parts
    report = find_copies(held_out, train, held_out, false_alarms=share)
    assert report.is_copy.mean() == report.false_alarms <= share
    assert report.false_alarms > share - 2 / len(held_out)


def test_rows_of_a_table_are_compared_in_units_of_their_spread():
    X = load_breast_cancer().data
    train, held_out, generated = X[:200], X[200:350], X[350:550].copy()
    generated[[3, 100]] = train[[50, 7]]
    report = find_copies(generated, train, held_out)
    assert report.is_copy[[3, 100]].all()
    assert report.nearest[[3, 100]].tolist() == [50, 7]
    scales = 10.0 ** np.arange(X.shape[1])
    other = find_copies(generated * scales, train * scales, held_out * scales)
    np.testing.assert_array_equal(other.is_copy, report.is_copy)


def test_duplicates_among_held_out_rows_hide_no_copy(parts):
    train, _, other = parts
    report = find_copies(np.concatenate([other[:5], train[:5]]), train, train[100:300])
    assert report.threshold == 0
    assert report.is_copy.tolist() == [False] * 5 + [True] * 5


def test_the_report_says_that_it_is_no_guarantee(parts):
    train, held_out, other = parts
    text = str(find_copies(other[:10], train, held_out))
    assert "no privacy guarantee" in text
    assert "of 10 generated rows" in text
    assert f"{len(held_out)} held-out rows" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"max_shift": -1}, "max_shift"),
        ({"max_shift": 1.5}, "max_shift"),
        ({"false_alarms": 1.0}, "false_alarms"),
        ({"false_alarms": "few"}, "false_alarms"),
    ],
)
def test_bad_parameters_are_refused(arguments, word, parts):
    train, held_out, other = parts
    with pytest.raises(ValueError, match=word):
        find_copies(other[:5], train, held_out, **arguments)
    with pytest.raises(ValueError, match="X_generated"):
        find_copies(other[:5] * np.nan, train, held_out)

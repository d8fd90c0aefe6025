"""prdc is the published definition to the last tie, and bad input is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinvert.metrics import prdc


def by_definition(features, real_features, k):
    """Loops over rows, with differences: Naeem et al., eq. 2 to 4."""

    def squared(a, b):
        return np.square(np.asarray(a, float) - np.asarray(b, float)).sum()

    def radius(row, rows):
        return sorted(squared(row, other) for other in rows)[k]

    real_radii = [radius(row, real_features) for row in real_features]
    radii = [radius(row, features) for row in features]
    n, m = len(features), len(real_features)
    real_ball = np.array(
        [
            [squared(features[i], real_features[j]) < real_radii[j] for j in range(m)]
            for i in range(n)
        ]
    )
    ball = np.array(
        [[squared(features[i], real_features[j]) < radii[i] for j in range(m)] for i in range(n)]
    )
    return {
        "precision": real_ball.any(1).mean(),
        "recall": ball.any(0).mean(),
        "density": real_ball.sum() / (k * n),
        "coverage": real_ball.any(0).mean(),
    }


@settings(max_examples=30)
@given(
    n=st.integers(4, 25),
    m=st.integers(4, 25),
    width=st.integers(1, 5),
    k=st.integers(1, 3),
    grid=st.booleans(),
    shift=st.sampled_from([0.0, 1.0, 1e6]),
    seed=st.integers(0, 10_000),
)
def test_it_is_the_published_definition(n, m, width, k, grid, shift, seed):
    rng = np.random.default_rng(seed)
    features, real = rng.normal(size=(n, width)), rng.normal(size=(m, width)) + 0.5
    if grid:  # ties everywhere
        features, real = features.round(), real.round()
    features, real = features + shift, real + shift
    assert dict(prdc(features, real, k=k)) == pytest.approx(by_definition(features, real, k))


@pytest.mark.parametrize("shift", [0.0, 0.1, 1e4])
def test_copies_tie_with_the_rows_that_set_the_radii(shift):
    # Every ball's edge runs through a copy: rounding would decide, one way or the other.
    real = np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32) + np.float32(shift)
    copies = real[::-1].copy()
    figures = prdc(copies, real, k=3)
    assert dict(figures) == pytest.approx(by_definition(copies, real, 3))
    # A ball holds its own centre and the k - 1 nearest, not the k-th.
    assert figures.density == pytest.approx(1.0)
    assert figures.precision == figures.recall == figures.coverage == 1


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    features, real = rng.normal(size=(150, 6)), rng.normal(size=(130, 6)) + 0.3
    whole = prdc(features, real)
    monkeypatch.setattr("skinvert.metrics.neighbours._BLOCK", 1000)
    assert dict(prdc(features, real)) == dict(whole)


def test_modes_dropped_and_modes_invented():
    rng = np.random.default_rng(0)
    real = np.vstack([rng.normal(size=(300, 4)) - 10, rng.normal(size=(300, 4)) + 10])
    dropped = prdc(rng.normal(size=(300, 4)) - 10, real)
    assert dropped.precision > 0.9
    assert dropped.recall < 0.55
    assert dropped.coverage < 0.55
    far = prdc(rng.normal(size=(300, 4)) + 99, real)
    assert dict(far) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_order_and_units_do_not_matter():
    rng = np.random.default_rng(0)
    features, real = rng.normal(size=(100, 5)), rng.normal(size=(120, 5)) + 0.5
    expected = dict(prdc(features, real))
    assert dict(prdc(rng.permutation(features), rng.permutation(real))) == expected
    assert dict(prdc(4 * features + 1, 4 * real + 1)) == expected


def test_swapping_the_sets_swaps_precision_and_recall():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(80, 3)), 2 * rng.normal(size=(90, 3))
    one, other = prdc(first, second), prdc(second, first)
    assert (one.precision, one.recall) == (other.recall, other.precision)


def test_constant_features_have_empty_balls():
    figures = prdc(np.ones((20, 3)), np.ones((30, 3)))
    assert dict(figures) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_bad_input_is_refused():
    rows = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(ValueError, match=r"between 1 and 5.*k=6 for 10 and 6 rows"):
        prdc(rows, rows[:6], k=6)
    with pytest.raises(ValueError, match="got k=0"):
        prdc(rows, rows, k=0)
    with pytest.raises(ValueError, match="3 wide and real_features is 2 wide"):
        prdc(rows, rows[:, :2])
    with pytest.raises(ValueError, match="features holds NaN"):
        prdc(rows * np.nan, rows)

"""Targets say the same of a row in any request, and refuse what cannot be excited."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinvert import Target

N_UNITS = 6
unit = st.integers(0, N_UNITS - 1)
entries = st.one_of(
    unit,
    st.lists(unit, min_size=1, max_size=3),
    st.dictionaries(unit, st.floats(0.1, 10), min_size=1, max_size=3),
)


@given(units=st.lists(entries, max_size=6))
def test_rows_of_the_matrix_are_weights(units):
    matrix = Target(units).matrix(N_UNITS)
    assert matrix.shape == (len(units), N_UNITS)
    assert matrix.dtype == np.float32
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-5)


@given(units=st.lists(entries, max_size=6), cut=st.slices(6))
def test_a_slice_asks_what_its_rows_asked(units, cut):
    target = Target(units, layer="0", position=(1, 2))
    part = target[cut]
    np.testing.assert_array_equal(part.matrix(N_UNITS), target.matrix(N_UNITS)[cut])
    assert part.requests() == target.requests()[cut]
    assert (part.layer, part.position, part.is_mixture) == ("0", (1, 2), target.is_mixture)
    assert len(part) == len(units[cut])


@given(columns=st.lists(unit, max_size=8))
def test_columns_are_one_hot(columns):
    target = Target.of_columns(np.array(columns, dtype=np.int64))
    np.testing.assert_array_equal(target.matrix(N_UNITS), np.eye(N_UNITS)[columns])
    assert target.requests() == Target(columns).requests()
    assert not target.is_mixture


@given(weights=st.lists(st.floats(0, 1, width=32), min_size=N_UNITS, max_size=N_UNITS))
def test_weights_are_kept(weights):
    weights = np.array([weights]) + 1e-3
    weights /= weights.sum(1, keepdims=True)
    target = Target.of_weights(weights)
    assert target.is_mixture
    assert target[:1].is_mixture
    np.testing.assert_allclose(target.matrix(N_UNITS), weights, rtol=1e-5)


def test_requests_tell_rows_apart():
    requests = [
        *Target([1, 2, [1, 2], {1: 1.0, 2: 3.0}]).requests(),
        *Target([1], layer="0").requests(),
        *Target([1], layer="1").requests(),
        *Target([1], layer="0", position=(0, 0)).requests(),
    ]
    assert len(set(requests)) == len(requests)
    assert Target([1]).requests() == Target([[1]]).requests() == Target([{1: 1.0}]).requests()


def test_equal_weights_are_written_in_three_ways():
    matrix = Target([[1, 2], {1: 1.0, 2: 1.0}, {1: 7, 2: 7}, (2, 1), np.array([1, 2])]).matrix(3)
    np.testing.assert_array_equal(matrix, np.tile([0, 0.5, 0.5], (5, 1)))


def test_numpy_integers_are_units():
    np.testing.assert_array_equal(Target(np.array([2, 0])).matrix(3), np.eye(3)[[2, 0]])


def test_targets_survive_pickle():
    target = Target([4, [1, 2]], layer="features.3", position=(0, 1))
    copied = pickle.loads(pickle.dumps(target))
    assert copied.requests() == target.requests()
    assert "2 images" in repr(copied)
    assert "features.3" in repr(copied)


@pytest.mark.parametrize("units", [3, "3", 3.5])
def test_one_image_must_be_asked_for_by_a_list(units):
    with pytest.raises(ValueError, match="sequence"):
        Target(units)


@pytest.mark.parametrize("entry", [-1, [], [0, -2], {}, [1.5], {"cat": 1.0}])
def test_entries_name_units(entry):
    with pytest.raises(ValueError, match="non-negative unit indices"):
        Target([0, entry])


@pytest.mark.parametrize("weight", [-1.0, 0.0, np.nan, np.inf])
def test_unit_weights_are_positive_numbers(weight):
    with pytest.raises(ValueError, match="finite, non-negative and not all zero"):
        Target([{2: weight}])


@pytest.mark.parametrize(
    ("target", "place"), [(Target([0, 7]), "classifier"), (Target([0, 7], layer="3"), "'3'")]
)
def test_units_must_exist(target, place):
    with pytest.raises(ValueError, match=f"row 1 asks for unit 7.*{place}.*0 to 6"):
        target.matrix(7)


def test_only_slices_cut():
    with pytest.raises(TypeError, match="slices"):
        Target([1, 2])[0]

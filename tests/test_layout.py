"""Rows, images, labels and class weights survive the way in and out; what is wrong is named."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skinvert.layout import (
    check_class_weights,
    columns_of,
    flatten_images,
    resolve_image_shape,
    restore_layout,
    validate_rows,
)

sides = st.integers(5, 9)
grey_images = st.tuples(st.integers(1, 4), sides, sides)
colour_images = st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 3, 4]), sides, sides)


@given(shape=grey_images | colour_images)
def test_images_come_back_as_they_went(shape):
    X = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    rows, trailing_shape = flatten_images(X)
    assert rows.shape == (shape[0], math.prod(shape[1:]))
    assert trailing_shape == shape[1:]
    np.testing.assert_array_equal(restore_layout(rows, trailing_shape), X)


@given(shape=grey_images | colour_images)
def test_shape_of_images_is_inferred(shape):
    inferred = resolve_image_shape(None, shape[1:], math.prod(shape[1:]))
    assert inferred == (shape[1:] if len(shape) == 4 else (1, *shape[1:]))


@given(shape=colour_images)
def test_lists_and_tensors_are_images_too(shape):
    X = np.zeros(shape, dtype=np.float32)
    for same in (X.tolist(), torch.from_numpy(X)):
        rows, trailing_shape = flatten_images(same)
        assert rows.shape == (shape[0], math.prod(shape[1:]))
        assert trailing_shape == shape[1:]


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((3, 8)),
        [[1.0, 2.0], [3.0, 4.0]],
        pd.DataFrame({"a": [1.0], "b": [2.0]}),
        sparse.csr_array(np.eye(3)),
        np.zeros(3),
        np.zeros((2, 2, 2, 2, 2)),
    ],
    ids=["array", "lists", "frame", "sparse", "1-D", "5-D"],
)
def test_anything_else_is_left_to_scikit_learn(X):
    same, trailing_shape = flatten_images(X)
    assert same is X
    assert trailing_shape is None
    assert restore_layout(same, trailing_shape) is X


@pytest.mark.parametrize("shape", [(2, 28, 28, 1), (2, 32, 32, 3), (2, 8, 6, 4)])
def test_channels_last_batches_are_refused_with_the_remedy(shape):
    X = np.zeros(shape)
    with pytest.raises(ValueError, match=r"channels-last.*np\.moveaxis\(X, -1, 1\)"):
        flatten_images(X)
    assert flatten_images(np.moveaxis(X, -1, 1))[1] == (shape[3], *shape[1:3])


def test_one_channels_last_image_is_refused_with_the_remedy():
    X = np.zeros((32, 32, 3))
    with pytest.raises(ValueError, match=r"one channels-last image.*np\.moveaxis\(X, -1, 0\)"):
        flatten_images(X)
    assert flatten_images(np.moveaxis(X, -1, 0)[None])[1] == (3, 32, 32)


@given(side=st.integers(2, 40))
def test_rows_of_a_square_length_are_square_images(side):
    assert resolve_image_shape(None, None, side * side) == (1, side, side)


@given(n_features=st.integers(1, 400))
def test_other_rows_are_no_images(n_features):
    shape = resolve_image_shape(None, None, n_features)
    square = math.isqrt(n_features) ** 2 == n_features and n_features > 1
    assert (shape is not None) == square


@given(shape=st.lists(st.integers(1, 6), min_size=2, max_size=3), extra=st.integers(1, 5))
def test_image_shape_must_multiply_out(shape, extra):
    expected = (1, *shape) if len(shape) == 2 else tuple(shape)
    assert resolve_image_shape(shape, None, math.prod(shape)) == expected
    with pytest.raises(ValueError, match=r"image_shape.*multiply out"):
        resolve_image_shape(shape, None, math.prod(shape) + extra)


@pytest.mark.parametrize("shape", [(64,), (1, 1, 8, 8), (0, 64), (-8, -8), (6.5, 8)])
def test_impossible_image_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="image_shape must be"):
        resolve_image_shape(shape, None, 64)


def test_image_shape_must_agree_with_the_array():
    assert resolve_image_shape((4, 16), (1, 4, 16), 64) == (1, 4, 16)
    with pytest.raises(ValueError, match="contradicts"):
        resolve_image_shape((8, 8), (4, 16), 64)


labels = st.one_of(
    st.lists(st.integers(-50, 50), min_size=1, max_size=9, unique=True),
    st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=9, unique=True),
)


@given(data=st.data(), classes=labels)
def test_columns_name_the_labels(data, classes):
    # Sorted or not: columns follow the order of the classes, which is the order of the outputs.
    classes = np.array(classes, dtype=object if isinstance(classes[0], str) else None)
    y = data.draw(st.lists(st.sampled_from(list(classes)), max_size=12))
    columns = columns_of(y, classes)
    assert columns.dtype == np.int64
    assert [classes[column] for column in columns] == y


def test_columns_of_a_series_and_of_a_tensor():
    assert columns_of(pd.Series(["b", "a"]), ["a", "b"]).tolist() == [1, 0]
    assert columns_of(torch.tensor([7, 5]), np.array([5, 7])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("y", "complaint"),
    [
        (3, r"the scalar 3.*\[3\]"),
        ("cat", r"the scalar 'cat'.*\['cat'\]"),
        ([[1], [2]], r"shape \(2, 1\).*ravel"),
        ([1, 99], r"not among.*99.*known are.*classes="),
    ],
)
def test_bad_labels_are_refused_with_the_remedy(y, complaint):
    with pytest.raises(ValueError, match=complaint):
        columns_of(y, np.arange(5))


def test_long_lists_of_classes_are_shortened():
    with pytest.raises(ValueError, match="…"):
        columns_of([-1], np.arange(1000))


positive = st.floats(0, 1e6, allow_subnormal=False).filter(lambda value: value == 0 or value > 1e-6)


@given(
    weights=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=positive
    )
)
def test_class_weights_are_normalised(weights):
    classes = [f"c{index}" for index in range(weights.shape[1])]
    if (weights.sum(1) == 0).any():
        with pytest.raises(ValueError, match="all zero"):
            check_class_weights(weights, classes)
        return
    normalised = check_class_weights(weights, classes)
    np.testing.assert_allclose(normalised.sum(1), 1)
    # Ratios within a row are what was asked for.
    np.testing.assert_allclose(normalised * weights.sum(1, keepdims=True), weights, rtol=1e-12)
    # Weights of weights are the same weights, and so are scaled ones.
    np.testing.assert_allclose(check_class_weights(normalised, classes), normalised)
    np.testing.assert_allclose(check_class_weights(weights * 3, classes), normalised)


@given(data=st.data(), n_classes=st.integers(1, 6))
def test_columns_of_a_frame_go_by_name(data, n_classes):
    classes = list(range(n_classes))
    order = data.draw(st.permutations(classes))
    weights = np.random.default_rng(0).uniform(0.1, 1, size=(3, n_classes))
    frame = pd.DataFrame(weights, columns=classes)[list(order)]
    np.testing.assert_array_equal(
        check_class_weights(frame, classes), check_class_weights(weights, classes)
    )


def test_absent_columns_of_a_frame_are_zero():
    frame = pd.DataFrame({"c": [3.0], "a": [1.0]})
    assert check_class_weights(frame, ["a", "b", "c"]).tolist() == [[0.25, 0.0, 0.75]]


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ([[1.0, 2.0, 3.0]], r"shape \(n, 2\).*got \(1, 3\)"),
        ([1.0, 2.0], r"shape \(n, 2\)"),
        ([[1.0, 1.0], [1.0, -0.1]], "non-negative.*row 1"),
        ([[np.nan, 1.0]], "finite.*row 0"),
        ([[np.inf, 1.0]], "finite.*row 0"),
        ([[1.0, 1.0], [0.0, 0.0]], "row 1 are all zero"),
        (pd.DataFrame({"a": [1.0], "z": [1.0]}), "not classes.*'z'"),
        (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "twice.*'a'"),
    ],
)
def test_bad_class_weights_are_refused(weights, complaint):
    with pytest.raises(ValueError, match=complaint):
        check_class_weights(weights, ["a", "b"])


@pytest.mark.parametrize("weights", [[["a", "b"]], [[1.0], [1.0, 2.0]], [[1j, 0]], [[{}, 1]]])
def test_weights_that_are_no_numbers_are_named(weights):
    with pytest.raises((TypeError, ValueError), match="weights must be numbers"):
        check_class_weights(weights, ["x", "y"])


@pytest.mark.parametrize(
    "X",
    [
        [["a", "b"], ["c", "d"]],
        np.full((2, 2), {}, dtype=object),
        np.full((2, 4, 4), "a", dtype=object),
        [[1.0], [1.0, 2.0]],
        np.zeros((0, 2)),
        [1.0, 2.0],
        sparse.csr_array(np.eye(2)),
        np.eye(2) * 1j,
    ],
)
def test_an_error_about_rows_names_them(X):
    with pytest.raises((TypeError, ValueError), match=r"\bX\b"):
        validate_rows(LogisticRegression(), X, dtype=np.float32)


@given(X=hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
def test_rows_of_numbers_are_left_alone(X):
    estimator = LogisticRegression()
    rows, y = validate_rows(estimator, X.reshape(3, 2, 2), [0, 1, 0], dtype=np.float32)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(y, [0, 1, 0])
    assert estimator.n_features_in_ == 4
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        validate_rows(estimator, X, [0, 1])

"""What images are drawn on: ranges, shapes, and parameterizations that stay the user's."""

import numpy as np
import pytest
from sklearn.base import clone

from skinvert.inversion.canvas import (
    PARAMETERIZATIONS,
    canvas_shape,
    fitted_canvas,
    range_of_values,
)


@pytest.fixture
def rows():
    return np.random.default_rng(0).uniform(-1, 3, size=(20, 16)).astype(np.float32)


def test_auto_is_the_range_of_the_rows(rows):
    assert range_of_values("auto", rows) == (rows.min(), rows.max())
    assert range_of_values("auto", None) == (0.0, 1.0)


def test_rows_of_one_value_have_no_range(rows):
    assert range_of_values("auto", np.full_like(rows, 2.0)) is None


@pytest.mark.parametrize("clip", [None, (0.0, 5.0), [0.0, 5.0]])
def test_a_given_range_is_taken_as_it_is(clip, rows):
    assert range_of_values(clip, rows) is clip


def test_rows_that_are_no_images_are_one_line():
    assert canvas_shape(None, 13) == (1, 1, 13)
    assert canvas_shape((3, 4, 5), 60) == (3, 4, 5)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_a_word_is_the_parameterization_with_its_defaults(name, rows):
    arguments = {"image_shape": (1, 4, 4), "value_range": (-1.0, 3.0)}
    by_word = fitted_canvas(name, rows, **arguments)
    by_object = fitted_canvas(PARAMETERIZATIONS[name](), rows, **arguments)
    assert type(by_word) is type(by_object)
    assert by_word.get_params() == by_object.get_params()
    assert by_word.image_shape_ == (1, 4, 4)


def test_a_given_object_stays_unfitted(rows):
    given = PARAMETERIZATIONS["fourier"]()
    before = vars(clone(given))
    canvas = fitted_canvas(given, rows, image_shape=(1, 4, 4), value_range=None)
    assert canvas is not given
    assert vars(given) == before

"""Logits of pixels: a round trip inside the range, and both ends of it outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from skinvert.inversion.coordinates import PixelLogit


@given(
    low=st.floats(-100, 100),
    width=st.floats(0.1, 1000),
    margin=st.floats(0.001, 0.4),
)
def test_round_trip_inside_the_range(low, width, margin):
    rows = low + width * np.random.default_rng(0).uniform(size=(5, 3))
    logit = PixelLogit(margin).fit(rows)
    back = logit.inverse_transform(logit.transform(rows))
    np.testing.assert_allclose(back, rows, atol=1e-9 * (abs(low) + width))


def test_whatever_logit_comes_back_lies_in_the_range():
    logit = PixelLogit().fit([[0.0, 16.0]])
    back = logit.inverse_transform(np.array([[-1e6, 1e6], [0.0, 3.0]]))
    assert back.min() == 0
    assert back.max() == 16


def test_values_outside_the_range_move_to_its_ends():
    logit = PixelLogit().fit([[0.0, 1.0]])
    np.testing.assert_array_equal(logit.transform([[-5.0, 7.0]]), logit.transform([[0.0, 1.0]]))


def test_constant_data_survive():
    logit = PixelLogit().fit(np.full((3, 2), 4.0))
    np.testing.assert_allclose(logit.inverse_transform(logit.transform(np.full((3, 2), 4.0))), 4.0)


@pytest.mark.parametrize("margin", [0.0, 0.5, -1.0])
def test_margins_out_of_range_are_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        PixelLogit(margin).fit([[0.0, 1.0]])


def test_unfitted():
    with pytest.raises(NotFittedError):
        PixelLogit().transform([[0.0]])

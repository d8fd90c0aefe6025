"""Pictures of another size or with other channels: what is done, and what is refused."""

import numpy as np
import pytest
from torch import nn

from skinvert.inversion.pictures import (
    fit_pictures,
    given_images,
    one_for_each,
    refuse_unfit_images,
)


def test_rows_of_the_right_length_stay_as_they_are():
    rows = np.random.default_rng(0).uniform(size=(3, 48)).astype(np.float32)
    np.testing.assert_array_equal(fit_pictures(rows, (3, 4, 4), "X"), rows)


def test_pictures_of_the_right_size_are_only_flattened():
    pictures = np.random.default_rng(0).uniform(size=(2, 3, 4, 5)).astype(np.float32)
    fitted = fit_pictures(pictures, (3, 4, 5), "X")
    np.testing.assert_array_equal(fitted, pictures.reshape(2, -1))


def test_the_middle_is_cut_and_nothing_is_squeezed():
    pictures = np.zeros((1, 1, 10, 30), np.float32)
    pictures[..., 10:20] = 1
    np.testing.assert_allclose(fit_pictures(pictures, (1, 5, 5), "style"), 1, atol=1e-6)


def test_constants_keep_their_value_at_any_size():
    for sides in ((7, 9), (3, 3), (40, 12)):
        fitted = fit_pictures(np.full((1, 3, *sides), 0.7), (3, 6, 8), "shape")
        np.testing.assert_allclose(fitted, 0.7, atol=1e-5)


@pytest.mark.parametrize(
    ("found", "wanted", "remedy"),
    [
        ((1, 1, 9, 9), (3, 8, 8), r"np\.repeat\(style"),
        ((1, 9, 9), (3, 8, 8), "repeat the grey channel"),
        ((1, 3, 9, 9), (1, 8, 8), r"style\.mean\(axis=1\)"),
        ((1, 4, 9, 9), (3, 8, 8), "drop the opacity"),
        ((1, 2, 9, 9), (3, 8, 8), "convert the pictures"),
    ],
)
def test_other_channels_are_refused_with_the_remedy(found, wanted, remedy):
    with pytest.raises(ValueError, match=remedy):
        fit_pictures(np.zeros(found), wanted, "style")


def test_other_layouts_are_refused():
    with pytest.raises(ValueError, match="rows of 64 values"):
        fit_pictures(np.zeros((2, 63)), (1, 8, 8), "X")
    with pytest.raises(ValueError, match="not finite"):
        fit_pictures(np.full((2, 64), np.inf), (1, 8, 8), "X")


def test_networks_that_take_the_images_are_left_alone(net):
    # `net` compares the module before and after.
    refuse_unfit_images(net, (1, 8, 8))


def test_images_below_the_least_size_are_refused():
    deep = nn.Sequential(nn.Conv2d(1, 2, 20), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"12 x 12 pixels, smaller .* runs at 24 x 24"):
        refuse_unfit_images(deep, (1, 12, 12))
    refuse_unfit_images(deep, (1, 20, 20))


def test_one_picture_stands_for_all():
    rows = np.arange(6.0).reshape(2, 3)
    assert one_for_each(rows, 2, "style") is rows
    np.testing.assert_array_equal(one_for_each(rows[:1], 3, "style"), rows[[0, 0, 0]])
    with pytest.raises(ValueError, match="style holds 2 pictures for 3 of X"):
        one_for_each(rows, 3, "style")


def test_images_of_any_layout_become_rows():
    images = np.random.default_rng(0).uniform(size=(4, 1, 2, 3))
    for given in (images, images[:, 0], images.reshape(4, 6)):
        rows = given_images(given, "init", 4, 6)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, images.reshape(4, 6).astype(np.float32))


@pytest.mark.parametrize(("n_rows", "n_features"), [(5, 6), (4, 7)])
def test_too_few_images_and_other_sizes_are_refused(n_rows, n_features):
    with pytest.raises(ValueError, match="init holds"):
        given_images(np.zeros((4, 6)), "init", n_rows, n_features)

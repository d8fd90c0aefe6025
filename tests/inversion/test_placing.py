"""Placing: objects found, moved, and compared where they are and where they shall be."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.inversion.attribution import gaussian_blob
from skinvert.inversion.objectives import State
from skinvert.inversion.placing import (
    PlacedMatching,
    Placement,
    object_centres,
    placed_statistics,
    position_maps,
    shifted,
)
from skinvert.inversion.statistics import channel_statistics
from skinvert.models.frozen import FrozenClassifier

SIDES = (12, 10)


@pytest.fixture(scope="module")
def brightness():
    """A network that sees how bright the brightest places are."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(2), nn.AdaptiveAvgPool1d(1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        net[0].bias.zero_()
    return FrozenClassifier(nn.Sequential(*net, nn.Flatten()).eval(), (1, *SIDES))


def spot(row, column):
    image = np.zeros((1, *SIDES), np.float32)
    image[0, row - 1 : row + 2, column - 1 : column + 2] = 1.0
    return image


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-11, 9), (40, -33)])
def test_shifts_reflect_at_the_border(move):
    image = torch.rand(2, *SIDES)
    moved = shifted(image, move)
    padded = np.pad(image.numpy(), [(0, 0), (50, 50), (50, 50)], mode="reflect")
    (down, right), (height, width) = move, SIDES
    expected = padded[:, 50 - down : 50 - down + height, 50 - right : 50 - right + width]
    np.testing.assert_array_equal(moved, expected)


def test_shifts_fill_with_nothing():
    image = torch.ones(*SIDES)
    assert shifted(image, (2, -3), fill="zero").sum() == (SIDES[0] - 2) * (SIDES[1] - 3)
    assert shifted(image, (2, -3), fill="zero")[2:, :-3].all()


def test_objects_are_found_where_they_are(brightness):
    rows = np.stack([spot(2, 3), spot(8, 6), np.zeros((1, *SIDES), np.float32)])
    centres = object_centres(
        brightness,
        "1",
        rows.reshape(3, -1),
        np.tile([[1.0, 0.0]], (3, 1)).astype(np.float32),
        shape=(1, *SIDES),
        batch_size=2,
        device="cpu",
    )
    np.testing.assert_allclose(centres, [[2, 3], [8, 6], [5.5, 4.5]], atol=1e-5)


def test_the_first_image_has_the_object_in_its_place():
    blob = gaussian_blob(SIDES, (3, 6), sigma=1.5)
    placement = Placement(blob[None], np.array([[8.0, 3.0]]), SIDES)
    reference = torch.from_numpy(spot(8, 3))[None]
    image = placement.start(0, torch.full_like(reference, 0.5), reference)
    np.testing.assert_allclose(image[0, 0, 2:5, 5:8], 1.0, atol=1e-6)
    np.testing.assert_allclose(image[0, 0, 10:, :2], 0.5, atol=1e-3)


def test_maps_of_another_resolution_are_resized():
    small = gaussian_blob((6, 5), (1, 1), sigma=0.8)
    placement = Placement(small[None], np.array([[6.0, 5.0]]), SIDES)
    assert placement.asked.shape == (1, *SIDES)
    assert placement.moves.tolist() == [[-3, -2]]


def test_a_map_of_everything_leaves_equation_5():
    features = torch.randn(2, 3, *SIDES, dtype=torch.float64)
    mean, std = placed_statistics(features, torch.ones(2, *SIDES, dtype=torch.float64))
    whole_mean, whole_std = channel_statistics(features)
    torch.testing.assert_close(mean[:, 0], whole_mean)
    torch.testing.assert_close(std[:, 0], whole_std)
    assert not mean[:, 1].any()


def test_statistics_follow_an_object_that_moves():
    known, asked = (
        torch.from_numpy(gaussian_blob(SIDES, place, sigma=1.0))[None].double()
        for place in ((4, 3), (7, 6))
    )
    features = torch.zeros(1, 2, *SIDES, dtype=torch.float64)
    features[0, :, 3:6, 2:5] = torch.randn(2, 3, 3, dtype=torch.float64)
    for here, there in zip(
        placed_statistics(features, known),
        placed_statistics(shifted(features, (3, 3), fill="zero"), asked),
        strict=True,
    ):
        torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_dense_layers_have_no_places():
    mean, std = placed_statistics(torch.randn(4, 7), torch.ones(4, *SIDES))
    assert mean.shape == std.shape == (4, 1, 7)


def test_the_slope_is_that_of_differences(assert_slope):
    torch.manual_seed(0)
    maps = torch.rand(2, 6, 5, dtype=torch.float64)
    asked = placed_statistics(torch.randn(2, 2, 3, 4, dtype=torch.float64), maps)
    term = PlacedMatching(statistics={"": asked}, maps=maps)
    rows = torch.tensor([1, 0])

    def distance(images):
        return term(images, State(None, None, activations={"": images}, rows=rows))

    assert_slope(distance, torch.randn(2, 2, 3, 4))


def test_each_row_has_a_map_and_a_reference_of_its_own():
    maps = torch.rand(3, *SIDES)
    features = torch.randn(3, 2, *SIDES)
    term = PlacedMatching(statistics={"": placed_statistics(features, maps)}, maps=maps)
    rows = torch.tensor([2, 0, 1])
    state = State(None, None, activations={"": features[rows]}, rows=rows)
    torch.testing.assert_close(term(None, state), torch.zeros(3), atol=1e-5, rtol=0)
    state.rows = torch.tensor([0, 1, 2])
    assert (term(None, state) > 0.1).all()


def test_one_map_is_for_all_pictures():
    maps = np.random.default_rng(0).uniform(size=(3, 4, 5))
    np.testing.assert_array_equal(position_maps(maps, 3), maps.astype(np.float32))
    np.testing.assert_array_equal(
        position_maps(maps[0], 2), np.stack([maps[0], maps[0]]).astype(np.float32)
    )


@pytest.mark.parametrize("position", [np.ones(4), np.ones((2, 4, 4)), -np.eye(4), np.zeros((4, 4))])
def test_what_is_no_map_is_refused(position):
    with pytest.raises(ValueError, match="position must be"):
        position_maps(position, 3)

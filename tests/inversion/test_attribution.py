"""Attribution maps: what they are, that they can be differentiated again, and bad input."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.inversion.attribution import (
    Location,
    discriminant_maps,
    gaussian_blob,
    grad_cam,
    positional_attribution,
    regions_of,
)
from skinvert.inversion.features import record_activations
from skinvert.inversion.objectives import State

LAYERS = ["0", "1", "2", "3", "4"]


@pytest.fixture(scope="module")
def smooth():
    """A small net without kinks, in float64: every difference quotient is a slope."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Softplus(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 5, 3, padding=1),
            nn.Softplus(),
            nn.Flatten(),
            nn.Linear(45, 3),
        ).double()
    with torch.no_grad():
        # No map is all zero then, where a rectified map has no slope.
        net[6].weight.abs_()
    return net.requires_grad_(False)


def state_of(net, images, layer, rows=None):
    with record_activations(net, [layer]) as activations:
        logits = net(images)
    weights = torch.eye(3, dtype=images.dtype)[[1] * len(images)]
    rows = torch.arange(len(images)) if rows is None else rows
    return State(logits, weights, dict(activations), rows=rows)


def test_grad_cam_is_its_definition(smooth):
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    maps = smooth[:5](images)
    scores = smooth[5:](maps)[:, 1]
    weight = smooth[6].weight[1].reshape(5, 3, 3).mean((1, 2))
    expected = torch.relu(torch.einsum("k,nkhw->nhw", weight, maps))
    torch.testing.assert_close(grad_cam(scores, maps), expected)


def test_positional_attribution_adds_up_to_a_linear_score():
    maps = torch.rand(3, 4, 5, 5, requires_grad=True)
    scores = (maps * torch.linspace(0.1, 1, 100).reshape(4, 5, 5)).sum((1, 2, 3))
    torch.testing.assert_close(positional_attribution(scores, maps).sum((1, 2)), scores)


def test_tokens_are_maps_without_their_first():
    tokens = torch.rand(2, 10, 4, requires_grad=True)
    scores = tokens[:, 1:].square().sum((1, 2))
    slopes = 2 * tokens[:, 1:].detach()
    expected = (slopes.mean(1, keepdim=True) * tokens[:, 1:]).sum(2).reshape(2, 3, 3)
    torch.testing.assert_close(grad_cam(scores, tokens), expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_location_can_be_differentiated_to_the_pixels(layer, smooth, assert_slope):
    blob = torch.from_numpy(gaussian_blob((6, 6), (1, 4), 1.5))[None].double()
    term = Location(10.0, layer, blob)

    def distance(images):
        images = images if images.requires_grad else images.clone().requires_grad_()
        return term(images, state_of(smooth, images, layer))

    generator = torch.Generator().manual_seed(1)
    images = torch.rand(1, 1, 6, 6, dtype=torch.float64, generator=generator)
    assert_slope(distance, images, rtol=1e-4)


def test_location_knows_whose_map_is_whose(smooth):
    blobs = [torch.from_numpy(gaussian_blob((6, 6), center, 1.5)) for center in ((0, 0), (5, 5))]
    term = Location(1.0, "4", torch.stack(blobs).double())
    image = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    twice = image.repeat(2, 1, 1, 1).requires_grad_()
    there = term(twice, state_of(smooth, twice, "4", torch.tensor([0, 1])))
    back = term(twice, state_of(smooth, twice, "4", torch.tensor([1, 0])))
    torch.testing.assert_close(there, back.flip(0))
    assert there[0] != there[1]


def test_the_asked_map_has_no_distance(smooth):
    images = torch.rand(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    state = state_of(smooth, images, "4")
    found = grad_cam((state.weights * state.logits).sum(1), state.activations["4"])
    assert Location(1.0, "4", 3 * found.detach())(images, state_of(smooth, images, "4")) < 1e-3


def test_no_hook_is_left(smooth):
    images = torch.rand(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    Location(1.0, "4", torch.ones(1, 3, 3).double())(images, state_of(smooth, images, "4"))
    assert not any(layer._forward_hooks for layer in smooth.modules())


def test_what_both_classes_share_discriminates_nothing():
    maps = torch.rand(1, 2, 3, 3, requires_grad=True)
    alike = torch.stack([maps.sum((1, 2, 3)), maps.sum((1, 2, 3))], dim=1)
    which = torch.tensor([0])
    largest = discriminant_maps(alike, maps, which, 1 - which)[:, 0]
    shared = positional_attribution(alike[:, 0], maps)
    peak = shared.flatten().argmax()
    assert discriminant_maps(alike, maps, which, 1 - which).flatten()[peak] == 0
    assert largest.min() >= 0


@pytest.mark.parametrize("share", [0.1, 0.25, 0.99])
def test_regions_have_the_share_asked_for(share):
    masks = regions_of(torch.zeros(2, 3, 3), (10, 12), share)
    assert masks.sum((1, 2)).tolist() == [int(share * 120)] * 2


def test_regions_lie_where_maps_are_large():
    maps = torch.zeros(1, 4, 4)
    maps[0, 3, 0] = 1
    rows, columns = regions_of(maps, (8, 8), 4 / 64)[0].nonzero(as_tuple=True)
    assert rows.min() >= 6
    assert columns.max() <= 1


def test_a_blob_has_its_top_where_it_was_asked_for():
    blob = gaussian_blob((9, 5), (7, 2), 2.0)
    assert blob.max() == blob[7, 2] == 1
    assert blob.dtype == np.float32


@pytest.mark.parametrize("center", [(-1, 2), (9, 2), (3, 5), (3, -0.5), (np.nan, 1)])
def test_blobs_outside_the_picture_are_refused(center):
    with pytest.raises(ValueError, match="lies outside the picture of 9 x 5 pixels"):
        gaussian_blob((9, 5), center, 1.0)


@pytest.mark.parametrize("sigma", [0, -1.0])
def test_blobs_have_a_width(sigma):
    with pytest.raises(ValueError, match="sigma must be positive"):
        gaussian_blob((9, 5), (1, 1), sigma)


def test_detached_activations_are_refused():
    with pytest.raises(ValueError, match="attached to one graph"):
        grad_cam(torch.zeros(1), torch.zeros(1, 2, 3, 3))


def test_layers_aside_are_refused():
    maps, scores = torch.rand(1, 2, 3, 3, requires_grad=True), torch.rand(1, requires_grad=True)
    with pytest.raises(ValueError, match="do not depend on this layer"):
        grad_cam(scores, maps)


def test_layers_without_positions_are_refused():
    values = torch.rand(1, 4, requires_grad=True)
    with pytest.raises(ValueError, match="choose a layer with positions"):
        grad_cam(values.sum(1), values)

"""Eq. 2 of IMAGINE: zero where the network has its zero, and growing from there."""

import pytest
import torch

from skinvert.inversion.objectives import Objective, State
from skinvert.inversion.regularizers import image_terms
from skinvert.models.frozen import FrozenClassifier

SHAPE = (3, 4, 4)


def values(images, scale, normalize=None):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    classifier = FrozenClassifier(network, SHAPE, normalize=normalize)
    terms = image_terms(classifier, SHAPE, tv_weight=2.0, l2_weight=3.0, scale=scale)
    state = State(logits=torch.zeros(len(images), 2), weights=torch.ones(len(images), 2) / 2)
    return Objective(terms).evaluate(images, state)


@pytest.mark.parametrize(("scale", "divisor"), [("squared", 1), ("mean_squared", 48)])
def test_the_second_term_is_the_squared_distance_from_zero(scale, divisor):
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = 3.0 * images.square().sum((1, 2, 3)) / divisor
    torch.testing.assert_close(values(images, scale)["l2"], expected)


def test_zero_is_the_networks_mean():
    mean = (0.5, 0.4, 0.3)
    images = torch.tensor(mean)[None, :, None, None].expand(1, *SHAPE)
    found = values(images, "squared", normalize=(mean, (0.2, 0.2, 0.2)))
    assert float(found["l2"]) == 0
    assert float(found["tv"]) == 0


def test_the_first_term_is_the_mean_squared_step():
    images = torch.zeros(1, *SHAPE)
    images[..., 2:] = 1.0  # one step in each of 12 rows
    assert float(values(images, "squared")["tv"]) == pytest.approx(2.0 * 12 / 48)

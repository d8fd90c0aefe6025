"""Networks that take any size see few pixels, others the same few enlarged."""

import pytest
import torch
from torch import nn

from skinvert.inversion.resolution import at_resolution
from skinvert.models.frozen import FrozenClassifier

SHAPE = (3, 8, 12)


def frozen(pooled, normalize=None):
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    if not pooled:
        tail = [nn.Flatten(), nn.Linear(4 * 8 * 12, 5)]
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *tail)
    return FrozenClassifier(network, SHAPE, normalize=normalize)


def test_full_resolution_is_the_classifier_itself():
    classifier = frozen(pooled=True)
    same, resize = at_resolution(classifier, SHAPE, 1)
    images = torch.rand(2, *SHAPE)
    assert same is classifier
    assert resize(images) is images


@pytest.mark.parametrize("normalize", [None, ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))])
def test_a_pooled_network_looks_at_averages(normalize):
    classifier = frozen(pooled=True, normalize=normalize)
    smaller, resize = at_resolution(classifier, SHAPE, 4)
    images = torch.rand(2, *SHAPE)
    assert resize(images).shape == (2, 3, 2, 3)
    torch.testing.assert_close(resize(images).mean((2, 3)), images.mean((2, 3)))
    by_hand = FrozenClassifier(classifier.network, (3, 2, 3), normalize=normalize)
    torch.testing.assert_close(smaller(resize(images)), by_hand(resize(images)))


@pytest.mark.parametrize("acceleration", [None, "bfloat16"])
def test_few_pixels_are_seen_in_the_same_precision(acceleration):
    classifier = frozen(pooled=True)
    classifier.acceleration = acceleration
    smaller, resize = at_resolution(classifier, SHAPE, 4)
    images = resize(torch.rand(2, *SHAPE))
    by_hand = FrozenClassifier(classifier.network, (3, 2, 3))
    is_single = torch.equal(smaller(images), by_hand(images))
    assert smaller.acceleration == acceleration
    assert is_single == (acceleration is None)


def test_a_network_of_one_size_sees_the_pixels_enlarged():
    classifier = frozen(pooled=False)
    same, resize = at_resolution(classifier, SHAPE, 2)
    seen = resize(torch.rand(1, *SHAPE))
    assert same is classifier
    assert seen.shape == (1, *SHAPE)
    torch.testing.assert_close(seen[..., ::2, ::2], seen[..., 1::2, 1::2])


def test_there_must_be_pixels_left():
    with pytest.raises(ValueError, match=r"1/16 .* images are 8 x 12 pixels"):
        at_resolution(frozen(pooled=True), SHAPE, 16)

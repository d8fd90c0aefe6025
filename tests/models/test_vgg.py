"""The paper's classifiers: kernels, sizes, and what their last layer reads."""

import pytest
import torch
from torch import nn

from skinvert.models.frozen import FrozenClassifier
from skinvert.models.latents import LatentEncoder
from skinvert.models.vgg import VGGClassifier


def test_large_kernels_are_those_of_32_pixels():
    kernels = [
        layer.kernel_size[0]
        for layer in VGGClassifier((3, 32, 32), 10, width=4)
        if isinstance(layer, nn.Conv2d)
    ]
    assert kernels == [3, 3, 3, 3, 9, 11]


@pytest.mark.parametrize("side", [8, 13, 28])
def test_classifiers_take_small_images(side):
    net = VGGClassifier((1, side, side), 5, width=2)
    assert net(torch.zeros(2, 1, side, side)).shape == (2, 5)


def test_tiny_images_are_refused():
    with pytest.raises(ValueError, match="8 pixels"):
        VGGClassifier((1, 4, 4), 5)


def test_the_latent_is_what_the_last_convolution_says():
    net = VGGClassifier((1, 28, 28), 10, width=2).eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    expected = nn.Sequential(*list(net)[:-1])(images)
    encoder = LatentEncoder(FrozenClassifier(net, (1, 28, 28)), images)
    assert encoder.n_latents == 18
    torch.testing.assert_close(encoder(images), expected)

"""The coupled network's generator and encoder: the paper's tables, at every size."""

import pytest
import torch
from torch import nn

from skinvert.models.coupled_networks import (
    CoupledDecoder,
    CoupledEncoder,
    CoupledGenerator,
    DenseGenerator,
    LatentWeights,
    table_latents,
)

# Table 2 in its own order: what each convolution has, and the side of its maps at 224 pixels.
TABLE_2 = [
    (512, 2, 9),
    (512, 2, 9),
    (256, 3, 16),
    (256, 3, 16),
    (256, 3, 30),
    (256, 3, 30),
    (128, 3, 58),
    (128, 3, 58),
    (128, 4, 113),
    (128, 4, 113),
]
HEADS = {
    "untrained": [(3, 3, 224)],
    "pretrained": [(64, 3, 224), (64, 3, 224), (3, 3, 224)],
}
SIZES = [8, 28, 32, 64, 224]


def convolutions(network, latents):
    """Channels, kernel and side of the maps of every convolution, in order."""
    found = []
    for layer in network:
        latents = layer(latents)
        if isinstance(layer, nn.Conv2d):
            found.append((layer.out_channels, layer.kernel_size[0], latents.shape[-1]))
    return found


@pytest.mark.parametrize("variant", HEADS)
def test_table_2(variant):
    # Shapes need no numbers, and the meta device computes none.
    with torch.device("meta"):
        if variant == "untrained":
            network = CoupledGenerator((3, 224, 224))
        else:
            network = CoupledDecoder(3200, (3, 224, 224))
        found = convolutions(network, torch.ones(1, 3200))
    assert found == TABLE_2 + HEADS[variant]
    reshape = next(layer for layer in network if isinstance(layer, nn.Unflatten))
    assert reshape.unflattened_size == (128, 5, 5)
    assert sum(isinstance(layer, nn.Upsample) for layer in network) == 6


def test_table_1_counts_the_weights():
    with torch.device("meta"):
        network = CoupledGenerator((3, 224, 224))
    assert sum(weights.numel() for weights in network.parameters()) == 5_240_841
    assert network[0].weight.numel() == table_latents((3, 224, 224), 512) == 3200


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_known_sizes_come_out_uncropped(size, channels):
    shape = (channels, size, size)
    with torch.device("meta"):
        network = CoupledGenerator(shape, width=16)
        latents = torch.ones(2, table_latents(shape, 16))
        assert convolutions(network, latents)[-1] == (channels, 3, size)
        assert network(latents).shape == (2, *shape)
        assert CoupledDecoder(7, shape, width=16)(torch.ones(2, 7)).shape == (2, *shape)


@pytest.mark.parametrize(
    "shape", [(1, 9, 12), (3, 20, 20), (1, 40, 24), (3, 96, 128), (3, 256, 256)]
)
def test_other_sizes_are_cropped(shape):
    with torch.device("meta"):
        network = CoupledGenerator(shape, width=8)
        assert network(torch.ones(1, table_latents(shape, 8))).shape == (1, *shape)
        assert CoupledGenerator(shape, 8, n_latents=5)(torch.ones(1, 5)).shape == (1, *shape)


def test_small_images_have_the_first_blocks_of_the_table():
    with torch.device("meta"):
        network = CoupledGenerator((1, 28, 28), width=512)
        found = convolutions(network, torch.ones(1, 3200))
    assert found == [*TABLE_2[:6], (1, 3, 28)]


def test_the_encoder_has_the_papers_layers():
    with torch.device("meta"):
        encoder = CoupledEncoder((3, 224, 224))
        sides = convolutions(encoder, torch.zeros(2, 3, 224, 224))
        assert encoder(torch.zeros(2, 3, 224, 224)).shape == (2, 3200)
    assert [(channels, side) for channels, _, side in sides] == [
        (32, 222),
        (32, 220),
        (64, 108),
        (64, 106),
        (128, 51),
        (128, 49),
        (256, 22),
        (256, 20),
        (512, 8),
        (512, 6),
    ]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 28), (1, 32, 32), (3, 64, 64)])
def test_encoders_of_small_images_end_in_standardised_codes(shape):
    codes = CoupledEncoder(shape, 5)(torch.rand(30, *shape))
    assert torch.allclose(codes.mean(0), torch.zeros(5), atol=1e-4)
    assert torch.allclose(codes.std(0, correction=0), torch.ones(5), atol=1e-2)


def test_latent_weights_start_as_the_identity():
    latents = torch.rand(4, 6)
    assert torch.equal(LatentWeights(6)(latents), latents)
    assert DenseGenerator(6, 3)(latents).shape == (4, 3)

"""Decoders give what they promise: shapes, the paper's sizes, and the range of the data."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.models.decoders import (
    ConvDecoder,
    DenseDecoder,
    ScaledDecoder,
    VGGDecoder,
    make_decoder,
)
from skinvert.models.vgg import VGGClassifier


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 14), (1, 30, 17)])
def test_small_decoders_fit_any_image(shape):
    images = ConvDecoder(10, shape, width=4)(torch.randn(3, 10))
    assert images.shape == (3, *shape)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize(
    ("side", "n_latents", "n_convolutions"),
    [(28, 1152, 9), (32, 2048, 12), (64, 2048, 15), (128, 2048, 18)],
)
def test_the_paper_classifier_and_decoder_meet(side, n_latents, n_convolutions):
    # The tables' sizes at full width; the networks are only counted, not run.
    with torch.device("meta"):
        classifier = VGGClassifier((3, side, side), 10)
        decoder = VGGDecoder(n_latents, (3, side, side))
    assert classifier[-1].in_features == n_latents
    layers = [layer for layer in decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert len(layers) == n_convolutions
    assert [layer.out_channels for layer in layers] == [512] * 3 + [256] * (n_convolutions - 3)
    assert decoder[0].unflattened_size[0] == 128


@pytest.mark.parametrize(("side", "n_latents"), [(28, 90), (28, 100), (32, 64), (64, 50)])
def test_paper_decoders_take_any_latent(side, n_latents):
    decoder = VGGDecoder(n_latents, (1, side, side), width=2)
    assert decoder(torch.randn(2, n_latents)).shape == (2, 1, side, side)


@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 28, 32)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="28, 32, 64 or 128"):
        VGGDecoder(64, shape)


def test_images_stay_in_the_range_of_the_data():
    decoder, scale = make_decoder(
        "conv", 6, np.zeros((2, 64)), image_shape=(1, 8, 8), value_range=(-3.0, 16.0)
    )
    images = decoder.eval()(100 * torch.randn(50, 6))
    assert scale == 19
    assert images.min() >= -3
    assert images.max() <= 16


def test_the_ends_of_the_range_are_reached_once_trained():
    decoder = ScaledDecoder(nn.Sigmoid(), (3,), offset=2.0, scale=10.0, reaches_ends=True)
    latents = torch.tensor([[-5.0, 0.0, 5.0]])
    np.testing.assert_allclose(decoder.eval()(latents), [[2.0, 7.0, 12.0]])
    assert decoder.train()(latents).min() > 2.0, "the loss keeps its slope"


def test_rows_have_their_own_offset_and_unit():
    rows = np.random.default_rng(0).normal(size=(200, 3)) * [1, 100, 0] + [0, 1000, 7]
    decoder, scale = make_decoder(None, 6, rows.astype(np.float32))
    np.testing.assert_allclose(scale, [rows[:, 0].std(), rows[:, 1].std(), 1], rtol=1e-3)
    decoder.requires_grad_(False)
    nn.init.zeros_(decoder.network[-2].weight)
    nn.init.zeros_(decoder.network[-2].bias)
    np.testing.assert_allclose(decoder(torch.zeros(1, 6))[0], rows.mean(0), rtol=1e-3, atol=1e-3)


def test_the_decoder_for_the_data():
    small = make_decoder(None, 4, np.zeros((2, 49), np.float32), image_shape=(1, 7, 7))[0]
    assert isinstance(small.network, DenseDecoder)
    assert small.eval()(torch.zeros(1, 4)).shape == (1, 1, 7, 7)
    large = make_decoder(None, 4, np.zeros((2, 64), np.float32), image_shape=(1, 8, 8))[0]
    assert isinstance(large.network, ConvDecoder)


def test_the_seed_gives_the_weights(global_rng_untouched):
    with global_rng_untouched():
        first, again = (
            make_decoder(None, 4, np.zeros((2, 3), np.float32), seed=3)[0] for _ in range(2)
        )
    assert torch.equal(first.network[0].weight, again.network[0].weight)


def test_a_module_is_copied():
    module = nn.Linear(4, 3)
    decoder, _ = make_decoder(module, 4, np.zeros((2, 3), np.float32))
    assert decoder.network is not module
    assert torch.equal(decoder(torch.ones(1, 4)), module(torch.ones(1, 4)))


def test_images_are_asked_for():
    with pytest.raises(ValueError, match="set image_shape"):
        make_decoder("conv", 4, np.zeros((2, 13)))


def test_a_sigmoid_cannot_leave_its_range():
    module = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    make_decoder(module, 4, np.zeros((2, 3), np.float32), value_range=(0.0, 1.0))
    with pytest.raises(ValueError, match="values from 0 to 16"):
        make_decoder(module, 4, np.zeros((2, 3), np.float32), value_range=(0.0, 16.0))


def test_both_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(5,\).*\(3,\)"):
        ScaledDecoder(nn.Linear(4, 5), (3,)).check(4)
    with pytest.raises(ValueError, match=r"latents of shape \(n, 6\)"):
        ScaledDecoder(nn.Linear(4, 5), (5,)).check(6)


def test_checking_changes_nothing():
    decoder = ScaledDecoder(ConvDecoder(4, (1, 8, 8), width=4), (1, 8, 8))
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    decoder.check(4)
    assert decoder.training
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())

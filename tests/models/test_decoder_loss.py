"""The loss of decoders is eq. 6, term by term."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.models.adversary import Adversary
from skinvert.models.decoder_loss import DecoderLoss
from skinvert.models.frozen import FrozenClassifier
from skinvert.models.latents import LatentEncoder
from skinvert.models.similarity import structural_similarity


@pytest.fixture
def encoder(net, digits):
    frozen = FrozenClassifier(copy.deepcopy(net), (1, 8, 8))
    return LatentEncoder(frozen, torch.from_numpy(digits[0]))


@pytest.fixture
def data(encoder, digits):
    """Latents, images and columns of 150 rows."""
    X, y = digits[0][:150], digits[1][:150]
    with torch.no_grad():
        latents = encoder(torch.from_numpy(X)).numpy()
    return latents, X.reshape(-1, 1, 8, 8), y.astype(np.int64)


def test_every_term_is_what_it_says(encoder, data):
    latents, images, columns = (torch.from_numpy(value[:9]) for value in data)
    decoded = (images + 0.1 * torch.randn(images.shape)).clamp(0, 1)
    loss = DecoderLoss(
        encoder,
        scale=torch.tensor(2.0),
        mae_weight=3.0,
        ssim_weight=5.0,
        perceptual_weight=7.0,
        class_weight=11.0,
        cycle_weight=13.0,
        layers=("0",),
    )
    total = loss(decoded, images, columns, latents)
    seen, logits, activations = encoder.answers(decoded, ["0"])
    wanted = encoder.answers(images, ["0"])[2]["0"]
    difference = (activations["0"] - wanted).abs().mean() / wanted.abs().mean()
    expected = {
        "mae": (decoded - images).abs().mean() / 2,
        "ssim": 1 - structural_similarity(decoded / 2, images / 2, window=7).mean(),
        "perceptual": difference,
        "cross_entropy": nn.functional.cross_entropy(logits, columns),
        "cycle": (seen - latents).square().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(loss.terms[name], value)
    torch.testing.assert_close(
        total, sum(w * v for w, v in zip((3, 5, 7, 11, 13), expected.values(), strict=True))
    )


def test_a_critic_has_its_say(encoder, data):
    latents, images, columns = (torch.from_numpy(value[:9]) for value in data)
    adversary = Adversary((1, 8, 8))
    loss = DecoderLoss(
        encoder,
        scale=torch.tensor(2.0),
        mae_weight=0.0,
        ssim_weight=0.0,
        adversarial_weight=3.0,
        adversary=adversary,
    )
    before = loss(images, images, columns, latents)
    torch.testing.assert_close(before, 3 * adversary.doubt(images / 2))
    for _ in range(5):
        loss.teach_adversary(1 - images, images)
    assert loss(images, images, columns, latents) < before, "it has seen that these are real"


def test_a_perfect_decoder_has_no_error(encoder, data):
    latents, images, columns = (torch.from_numpy(value) for value in data)
    loss = DecoderLoss(encoder, perceptual_weight=1.0, cycle_weight=1.0, layers=("0",))
    assert float(loss(images, images, columns, latents)) == pytest.approx(0, abs=1e-5)


def test_terms_without_a_weight_are_not_computed(encoder, data):
    latents, images, columns = (torch.from_numpy(value[:5]) for value in data)
    loss = DecoderLoss(encoder, ssim_weight=0.0)
    loss(images, images, columns, latents)
    assert list(loss.terms) == ["mae"]
    loss.factors["mae"] = 0.0
    assert loss(images, images, columns, latents) == 0
    assert not loss.terms


def test_a_network_of_the_users_is_the_perceptual_one(encoder, data):
    latents, images, columns = (torch.from_numpy(value[:5]) for value in data)
    loss = DecoderLoss(
        encoder,
        mae_weight=0.0,
        ssim_weight=0.0,
        perceptual_weight=1.0,
        perceptual_network=nn.AvgPool2d(8),
    )
    value = loss(images.roll(1, dims=3), images, columns, latents)
    assert float(value) == pytest.approx(0, abs=1e-6), "means do not see a shift"


def test_training_the_decoder_trains_no_judge(encoder):
    loss = DecoderLoss(encoder, perceptual_network=nn.BatchNorm2d(1))
    loss.train()
    assert not any(module.training for module in loss.modules())

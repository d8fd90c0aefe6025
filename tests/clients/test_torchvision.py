"""A network of torchvision, with the normalisation that its weights bring."""

import numpy as np
import pytest
import torch
from torchvision import models
from torchvision.transforms import v2

from skinvert import InputOptimizationGenerator, ReGene

WEIGHTS = models.MobileNet_V3_Small_Weights.DEFAULT
PRESET = WEIGHTS.transforms()
NAMES = ["tench", "goldfish", "shark"]


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.mobilenet_v3_small(weights=None, num_classes=3).eval()


@pytest.fixture(scope="module")
def photographs():
    """Noise (9, 3, 32, 32) in [0, 1], three of each name."""
    images = np.random.default_rng(0).uniform(size=(9, 3, 32, 32)).astype(np.float32)
    return images, np.repeat(NAMES, 3)


def make(network, normalize):
    return InputOptimizationGenerator(
        network,
        classes=NAMES,
        normalize=normalize,
        prior=None,
        init="noise",
        n_steps=2,
        random_state=0,
        device="cpu",
    )


def test_the_preset_of_the_weights_is_a_normalisation(network, photographs):
    images, _ = photographs
    generator = make(network, PRESET).fit(*photographs)
    expected = network(v2.functional.normalize(torch.from_numpy(images), PRESET.mean, PRESET.std))
    found = generator.classifier_(torch.from_numpy(images))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-3, atol=1e-4)


def test_the_preset_and_its_numbers_give_the_same_images(network, photographs):
    first, second = (
        make(network, normalize).fit(*photographs).generate(["shark", "tench"])
        for normalize in (PRESET, (PRESET.mean, PRESET.std))
    )
    np.testing.assert_array_equal(first, second)
    assert first.shape == (2, 3, 32, 32)


def test_a_normalising_transform_is_taken_as_well(network, photographs):
    transform = v2.Normalize(mean=PRESET.mean, std=PRESET.std)
    generator = make(network, transform).fit(*photographs)
    np.testing.assert_allclose(generator.classifier_.std.ravel(), PRESET.std, rtol=1e-6)


@pytest.mark.parametrize("estimator", [InputOptimizationGenerator, ReGene])
def test_other_transforms_are_no_normalisation(estimator, network, photographs):
    with pytest.raises(ValueError, match="has no mean and std"):
        estimator(network, classes=NAMES, normalize=v2.RandomHorizontalFlip(), device="cpu").fit(
            *photographs
        )


def test_the_categories_of_the_weights_name_the_classes():
    assert WEIGHTS.meta["categories"][1] == "goldfish", "what classes= is given in the README"

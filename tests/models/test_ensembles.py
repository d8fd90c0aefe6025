"""Several classifiers as one: the mean of their logits, and nobody's module touched."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert import InputOptimizationGenerator
from skinvert.models.ensembles import ClassifierEnsemble


@pytest.fixture
def nets():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(3)]


IMAGES = torch.rand(5, 1, 8, 8)


def test_logits_are_averaged(nets):
    alone = torch.stack([net(IMAGES) for net in nets])
    torch.testing.assert_close(ClassifierEnsemble(nets)(IMAGES), alone.mean(0))
    weighted = ClassifierEnsemble(nets, weights=[2, 0, 6])(IMAGES)
    torch.testing.assert_close(weighted, 0.25 * alone[0] + 0.75 * alone[2])


def test_members_see_their_own_size():
    seen = []

    class Looking(nn.Module):
        def forward(self, images):
            seen.append(tuple(images.shape[2:]))
            return images.mean((1, 2, 3))[:, None].expand(-1, 2)

    ClassifierEnsemble([Looking(), Looking()], sizes=[None, 12])(IMAGES)
    assert seen == [(8, 8), (12, 12)]


def test_members_are_copies(nets):
    nets[0].train()
    ensemble = ClassifierEnsemble(nets)
    assert nets[0].training
    assert not ensemble.networks[0].training
    before = ensemble(IMAGES)
    with torch.no_grad():
        nets[0][1].weight.zero_()
    assert torch.equal(ensemble(IMAGES), before)


def test_any_estimator_takes_one(nets, digits):
    generator = InputOptimizationGenerator(ClassifierEnsemble(nets), random_state=0, device="cpu")
    images = generator.fit(*digits).generate([1, 2])
    assert images.shape == (2, 64)
    assert np.isfinite(images).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"networks": []}, ValueError, "at least one network"),
        ({"networks": ["net"]}, TypeError, "torch modules"),
        ({"weights": [1.0]}, ValueError, "3 networks, 1 weights"),
        ({"weights": [1, 1, -1]}, ValueError, "non-negative"),
        ({"weights": [0, 0, 0]}, ValueError, "not all zero"),
        ({"sizes": [8]}, ValueError, "1 sizes"),
    ],
)
def test_bad_input(nets, arguments, error, words):
    with pytest.raises(error, match=words):
        ClassifierEnsemble(**({"networks": nets} | arguments))


def test_members_of_different_classes_are_refused(nets):
    odd = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
    with pytest.raises(ValueError, match="expected one shape"):
        ClassifierEnsemble([nets[0], odd])(IMAGES)

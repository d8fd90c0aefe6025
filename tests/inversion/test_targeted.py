"""Each image is asked what its row of the request asks, whichever slot it sits in."""

import copy

import pytest
import torch
from torch import nn

from skinvert import Target
from skinvert.inversion.objectives import CrossEntropy, TotalVariation, as_objective
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.targeted import TargetedObjective
from skinvert.inversion.transforms import RandomHorizontalFlip
from skinvert.models.frozen import FrozenClassifier

EXAMPLE = torch.zeros(1, 1, 8, 8)

START = torch.zeros(4, dtype=torch.long)  # no row has taken a step


@pytest.fixture
def frozen(net):
    return FrozenClassifier(copy.deepcopy(net), (1, 8, 8))


@pytest.fixture
def images():
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_rows_keep_their_wishes_in_any_slot(frozen, images):
    ask = TargetedObjective(as_objective("logit"), frozen, Target([7, 1, 4]), example=EXAMPLE)
    rows = torch.tensor([2, 0, 1, 0])
    expected = -frozen(images)[range(4), [4, 7, 1, 7]]
    torch.testing.assert_close(ask(images, rows, START, None)["logit"], expected)


def test_mixtures_are_weighted(frozen, images):
    target = Target([{3: 3.0, 5: 1.0}])
    ask = TargetedObjective(as_objective("logit"), frozen, target, example=EXAMPLE)
    logits = frozen(images)
    expected = -(0.75 * logits[:, 3] + 0.25 * logits[:, 5])
    torch.testing.assert_close(
        ask(images, torch.zeros(4, dtype=torch.long), START, None)["logit"], expected
    )


def test_targets_of_a_layer_excite_its_channels(frozen, images):
    objective = CrossEntropy(2.0) + TotalVariation(0.5)
    target = Target([3, [0, 1]], layer="2")
    ask = TargetedObjective(objective, frozen, target, example=EXAMPLE)
    values = ask(images[:2], torch.arange(2), START[:2], None)
    assert list(values) == ["activation", "total_variation"]
    with torch.no_grad():
        maps = frozen.network[:3](images[:2]).mean((2, 3))
    expected = -2 * torch.stack([maps[0, 3], (maps[1, 0] + maps[1, 1]) / 2])
    torch.testing.assert_close(values["activation"], expected)


def test_targets_of_one_neuron(frozen, images):
    target = Target([3], layer="2", position=(5, 6))
    ask = TargetedObjective(as_objective("logit"), frozen, target, example=EXAMPLE)
    with torch.no_grad():
        maps = frozen.network[:3](images[:1])
    value = ask(images[:1], torch.zeros(1, dtype=torch.long), START[:1], None)["activation"]
    torch.testing.assert_close(value, -maps[:, 3, 5, 6])


def test_dense_layers_have_units_too(frozen, images):
    ask = TargetedObjective(
        as_objective("logit"), frozen, Target([100], layer="4"), example=EXAMPLE
    )
    with torch.no_grad():
        units = frozen.network[:5](images)
    value = ask(images, torch.zeros(4, dtype=torch.long), START, None)["activation"]
    torch.testing.assert_close(value, -units[:, 100])


def test_only_the_classifier_sees_the_views(frozen, images):
    ask = TargetedObjective(
        as_objective("logit") + TotalVariation(),
        frozen,
        Target([2] * 4),
        example=EXAMPLE,
        stages=[[RandomHorizontalFlip(p=1.0)]],
    )
    values = ask(images, torch.arange(4), START, RowNoise(range(4)))
    torch.testing.assert_close(values["logit"], -frozen(images.flip(3))[:, 2])
    torch.testing.assert_close(values["total_variation"], TotalVariation()(images, None))


def test_no_hook_outlives_a_call(frozen, images):
    ask = TargetedObjective(as_objective("logit"), frozen, Target([3], layer="2"), example=EXAMPLE)
    ask(images[:1], torch.zeros(1, dtype=torch.long), START[:1], None)
    assert not any(layer._forward_hooks for layer in frozen.modules())


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (Target([10]), "unit 10, but the classifier has 10 units"),
        (Target([8], layer="2"), "unit 8, but layer '2' has 8 units"),
        (Target([0], layer="conv1"), "no layer named 'conv1'"),
        (Target([0], layer="2", position=(8, 0)), r"position=\(8, 0\).*\(8, 8\)"),
        (Target([0], layer="2", position=(-1, 0)), "position"),
        (Target([0], layer="2", position=(1,)), "position"),
        (Target([0], layer="4", position=(0,)), "position"),
    ],
)
def test_targets_that_do_not_exist_are_refused(frozen, target, complaint):
    with pytest.raises(ValueError, match=complaint):
        TargetedObjective(as_objective("logit"), frozen, target, example=EXAMPLE)


def test_slopes_reach_the_images(assert_slope, images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 5))
    frozen = FrozenClassifier(module.double(), (1, 6, 6))
    target = Target([1, {2: 1.0, 4: 2.0}])
    ask = TargetedObjective(
        CrossEntropy() + TotalVariation(0.3), frozen, target, example=EXAMPLE[..., :6, :6].double()
    )
    ask.weights = ask.weights.double()
    assert_slope(
        lambda at: sum(ask(at, torch.arange(2), START[:2], None).values()),
        images[:2, :, :6, :6].double(),
    )

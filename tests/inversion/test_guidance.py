"""Feature matching: its slope, its references; and which layers are picked in which network."""

import pytest
import torch
from torch import nn

from skinvert.inversion.features import record_activations
from skinvert.inversion.guidance import FeatureMatching, attribution_layer, pick_layers
from skinvert.inversion.objectives import State
from skinvert.inversion.statistics import channel_statistics
from skinvert.models.classifiers import ConvClassifier, DenseClassifier
from skinvert.models.frozen import FrozenClassifier


def frozen(net, shape):
    return FrozenClassifier(net.eval(), shape)


@pytest.fixture
def smooth():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 3, padding=1), nn.Tanh()
        ).double()


def matching(net, references, layers, weight=5.0):
    with torch.no_grad(), record_activations(net, layers) as activations:
        net(references)
    return FeatureMatching(weight, {name: channel_statistics(activations[name]) for name in layers})


def value(term, net, images, rows):
    with record_activations(net, term.layers) as activations:
        net(images)
    return term(images, State(None, None, dict(activations), rows=rows))


def test_the_slope_of_eq_5_is_that_of_differences(smooth, assert_slope):
    generator = torch.Generator().manual_seed(0)
    images, references = torch.rand(2, 1, 1, 5, 5, dtype=torch.float64, generator=generator)
    term = matching(smooth, references, ["1", "3"])
    assert_slope(lambda x: value(term, smooth, x, torch.tensor([0])), images)


def test_it_is_the_sum_of_norms_of_eq_5(smooth):
    images, references = torch.rand(2, 2, 1, 5, 5, dtype=torch.float64)
    expected = 0
    for depth in (2, 4):
        maps, asked = smooth[:depth](images), smooth[:depth](references)
        expected = expected + (maps.mean((2, 3)) - asked.mean((2, 3))).norm(dim=1)
        gap = maps.std((2, 3), correction=0) - asked.std((2, 3), correction=0)
        expected = expected + gap.norm(dim=1)
    term = matching(smooth, references, ["1", "3"])
    torch.testing.assert_close(value(term, smooth, images, torch.arange(2)), expected)


def test_a_shifted_reference_hardly_differs_and_itself_not_at_all(smooth):
    references = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    references[..., 2:5, 2:5] = 1
    term, row = matching(smooth, references, ["1", "3"]), torch.tensor([0])
    assert value(term, smooth, references, row) < 1e-5
    moved = value(term, smooth, references.roll((2, 2), (2, 3)), row)
    other = value(term, smooth, 1 - references, row)
    assert moved < 0.05 * other


def test_each_row_has_its_own_reference(smooth):
    references = torch.rand(3, 1, 5, 5, dtype=torch.float64)
    term = matching(smooth, references, ["1"])
    assert (value(term, smooth, references, torch.arange(3)) < 1e-5).all()
    assert (value(term, smooth, references, torch.tensor([1, 2, 0])) > 1e-2).all()


class Bottleneck(nn.Sequential):
    """Its first layer has the resolution of the block before."""

    def __init__(self, n_in, n_out, stride):
        super().__init__(
            nn.Conv2d(n_in, n_out, 1), nn.Conv2d(n_out, n_out, 3, stride=stride, padding=1)
        )


def residual(n_stages):
    stages = [Bottleneck(4, 4, 1), *[Bottleneck(4, 4, 2) for _ in range(n_stages - 1)]]
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), *stages,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip


def test_of_five_resolutions_the_deepest_is_left_out():
    # As in a ResNet-50: conv1 after its rectifier, then the last block of three stages.
    net = frozen(residual(4), (3, 64, 64))
    assert pick_layers(net, torch.rand(1, 3, 64, 64)) == ["1", "3", "4", "5"]
    assert attribution_layer(net, torch.rand(1, 3, 64, 64)) == "6"


def test_resnet50_has_the_layers_of_the_paper():
    models = pytest.importorskip("torchvision.models")
    net = models.resnet50(weights=None).eval()
    picked = pick_layers(frozen(net, (3, 64, 64)), torch.rand(1, 3, 64, 64))
    modules = dict(net.named_modules())
    # conv1_1 is rectified; conv2_3, conv3_4 and conv4_6 are the last blocks of three stages.
    assert picked == ["relu", "layer1", "layer2", "layer3"]
    assert [len(modules[name]) for name in picked[1:]] == [3, 4, 6]


def test_of_six_resolutions_four_are_spread():
    net = frozen(residual(5), (3, 128, 128))
    picked = pick_layers(net, torch.rand(1, 3, 128, 128))
    assert len(picked) == 4
    assert picked[0] == "1"
    assert picked[-1] == "6"


def test_dense_layers_fill_up_and_flattened_maps_do_not():
    net = frozen(ConvClassifier((1, 28, 28), 10), (1, 28, 28))
    picked = pick_layers(net, torch.rand(1, 1, 28, 28))
    assert picked == ["2", "5", "6", "9"]
    assert attribution_layer(net, torch.rand(1, 1, 28, 28)) == "6"


def test_maps_of_one_resolution_are_spread_by_depth():
    layers = [nn.Conv2d(1 if k == 0 else 3, 3, 3, padding=1) for k in range(9)]
    net = frozen(nn.Sequential(*layers, nn.Flatten(), nn.Linear(192, 4)), (1, 8, 8))
    picked = [int(name) for name in pick_layers(net, torch.rand(1, 1, 8, 8))]
    assert len(picked) == 4
    assert picked == sorted(picked)
    assert picked[-1] == 8
    assert picked[0] <= 3


def test_padding_is_no_layer():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ZeroPad2d(3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(288, 3)
    )
    assert "1" not in pick_layers(frozen(net, (1, 10, 10)), torch.rand(1, 1, 10, 10))


def test_no_hook_is_left():
    net = frozen(ConvClassifier((1, 28, 28), 10), (1, 28, 28))
    pick_layers(net, torch.rand(1, 1, 28, 28))
    assert not any(layer._forward_hooks for layer in net.modules())


def test_networks_without_maps_are_refused_unless_dense_ones_will_do():
    net, example = frozen(DenseClassifier(12, 3), (12,)), torch.rand(1, 1, 1, 12)
    with pytest.raises(ValueError, match="no layer with maps"):
        pick_layers(net, example)
    assert pick_layers(net, example, dense=True) == ["3", "4"]
    assert attribution_layer(net, example) is None

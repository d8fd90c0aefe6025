"""Watching: the moments of the whole network's features and their slopes, however it is built."""

import pytest
import torch
from torch import nn

from skinvert.inversion.statistics import channel_moments, record_features
from skinvert.inversion.watching import WatchedClassifier
from skinvert.models.frozen import FrozenClassifier

SHAPE = (2, 8, 8)


class Bottleneck(nn.Module):
    """As torchvision's: rectifiers in place, a sum in place."""

    def __init__(self, rectifier=nn.ReLU):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.relu = rectifier(inplace=True)

    def forward(self, maps):
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.bn2(self.conv2(out))
        out += maps
        return self.relu(out)


def head():
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 5))


NETS = {
    "in place": lambda: nn.Sequential(Bottleneck(), Bottleneck(), head()),
    "relu6": lambda: nn.Sequential(Bottleneck(nn.ReLU6), head()),
    "silu": lambda: nn.Sequential(Bottleneck(nn.SiLU), head()),
    "not rectified": lambda: nn.Sequential(Bottleneck(nn.Hardswish), head()),
    "norms first": lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1), head()),
    "one rectifier in two places": lambda: shared_rectifier(),
}


def shared_rectifier():
    relu = nn.ReLU()
    parts = [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), relu]
    more = [nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), relu]
    return nn.Sequential(nn.Sequential(*parts), nn.Sequential(*more), head())


def frozen_net(name):
    torch.manual_seed(0)
    net = NETS[name]()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return FrozenClassifier(net.double(), SHAPE).double()


def norms_of(frozen):
    return [n for n, m in frozen.network.named_modules() if isinstance(m, nn.BatchNorm2d)]


def plainly(frozen, images, layers, group_size):
    """Logits and moments by hooks on the whole network."""
    for module in frozen.network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    with record_features(frozen.network, layers) as features:
        logits = frozen.answer(frozen.network, images)
    return logits, {layer: channel_moments(features[layer], group_size) for layer in layers}


def value_of(logits, moments):
    """A number that depends on all of it."""
    parts = [part for layer in moments for part in moments[layer] if part is not None]
    return logits.sin().sum() + sum(
        (k + 1) * (part + k).sin().sum() for k, part in enumerate(parts)
    )


@pytest.mark.parametrize("group_size", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_moments_and_slopes_are_those_of_the_whole_network(name, group_size):
    frozen = frozen_net(name)
    layers = norms_of(frozen)
    images = torch.randn(4, *SHAPE, dtype=torch.float64, requires_grad=True)
    watched = WatchedClassifier(frozen, layers, group_size=group_size)
    logits, _, moments = watched(images)
    (slope,) = torch.autograd.grad(value_of(logits, {n: moments[n] for n in layers}), images)
    whole_logits, whole = plainly(frozen, images, layers, group_size)
    (whole_slope,) = torch.autograd.grad(value_of(whole_logits, whole), images)
    torch.testing.assert_close(logits, whole_logits, rtol=1e-8, atol=1e-8)
    for layer in layers:
        for here, there in zip(moments[layer], whole[layer], strict=True):
            torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(slope, whole_slope, rtol=1e-8, atol=1e-8)


def test_large_maps_have_the_same_slopes():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 64, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    frozen = FrozenClassifier(nn.Sequential(*net, nn.Flatten()).double(), (1, 40, 40)).double()
    images = torch.randn(2, 1, 40, 40, dtype=torch.float64, requires_grad=True)
    logits, _, moments = WatchedClassifier(frozen, ["1"])(images)
    (slope,) = torch.autograd.grad(value_of(logits, moments), images)
    (whole,) = torch.autograd.grad(value_of(*plainly(frozen, images, ["1"], 1)), images)
    torch.testing.assert_close(slope, whole, rtol=1e-8, atol=1e-8)


def test_channels_that_a_norm_silences_keep_their_moments():
    frozen = frozen_net("in place")
    with torch.no_grad():
        frozen.network[0].bn1.weight[1] = 0.0
        frozen.network[1].bn2.weight[0] = 1e-9
    images = torch.randn(3, *SHAPE, dtype=torch.float64)
    layers = norms_of(frozen)
    moments = WatchedClassifier(frozen, layers)(images)[2]
    whole = plainly(frozen, images, layers, 1)[1]
    for layer in layers:
        torch.testing.assert_close(moments[layer], whole[layer], rtol=1e-8, atol=1e-8)


def test_other_layers_are_watched_at_their_outputs():
    frozen = frozen_net("in place")
    images = torch.randn(3, *SHAPE, dtype=torch.float64)
    layers = ["0.conv1", "1", "2.1"]
    moments = WatchedClassifier(frozen, layers)(images)[2]
    whole = plainly(frozen, images, layers, 1)[1]
    for layer in layers[:2]:
        torch.testing.assert_close(moments[layer], whole[layer], rtol=1e-8, atol=1e-8)
    # One value an image has no variance.
    torch.testing.assert_close(moments["2.1"][0], whole["2.1"][0], rtol=1e-8, atol=1e-8)
    assert moments["2.1"][1] is None


@pytest.mark.parametrize("layer", ["0.conv1", "0.bn1", "0"])
def test_activations_are_the_whole_networks(layer):
    frozen = frozen_net("in place")
    images = torch.randn(3, *SHAPE, dtype=torch.float64)
    watched = WatchedClassifier(frozen, norms_of(frozen), activations=[layer])
    _, activations, _ = watched(images)
    # What is recorded of the whole network must not be written over by the rectifier after it.
    plainly(frozen, images, [], 1)
    expected = frozen.with_activations(images, [layer])[1]
    torch.testing.assert_close(activations[layer], expected[layer], rtol=1e-8, atol=1e-8)


def test_a_network_that_goes_another_way_tells_all_the_same():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.relu = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU()

        def forward(self, images):
            maps = self.norm(self.conv(images))
            return (self.relu(maps) if images.sum() > 0 else maps.abs()).mean((2, 3))

    torch.manual_seed(0)
    frozen = FrozenClassifier(Moody().double(), SHAPE).double()
    images = -torch.rand(2, *SHAPE, dtype=torch.float64)
    moments = WatchedClassifier(frozen, ["norm"])(images)[2]
    whole = plainly(frozen, images, ["norm"], 1)[1]
    torch.testing.assert_close(moments["norm"], whole["norm"], rtol=1e-8, atol=1e-8)


def test_nothing_is_left_on_the_classifier():
    frozen = frozen_net("in place")
    WatchedClassifier(frozen, norms_of(frozen))(torch.zeros(1, *SHAPE, dtype=torch.float64))
    for module in [*frozen.network.modules(), *frozen.folding().network.modules()]:
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)
    assert frozen.network[0].relu.inplace


def test_unknown_layers_are_named_with_near_ones():
    with pytest.raises(ValueError, match="no layer named 'bn1'; near names"):
        WatchedClassifier(frozen_net("in place"), ["bn1"])

"""Folding: the same answers without normalisations, whatever the network does with its parts."""

import pytest
import torch
from torch import nn

from skinvert.models.norm_folding import fold_norms, shared_modules, slope_and_shift


def remembering(net):
    """The network, its norms with memories and scales of all kinds."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                norm.running_mean.normal_(generator=generator)
                norm.running_var.uniform_(0.1, 3, generator=generator)
                if norm.affine:
                    norm.weight.normal_(generator=generator)
                    norm.bias.normal_(generator=generator)
    return net.double().eval().requires_grad_(False)


def chain():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.BatchNorm2d(8, affine=False),
    )


class OwnConv(nn.Conv2d):
    def forward(self, maps):
        if float(maps.sum()) > 1e9:  # no tracer follows this
            return maps
        return super().forward(nn.functional.pad(maps, (1, 1, 1, 1)))


class Residual(nn.Module):
    def __init__(self, listens):
        super().__init__()
        self.conv, self.norm = OwnConv(3, 3, 3), nn.BatchNorm2d(3)
        self.listens = listens

    def forward(self, maps):
        raw = self.conv(maps)
        out = self.norm(raw)
        out += raw if self.listens else maps
        return out


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = (
            nn.Conv2d(3, 3, 1),
            nn.BatchNorm2d(3),
            nn.BatchNorm2d(3),
        )

    def forward(self, maps):
        return self.second(self.conv(self.first(self.conv(maps))))


EXAMPLE = torch.rand(1, 3, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "folded"),
    [
        (chain, {"1", "4"}),
        (lambda: nn.Sequential(Residual(False), Residual(False)), {"0.norm", "1.norm"}),
        (lambda: Residual(True), set()),  # the convolution's own output is used, too
        (Twice, set()),
        (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)), set()),
        (lambda: nn.Sequential(nn.ConvTranspose2d(3, 3, 3), nn.BatchNorm2d(3)), set()),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)),
            set(),
        ),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 1)), set()),
    ],
)
def test_answers_stay(make, folded):
    net = remembering(make())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folding = fold_norms(net, EXAMPLE)
    assert set(folding.norms) == folded
    images = torch.randn(4, 3, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(folding.network(images), net(images), rtol=1e-10, atol=1e-10)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    for module in [*net.modules(), *folding.network.modules()]:
        assert not module._forward_hooks


def test_names_stay_and_what_changed_is_said():
    net = remembering(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1)), nn.BatchNorm2d(2), nn.ReLU())
    )
    folding = fold_norms(net, EXAMPLE)
    assert [n for n, _ in folding.network.named_modules()] == [n for n, _ in net.named_modules()]
    assert folding.changed == {"0", "0.0"}


def test_norms_can_be_kept():
    net = remembering(chain())
    folding = fold_norms(net, EXAMPLE, kept=["1"])
    assert set(folding.norms) == {"4"}
    assert isinstance(folding.network[1], nn.BatchNorm2d)


def test_an_example_that_the_network_does_not_take_folds_nothing():
    net = remembering(chain())
    assert fold_norms(net, EXAMPLE[:, :2]).network is net


def test_the_tensors_are_shared():
    net = remembering(chain())
    copied = shared_modules(net)
    assert copied[0] is not net[0]
    assert copied[0].weight is net[0].weight


def test_slope_and_shift_are_the_norm():
    norm = remembering(nn.Sequential(nn.BatchNorm2d(3)))[0]
    slope, shift = slope_and_shift(norm)
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    expected = slope[:, None, None] * images + shift[:, None, None]
    torch.testing.assert_close(norm(images), expected)

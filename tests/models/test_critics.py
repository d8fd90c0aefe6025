"""Patch critics: the architecture, rows that share nothing, and the loss that they learn from."""

import pytest
import torch
from torch import nn

from skinvert.inversion.loop import Problem, optimize
from skinvert.inversion.optimizers import Adam, Intermittent
from skinvert.inversion.randomness import RowNoise
from skinvert.models.critics import PatchCritic, draw_windows, window_of


@pytest.fixture
def critic():
    return PatchCritic(2, width=4)


@pytest.fixture
def weights(critic):
    return critic.start(RowNoise([5, 6, 7]))


@pytest.fixture
def images():
    return torch.rand(3, 2, 14, 13, generator=torch.Generator().manual_seed(0))


def as_module(critic, weights, row):
    """SinGAN's critic of one row in torch's own layers."""
    layers = []
    for place in range(0, len(weights), 4):
        given, taken = critic.shapes[place][:2]
        layers.append(nn.Conv2d(taken, given, 3))
        if place + 2 < len(weights):
            layers += [nn.BatchNorm2d(given), nn.LeakyReLU(0.2)]
    net = nn.Sequential(*layers).train()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), weights, strict=True):
            parameter.copy_(value[row])
    return net


def test_each_row_is_singans_critic_of_its_own(critic, weights, images):
    scores = critic(images, weights)
    for row in range(3):
        alone = as_module(critic, weights, row)(images[row : row + 1]).mean()
        torch.testing.assert_close(scores[row], alone)


def test_a_score_is_that_of_a_patch_of_eleven_pixels(critic, weights):
    assert PatchCritic.receptive_field == 11
    assert critic(torch.rand(3, 2, 11, 11), weights).shape == (3,)
    with pytest.raises(RuntimeError):
        critic(torch.rand(3, 2, 10, 11), weights)


def test_rows_share_nothing(critic, weights, images):
    def slopes(pictures):
        held = [weight.clone().requires_grad_() for weight in weights]
        loss = critic.loss(pictures, pictures.flip(2), held, torch.full((3,), 0.3))
        return [slope[0] for slope in torch.autograd.grad(loss.sum(), held)], loss[0]

    others = images.clone()
    others[1:] = torch.rand(2, 2, 14, 13)
    for mine, after in zip(*(slopes(pictures)[0] for pictures in (images, others)), strict=True):
        assert torch.equal(mine, after)


def test_starts_belong_to_their_seed(critic):
    (together, alone) = critic.start(RowNoise([1, 2])), critic.start(RowNoise([2]))
    for both, one in zip(together, alone, strict=True):
        assert torch.equal(both[1:], one)


def test_the_slope_of_eq_8_is_that_of_differences(critic, images, assert_slope):
    weights = [weight.double()[:1] for weight in critic.start(RowNoise([3]))]
    # Filters of unit size: at N(0, 0.02²) all slopes are tiny.
    weights = [50 * w if w.ndim == 5 else w for w in weights]
    small = images[:1, :, :11, :12]
    assert_slope(lambda pictures: -critic(pictures, weights), small, rtol=1e-4)


def test_the_slope_of_wgan_gp_is_that_of_differences(critic, images):
    weights = [weight.double() for weight in critic.start(RowNoise([3]))]
    weights[0] = 20 * weights[0]
    fake, real, mixing = images[:1].double(), images[1:2].double(), torch.tensor([0.4]).double()

    def loss(scales):
        return critic.loss(fake, real, [*weights[:2], scales, *weights[3:]], mixing).sum()

    at = weights[2].clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(at), at)
    for place in range(4):
        step = torch.zeros_like(at)
        step[0, place] = 1e-5
        around = loss(at.detach() + step) - loss(at.detach() - step)
        torch.testing.assert_close(slope[0, place], around.detach() / 2e-5, rtol=1e-3, atol=1e-7)


def test_no_gradient_reaches_the_pictures_from_the_loss(critic, weights, images):
    pictures = images.clone().requires_grad_()
    held = [weight.requires_grad_() for weight in weights]
    loss = critic.loss(pictures, images.flip(3), held, torch.rand(3)).sum()
    assert torch.autograd.grad(loss, pictures, allow_unused=True) == (None,)


def test_training_in_the_loop_tells_the_pictures_apart(critic):
    stripes = torch.arange(14.0).remainder(2).expand(1, 2, 14, 14)
    noise_picture = torch.rand(1, 2, 14, 14, generator=torch.Generator().manual_seed(1))
    problem = Problem(
        start=lambda row, noise: critic.start(noise),
        objective=lambda weights, rows, steps, noise: {
            "critic": critic.loss(
                noise_picture.expand(2, -1, -1, -1),
                stripes.expand(2, -1, -1, -1),
                weights,
                noise.uniform(),
            )
        },
        render=lambda weights: (
            critic(stripes.expand(2, -1, -1, -1), weights)
            - critic(noise_picture.expand(2, -1, -1, -1), weights)
        ),
    )
    result = optimize(problem, [0, 1], batch_size=2, n_steps=40, optimizer=Adam(5e-3))
    assert (result.images > 0.1).all(), "the reference's patches have the higher score"


def test_an_intermittent_rule_is_its_rule_at_the_due_steps():
    rule, late = Adam(0.1), Intermittent(Adam(0.1), first=2, interval=3)
    gradients = torch.randn(9, 1, 4, generator=torch.Generator().manual_seed(0))
    plain, held = torch.zeros(1, 4), torch.zeros(1, 4)
    buffers, kept = [torch.zeros(1, 4), torch.zeros(1, 4)], [torch.zeros(1, 4), torch.zeros(1, 4)]
    for update, step in enumerate((3, 6, 9), start=1):
        rule.update(plain, gradients[step - 1], buffers, rule.factors(torch.tensor([update])), None)
    for step in range(1, 10):
        late.update(held, gradients[step - 1], kept, late.factors(torch.tensor([step])), None)
    assert torch.equal(plain, held)
    assert late.is_due(torch.arange(9)).tolist() == [s in (2, 5, 8) for s in range(9)]


def test_windows_lie_inside(images):
    noise = RowNoise(range(200))
    corners = draw_windows(noise, (14, 13), 11)
    assert corners.min() == 0
    assert corners.max(0).values.tolist() == [3, 2]
    seen = window_of(images, corners[:3], 11)
    top, left = corners[1].tolist()
    assert torch.equal(seen[1], images[1, :, top : top + 11, left : left + 11])


def test_large_windows_are_the_picture(images):
    assert torch.equal(
        window_of(images, draw_windows(RowNoise([1, 2, 3]), (14, 13), 64), 64), images
    )

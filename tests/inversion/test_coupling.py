"""What is free in a coupled network: starts, disturbances, snapshots, penalties."""

import numpy as np
import pytest
import torch

from skinvert import Target
from skinvert.inversion.coupling import FreeCoefficients, FreeGenerators, started_alive
from skinvert.inversion.evidence import TargetEvidence
from skinvert.inversion.objectives import as_objective
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.targeted import TargetedObjective
from skinvert.models.coupled_networks import CoupledGenerator, table_latents
from skinvert.models.frozen import FrozenClassifier
from skinvert.models.rowwise import RowwiseNetwork

SHAPE, WIDTH = (1, 8, 8), 8
CODES = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
    [[2.0, 1.0, 0, 0], [0, 1.0, 0, 0], [0, 0, 3.0, 3.0], [0, 0, 0, 0.5]]
) + torch.tensor([1.0, 2.0, 3.0, 4.0])


def generators(**arguments):
    network = RowwiseNetwork(CoupledGenerator(SHAPE, WIDTH), SHAPE)
    return FreeGenerators(network, table_latents(SHAPE, WIDTH), torch.sigmoid, **arguments)


def coefficients(network=None, codes=CODES, **arguments):
    network = network or (lambda latents: latents.reshape(-1, 1, 2, 2))
    return FreeCoefficients(network, codes, (1, 2, 2), **arguments)


def test_noise_is_added_to_ones_and_off_in_the_picture():
    free = generators(noise_scale=0.0)
    params = free.start(RowNoise([0, 1]))
    shown = free.shown(params, torch.zeros(2), RowNoise([3, 4]))
    assert torch.equal(shown, free.render(params))
    noisy = generators(noise_scale=2.0)
    first = noisy.shown(params, torch.zeros(2), RowNoise([3, 4]))
    assert not torch.equal(first, shown)
    assert torch.equal(first[1:], noisy.shown(params, torch.zeros(2), RowNoise([3, 4]))[1:])


def test_running_statistics_follow_what_is_shown():
    free = generators(running_statistics=True, noise_scale=0.5)
    params, noise = free.start(RowNoise([0, 1])), RowNoise([0, 1])
    for _ in range(600):
        free.shown(params, torch.zeros(2), noise)
    # Noise widens the maps, so that without it the picture is a narrower one.
    assert not torch.allclose(free.render(params), free.undisturbed(params), atol=1e-3)
    still = generators(running_statistics=True, noise_scale=0.0)
    params = still.start(RowNoise([0, 1]))
    for _ in range(1500):
        still.shown(params, torch.zeros(2), noise)
    torch.testing.assert_close(
        still.render(params), still.undisturbed(params), atol=0.02, rtol=0.02
    )


def test_penalties_are_those_of_the_paper():
    free = generators()
    params = list(free.start(RowNoise([0, 1])))
    params[free.network.scale_place] = torch.tensor([[-3.0], [2.0]])
    assert free.penalty(params).tolist() == [3.0, 2.0]
    assert coefficients().penalty((torch.tensor([[3.0, 4.0, 0, 0]]),)).tolist() == [5.0]


def test_starts_have_the_covariance_of_the_codes():
    free = coefficients(init_scale=0.5)
    starts = torch.cat([free.start(RowNoise([seed]))[0] for seed in range(3000)])
    expected = 0.25 * np.corrcoef(CODES.numpy().T)  # in units of the codes' spread
    np.testing.assert_allclose(np.cov(starts.numpy().T), expected, atol=0.03)
    assert not coefficients(init_scale=0.0).start(RowNoise([0]))[0].any()


def test_zero_is_the_mean_code():
    images = coefficients().undisturbed((torch.zeros(1, 4),))
    torch.testing.assert_close(images.ravel(), CODES.mean(0))


def test_latents_without_codes_are_standard_normal():
    free = coefficients(codes=torch.zeros(0, 4))
    (start, _) = free.start(RowNoise([0, 1]))
    assert torch.equal(start, RowNoise([0, 1]).normal(4))
    assert torch.equal(free.undisturbed((start,)).flatten(1), start)


def test_the_picture_is_the_median_of_the_last_snapshots():
    free = coefficients(codes=torch.zeros(0, 4), n_steps=200, n_snapshots=4, interval=40)
    params = free.start(RowNoise([0]))
    noise, seen = RowNoise([1]), {}
    for step in range(200):
        params[0].copy_(torch.full((1, 4), float(step**2 % 97)))
        seen[step] = params[0][0, 0].item()
        free.shown(params, torch.tensor([step]), noise)
    params[0].fill_(50.0)
    expected = np.median([seen[80], seen[120], seen[160], 50.0])
    assert free.render(params).unique().tolist() == [expected]


def test_noise_is_multiplied():
    free = coefficients(codes=torch.zeros(0, 4), noise_scale=0.1)
    params = (torch.tensor([[0.0, 1.0, -2.0, 5.0]]), torch.zeros(1, 9, 1, 2, 2))
    drawn = RowNoise([7]).normal(4)
    shown = free.shown(params, torch.tensor([0]), RowNoise([7]))
    torch.testing.assert_close(shown.flatten(1), params[0] * (1 + 0.1 * drawn))


@pytest.mark.parametrize(("bias", "gain"), [(0.0, 1.0), (-3.0, 4.0), (-1e9, 1.0)])
def test_silent_channels_start_from_stronger_pictures(bias, gain):
    # One channel that is active once the picture is bright enough, or never.
    layer = torch.nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(bias)
    net = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    loss = TargetedObjective(
        as_objective(TargetEvidence()),
        FrozenClassifier(net, (1, 2, 2)),
        Target([0], layer="1"),
        example=torch.zeros(1, 1, 2, 2),
    )
    free = coefficients(codes=torch.ones(0, 4))
    free.start = lambda noise: (torch.full((1, 4), 1.0), torch.zeros(1, 9, 1, 2, 2))
    assert started_alive(free, loss, 0, RowNoise([0]))[0][0, 0] == gain

"""The critic learns what is real, teaches a decoder, and can be put aside and taken up again."""

import numpy as np
import pytest
import torch

from skinvert.models.adversary import Adversary


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 8), (5,)])
def test_it_learns_what_is_real(shape):
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(32, *shape, generator=generator)
    decoded = real * 0.5
    adversary = Adversary(shape, seed=1)
    for _ in range(100):
        adversary.learn(decoded, real)
    assert adversary.doubt(decoded) > adversary.doubt(real) + 0.2


def test_its_doubt_leads_to_real_images():
    real, decoded = torch.ones(16, 1, 8, 8), torch.zeros(16, 1, 8, 8, requires_grad=True)
    adversary = Adversary((1, 8, 8))
    for _ in range(30):
        adversary.learn(decoded, real)
    adversary.doubt(decoded).backward()
    assert decoded.grad.sum() < 0, "less doubt is more light, as real images have"
    assert all(
        weight.grad is None or not weight.requires_grad for weight in adversary.critic.parameters()
    ), "asking it teaches it nothing"


def test_it_goes_on_where_it_was():
    rows = torch.from_numpy(np.random.default_rng(0).random((2, 6, 4), dtype=np.float32))
    whole, first, second = (Adversary((4,), seed=seed) for seed in (3, 3, 4))
    for adversary in (whole, first):
        adversary.learn(*rows)
    second.load_state_dict(first.state_dict())
    for adversary in (whole, second):
        adversary.learn(*rows)
    assert torch.equal(whole.doubt(rows[0]), second.doubt(rows[0]))


def test_the_seed_decides_and_nothing_global_moves(global_rng_untouched):
    with global_rng_untouched():
        answers = [Adversary((4,), seed=seed).doubt(torch.ones(1, 4)) for seed in (0, 0, 1)]
    assert answers[0] == answers[1] != answers[2]

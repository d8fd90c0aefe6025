"""Runs one after the other: how long each is, and how its learning rate moves."""

import pytest
import torch

from skinvert.inversion.loop import Problem
from skinvert.inversion.optimizers import SGD
from skinvert.inversion.stages import WarmUpCosine, optimize_in_stages, steps_of_stages


@pytest.mark.parametrize(("n_steps", "stages"), [(7, (7,)), ((3, 4), (3, 4)), ([5], (5,))])
def test_a_number_is_one_stage(n_steps, stages):
    assert steps_of_stages(n_steps) == stages


@pytest.mark.parametrize("n_steps", [0, (), (3, 0), (1.5,)])
def test_stages_have_steps(n_steps):
    with pytest.raises(ValueError, match="n_steps must be"):
        steps_of_stages(n_steps)


def test_the_rate_climbs_to_its_largest_and_falls_to_nothing():
    rates = WarmUpCosine(2.0, n_steps=100, share=0.1)(torch.arange(1, 101))
    assert bool((rates[:10].diff() > 0).all())
    assert bool((rates[11:].diff() < 0).all())
    assert float(rates.max()) == pytest.approx(2.0)
    assert float(rates[-1]) < 0.01


def test_callbacks_hear_of_real_rows_alone():
    bowl = Problem(
        start=lambda row, noise: (torch.full((1, 2), float(row)),),
        objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
        render=lambda params: params[0],
    )
    heard = []
    optimize_in_stages(
        lambda stage, n: bowl,
        range(3),
        n_steps=(4, 2),
        batch_size=2,
        optimizer_of_stage=lambda n: SGD(0.1),
        callback=heard.append,
    )
    assert sum(heard) == pytest.approx(3 * 6)

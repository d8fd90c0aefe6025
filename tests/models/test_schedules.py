"""Schedules are those of the paper's appendix, whatever they are stretched to."""

import pytest

from skinvert.models.schedules import (
    PAPER_SCHEDULES,
    Phase,
    default_schedule,
    resolve_schedule,
    scaled,
)


def test_the_paper_schedules():
    assert [sum(p.n_epochs for p in s) for s in PAPER_SCHEDULES.values()] == [300, 300, 700]
    assert [p.perceptual for p in PAPER_SCHEDULES["mnist"]] == [0, 0]
    assert [p.ssim for p in PAPER_SCHEDULES["cifar10"]] == [1, 0, 0]
    assert [p.perceptual for p in PAPER_SCHEDULES["celeba"]] == [1, 1, 0]
    assert all(p.mae == 1 for s in PAPER_SCHEDULES.values() for p in s)


@pytest.mark.parametrize("n_epochs", [1, 2, 7, 300])
@pytest.mark.parametrize("name", PAPER_SCHEDULES)
def test_schedules_are_stretched(name, n_epochs):
    phases = scaled(PAPER_SCHEDULES[name], n_epochs)
    assert sum(phase.n_epochs for phase in phases) == n_epochs
    if n_epochs == 300 and name != "celeba":
        assert phases == PAPER_SCHEDULES[name]


def test_the_loss_has_its_schedule():
    assert default_schedule("paper", 1) == PAPER_SCHEDULES["mnist"]
    assert default_schedule("paper", 3) == PAPER_SCHEDULES["cifar10"]
    assert default_schedule("sharp", 1) == default_schedule("sharp", 3)


def test_epochs_follow_the_number_of_rows():
    lengths = [
        sum(p.n_epochs for p in resolve_schedule("auto", "auto", "sharp", 1, n_rows))
        for n_rows in (10, 2000, 40_000)
    ]
    assert lengths == [100, 40, 10]
    asked = resolve_schedule([Phase(6), Phase(2)], 4, "sharp", 1, 100)
    assert [phase.n_epochs for phase in asked] == [3, 1]


@pytest.mark.parametrize("schedule", [[], [3], [None]])
def test_schedules_are_phases(schedule):
    with pytest.raises(ValueError, match="list of Phase"):
        resolve_schedule(schedule, "auto", "sharp", 1, 100)

"""Rows go back to where their objective was last finite, and their neighbours never notice."""

import pytest
import torch

from skinvert.inversion.rollback import Rollback

NAN, INF = float("nan"), float("inf")


def started(*state):
    rollback = Rollback(len(state[0]), "cpu")
    for slot in range(len(state[0])):
        rollback.admit(slot, state)
    return rollback


def step(rollback, state, totals, moves, n_params=1):
    rollback.remember(state, torch.tensor(totals))
    for value, move in zip(state, moves, strict=True):
        value.add_(move)
    rollback.correct(state, n_params)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_bad_objective_takes_back_the_step_before_it_and_this_one(bad):
    x = torch.zeros(3, 2)
    rollback = started(x)
    step(rollback, [x], [1.0, 1.0, 1.0], [torch.ones(3, 2)])
    step(rollback, [x], [1.0, bad, 1.0], [torch.ones(3, 2)])
    assert x.tolist() == [[2.0, 2.0], [0.0, 0.0], [2.0, 2.0]]
    assert rollback.counts.tolist() == [0, 1, 0]


@pytest.mark.parametrize("place", [0, 1])
def test_a_step_to_nowhere_is_taken_back_in_all_that_moves(place):
    x, memory = torch.zeros(2, 3), torch.zeros(2, 1)
    rollback = started(x, memory)
    moves = [torch.ones(2, 3), torch.ones(2, 1)]
    moves[place][1, 0] = NAN
    step(rollback, [x, memory], [1.0, 1.0], moves)
    assert x.tolist() == [[1.0] * 3, [0.0] * 3]
    assert memory.tolist() == [[1.0], [0.0]]


def test_values_whose_sum_overflows_are_not_lost():
    x = torch.zeros(2, 4)
    rollback = started(x)
    step(rollback, [x], [1.0, 1.0], [torch.full((2, 4), 3e38)])
    assert torch.isfinite(x).all()
    assert (x == 3e38).all()
    assert not rollback.counts.any()


def test_a_row_that_went_back_takes_shorter_steps_in_its_parameters_alone():
    x, memory = torch.zeros(2, 1), torch.zeros(2, 1)
    rollback = started(x, memory)
    step(rollback, [x, memory], [1.0, NAN], [torch.ones(2, 1)] * 2)
    step(rollback, [x, memory], [1.0, 1.0], [torch.ones(2, 1)] * 2)
    torch.testing.assert_close(x.flatten(), torch.tensor([2.0, 0.1]))
    assert memory.flatten().tolist() == [2.0, 1.0]


def test_a_row_is_given_up_after_three_returns_and_stays():
    x = torch.zeros(2, 1)
    rollback = started(x)
    for _ in range(5):
        step(rollback, [x], [1.0, NAN], [torch.ones(2, 1)])
    assert rollback.given_up.tolist() == [False, True]
    assert rollback.counts.tolist() == [0, 3]
    step(rollback, [x], [1.0, 1.0], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [6.0, 0.0]


def test_a_slot_forgets_its_last_row():
    x = torch.zeros(2, 1)
    rollback = started(x)
    for _ in range(4):
        step(rollback, [x], [1.0, NAN], [torch.ones(2, 1)])
    x[1] = 7.0
    rollback.admit(1, [x])
    step(rollback, [x], [1.0, 1.0], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [5.0, 8.0]
    step(rollback, [x], [1.0, NAN], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [6.0, 7.0]

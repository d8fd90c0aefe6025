"""Rows go back to where their objective was last finite, and their neighbours never notice."""

import pytest
import torch

from skinvert.inversion.rollback import Block, Rollback

NAN, INF = float("nan"), float("inf")


def started(*shapes):
    """A rollback, its state, and the parts of it."""
    state = Block([torch.zeros(shape) for shape in shapes])
    rollback = Rollback(shapes[0][0])
    for slot in range(shapes[0][0]):
        rollback.admit(slot, state)
    return rollback, state, *state.parts


def step(rollback, state, totals, moves, n_params=1):
    rollback.remember(state, torch.tensor(totals))
    for value, move in zip(state.parts, moves, strict=True):
        value.add_(move)
    rollback.correct(state, n_params)


def test_parts_of_a_block_are_its_memory_and_nothing_else_is():
    given = [torch.rand(2, 3), torch.rand(2), torch.rand(2, 1, 70)]
    block = Block(given)
    assert all(torch.equal(*pair) for pair in zip(block.parts, given, strict=True))
    assert all(part.data_ptr() % 64 == 0 for part in block.parts)
    block.parts[1].fill_(7.0)
    torch.testing.assert_close(block.memory.sum(), given[0].sum() + 14 + given[2].sum())


def test_autograd_sees_changes_of_one_part_as_that_parts_alone():
    changed, used = Block([torch.zeros(2), torch.ones(2)]).parts
    used.requires_grad_()
    total = used.square().sum()
    changed.add_(1.0)
    torch.testing.assert_close(torch.autograd.grad(total, used)[0], torch.full((2,), 2.0))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_bad_objective_takes_back_the_step_before_it_and_this_one(bad):
    rollback, state, x = started((3, 2))
    step(rollback, state, [1.0, 1.0, 1.0], [torch.ones(3, 2)])
    step(rollback, state, [1.0, bad, 1.0], [torch.ones(3, 2)])
    assert x.tolist() == [[2.0, 2.0], [0.0, 0.0], [2.0, 2.0]]
    assert rollback.counts.tolist() == [0, 1, 0]


@pytest.mark.parametrize("place", [0, 1])
def test_a_step_to_nowhere_is_taken_back_in_all_that_moves(place):
    rollback, state, x, memory = started((2, 3), (2, 1))
    moves = [torch.ones(2, 3), torch.ones(2, 1)]
    moves[place][1, 0] = NAN
    step(rollback, state, [1.0, 1.0], moves)
    assert x.tolist() == [[1.0] * 3, [0.0] * 3]
    assert memory.tolist() == [[1.0], [0.0]]


def test_values_whose_sum_overflows_are_not_lost():
    rollback, state, x = started((2, 4))
    step(rollback, state, [1.0, 1.0], [torch.full((2, 4), 3e38)])
    assert torch.isfinite(x).all()
    assert (x == 3e38).all()
    assert not rollback.counts.any()


def test_a_row_that_went_back_takes_shorter_steps_in_its_parameters_alone():
    rollback, state, x, memory = started((2, 1), (2, 1))
    step(rollback, state, [1.0, NAN], [torch.ones(2, 1)] * 2)
    step(rollback, state, [1.0, 1.0], [torch.ones(2, 1)] * 2)
    torch.testing.assert_close(x.flatten(), torch.tensor([2.0, 0.1]))
    assert memory.flatten().tolist() == [2.0, 1.0]


def test_a_row_is_given_up_after_three_returns_and_stays():
    rollback, state, x = started((2, 1))
    for _ in range(5):
        step(rollback, state, [1.0, NAN], [torch.ones(2, 1)])
    assert rollback.given_up.tolist() == [False, True]
    assert rollback.counts.tolist() == [0, 3]
    step(rollback, state, [1.0, 1.0], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [6.0, 0.0]


def test_a_slot_forgets_its_last_row():
    rollback, state, x = started((2, 1))
    for _ in range(4):
        step(rollback, state, [1.0, NAN], [torch.ones(2, 1)])
    x[1] = 7.0
    rollback.admit(1, state)
    step(rollback, state, [1.0, 1.0], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [5.0, 8.0]
    step(rollback, state, [1.0, NAN], [torch.ones(2, 1)])
    assert x.flatten().tolist() == [6.0, 7.0]

"""What is killed goes on: a tenth of what docs/benchmarks/reliability/reliability.py counts."""

import pytest
from kills import campaign
from subjects import METHODS


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("task", ["fit", "generate"])
def test_killed_processes_go_on_to_the_same_bits(task, name, tmp_path):
    found = campaign(task, name, tmp_path, n_kills=2, n_in_write=3)
    assert found["kills"] >= 2
    assert found["kills_in_write"] >= 3
    assert (found["different"], found["left"], found["failures"]) == (0, 0, 0)

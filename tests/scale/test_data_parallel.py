"""Two ranks train one network as one process does."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from skinvert.models import ranks

SCRIPT = Path(__file__).with_name("rank_of_two.py")


def torchrun(folder, *arguments, timeout=180):
    """Run the script in two ranks; a deadlock is a failure, not a wait."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port), str(SCRIPT), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=timeout
    )


def alone(folder):
    folder.mkdir()
    spec = importlib.util.spec_from_file_location("rank_of_two", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.train_all(folder)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["torch", "accelerate"])
def test_two_ranks_train_as_one_process(group, tmp_path):
    if group == "accelerate":
        pytest.importorskip("accelerate", reason="needs accelerate")
    expected = alone(tmp_path / "alone")
    done = torchrun(tmp_path, group)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert first["written"] > 0
    assert second["written"] == 0
    # Early stopping is a decision of all: both ended, before the last epoch.
    assert len(first["losses"]["flow valid_loss"]) < 12
    assert first["losses"].keys() == expected["losses"].keys()
    for name, losses in expected["losses"].items():
        np.testing.assert_allclose(first["losses"][name], losses, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_ranks_of_other_seeds_fail_together(tmp_path):
    done = torchrun(tmp_path, "seeds")
    assert done.returncode != 0
    assert "equal data and seeds" in done.stderr


def test_nothing_is_dealt_where_one_process_trains():
    assert ranks.own_ranks() is None
    assert ranks.is_first_rank()
    assert ranks.said_by_first_rank(lambda: 3) == 3
    value = torch.tensor(0.1)
    assert ranks.mean_over_ranks(value) is value


@pytest.mark.parametrize("n_rows", [1, 2, 7, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_row_is_dealt_once(n_rows, size, monkeypatch):
    dealt, shares = [], []
    for rank in range(size):
        monkeypatch.setattr(ranks.dist, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(ranks.dist, "get_world_size", lambda: size)
        one = ranks.Ranks()
        own = one.deal(n_rows)
        assert own.stop > own.start
        shares.append(one.share)
        dealt += list(range(n_rows))[own] if one.share else []
    assert dealt == list(range(n_rows))
    assert sum(shares) == pytest.approx(1)

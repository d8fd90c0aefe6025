"""Training data may lie on a disk: nothing of its size is copied, and no bit depends on it."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skinvert import InputOptimizationGenerator, ReGene
from skinvert.models.schedules import Phase
from skinvert.models.training import TrainingNet
from skinvert.shards import fingerprint

N_ROWS = 32_768  # of 784 values: 103 MB, a twentieth of what the benchmark fits on
MOST_GROWTH = 75e6  # bytes: 16 million values that a canvas reads of any number of rows, and little

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc"
)


def own_memory():
    """Bytes that are this process's own: pages of a mapped file are the system's to drop."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise ValueError("no RssAnon in /proc/self/status")


class Growth:
    """Largest growth of `own_memory` inside the block."""

    def __enter__(self):
        self.before, self.most, self._ended = own_memory(), 0, threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self):
        while not self._ended.wait(0.005):
            self.most = max(self.most, own_memory() - self.before)

    def __exit__(self, *_):
        self._ended.set()
        self._watch.join()


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)).eval()


def generator():
    return InputOptimizationGenerator(net(), prior="mean", init="noise", n_steps=2, random_state=0)


def regene():
    return ReGene(
        net(), decoder="dense", schedule=[Phase(1)], decoder_batch_size=512, random_state=0
    )


def classifier():
    return TrainingNet(
        nn.Linear, module__in_features=784, module__out_features=10, max_epochs=1, batch_size=256
    )


def weights(fitted):
    """Everything that was learned."""
    modules = {"decoder_", "module_", "canvas_"}
    found = [vars(fitted)[name] for name in sorted(modules & set(vars(fitted)))]
    states = [part.state_dict() for part in found if isinstance(part, nn.Module)]
    arrays = [value.numpy() for state in states for value in state.values()]
    return arrays + [
        value for _, value in sorted(vars(fitted).items()) if isinstance(value, np.ndarray)
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A read-only memory map of rows in [0, 1], and labels."""
    path = tmp_path_factory.mktemp("rows") / "X.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (N_ROWS, 784))
    rng = np.random.default_rng(0)
    for first in range(0, N_ROWS, 4096):
        X[first : first + 4096] = rng.random((4096, 784), dtype=np.float32)
    X.flush()
    del X
    return np.load(path, mmap_mode="r"), np.arange(N_ROWS) % 10


@needs_proc
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the latents of a class vary", "error:The given NumPy array")
@pytest.mark.parametrize("make", [generator, regene, classifier])
def test_fit_on_a_memory_map_copies_no_rows(make, stored):
    X, y = stored
    make().fit(X[:512], y[:512])  # what the first call of anything allocates is not the rows'
    with Growth() as growth:
        fitted = make().fit(X, y)
    assert growth.most < MOST_GROWTH
    inside = make().fit(np.array(X), y)
    assert weights(fitted)
    for of_map, of_array in zip(weights(fitted), weights(inside), strict=True):
        np.testing.assert_array_equal(of_map, of_array)


@needs_proc
@pytest.mark.slow
def test_a_fingerprint_of_a_memory_map_copies_no_rows(stored):
    X, _ = stored
    with Growth() as growth:
        found = fingerprint(X)
    assert growth.most < MOST_GROWTH
    assert found == fingerprint(np.array(X))

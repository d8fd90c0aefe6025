"""Mass generation with killed workers, throughput against workers, and a fit on two gigabytes.

    python docs/benchmarks/scale/scale.py [--quick] [--only killed throughput out_of_core]

The full counts: 10^5 images with three killed workers, 10^4 images on one worker and on every
number of workers up to the number of cores, 2 GB of rows. `--quick` does a hundredth of it and
writes nothing. Throughput wants an idle machine.
"""

import os
import signal
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from _report import Stopwatch, write

# isort: split
import numpy as np
import torch
from joblib import parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.datasets import load_digits
from torch import nn

from skinvert import InputOptimizationGenerator, ReGene
from skinvert.models.schedules import Phase

QUICK = "--quick" in sys.argv
RESULTS = Path(__file__).parent / "results"
N_KILLED, N_TIMED = (1_000, 512) if QUICK else (100_000, 10_000)
N_ROWS = 16_384 if QUICK else 2**31 // (784 * 4)  # of 784 float32 values
table = (lambda *a, **k: print(*a, sep="\n")) if QUICK else partial(write, RESULTS)


class Mortal(InputOptimizationGenerator):
    """Its process is killed, once for each file in a folder, at the shard that the file names."""

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        try:
            (Path(self.graves) / str(rows.start)).unlink()
        except FileNotFoundError:
            return super()._generate_rows(target, seeds, rows, batch_size, callback)
        os.kill(os.getpid(), signal.SIGKILL)


def make(kind, n_steps=20):
    X, y = load_digits(return_X_y=True)
    generator = kind(prior="mean", prior_weight=0.01, init="noise", n_steps=n_steps, random_state=0)
    return generator.fit((X / 16).astype(np.float32), y)


def killed(folder):
    """10^5 images by two workers, three of which are killed: calls, and what differs."""
    y = np.arange(N_KILLED) % 10
    plain = make(InputOptimizationGenerator).generate(y, out=folder / "plain.npy")
    mortal = make(Mortal)
    mortal.graves = str(folder / "graves")
    Path(mortal.graves).mkdir()
    shard = 8 * mortal._resolved_batch_size()
    n_shards = -(-N_KILLED // shard)
    for k in (0, n_shards // 2, n_shards - 1):
        (Path(mortal.graves) / str(shard * k)).touch()
    for n_calls in range(1, 5):
        try:
            with parallel_config("loky"):
                stored = mortal.generate(y, n_jobs=2, out=folder / "killed.npy")
            break
        except TerminatedWorkerError:
            print(f"call {n_calls} lost a worker", flush=True)
    n_left = len(list(Path(mortal.graves).iterdir()))
    n_wrong = int((stored != plain).any(axis=1).sum())
    n_same = N_KILLED - len(np.unique(np.ascontiguousarray(stored), axis=0))
    table(
        "killed",
        "Images of 8 × 8 pixels by two workers, three of them killed",
        ["images", "workers killed", "calls", "rows unlike the undisturbed run's", "rows twice"],
        [[f"{N_KILLED:,}", 3 - n_left, n_calls, n_wrong, n_same]],
    )


def throughput(folder):
    """Images a second by number of workers, that are awake already."""
    generator = make(InputOptimizationGenerator, n_steps=200)
    y = np.arange(N_TIMED) % 10
    rates = {}
    for n_workers in range(1, (os.cpu_count() or 1) + 1):
        with parallel_config("loky"):
            generator.generate(y[: 512 * n_workers], n_jobs=n_workers)
            with Stopwatch() as watch:
                generator.generate(y, n_jobs=n_workers, out=folder / "timed.npy")
        rates[n_workers] = N_TIMED / watch.wall
    table(
        "throughput_of_workers",
        "Images a second against the number of workers",
        ["workers", "images a second", "over workers times one worker's"],
        [
            [n, f"{rate:.1f}", f"{rate / (n * rates[1]):.2f}"] for n, rate in rates.items()
        ],
        [f"{N_TIMED:,} images of 8 × 8 pixels, 200 steps; wall time, shards on disk."],
    )  # fmt: skip


def own_memory():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    return 0


class Growth:
    """Largest growth of the process's own memory inside the block, in megabytes."""

    def __enter__(self):
        self.before, self.most, self._ended = own_memory(), 0.0, threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self):
        while not self._ended.wait(0.01):
            self.most = max(self.most, (own_memory() - self.before) / 1e6)

    def __exit__(self, *_):
        self._ended.set()
        self._watch.join()


def answer(name, fitted, X):
    """What tells the bits of a fit: the rows are noise, of which ReGene accepts no combination."""
    return fitted.reconstruct(X[:3]) if name == "ReGene" else fitted.generate([1, 2, 3])


def out_of_core(folder):
    """Growth of memory in a fit on rows that lie on a disk, and whether its bits are the same."""
    path = folder / "X.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (N_ROWS, 784))
    rng = np.random.default_rng(0)
    for first in range(0, N_ROWS, 4096):
        X[first : first + 4096] = rng.random((len(X[first : first + 4096]), 784), dtype=np.float32)
    X.flush()
    del X
    X, y = np.load(path, mmap_mode="r"), np.arange(N_ROWS) % 10
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)).eval()
    methods = {
        "input optimisation": lambda: InputOptimizationGenerator(
            net, prior="mean", init="noise", n_steps=5, random_state=0
        ),
        "ReGene": lambda: ReGene(
            net, decoder="dense", schedule=[Phase(1)], decoder_batch_size=512, random_state=0
        ),
    }
    rows = []
    for name, method in methods.items():
        method().fit(X[:512], y[:512])
        with Growth() as growth, Stopwatch() as watch:
            fitted = method().fit(X, y)
        inside = method().fit(np.array(X), y)
        same = np.array_equal(answer(name, fitted, X), answer(name, inside, X))
        rows.append(
            [name, f"{X.nbytes / 1e9:.2f}", f"{growth.most:.0f}", same, f"{watch.wall:.0f}"]
        )
        del inside
    table(
        "out_of_core",
        "Fits on a memory map of rows of 784 values",
        ["method", "rows, GB", "growth of own memory, MB", "same bits as in memory", "seconds"],
        rows,
        ["Own memory is RssAnon: pages of the file are the system's to drop."],
    )


def main():
    torch.set_num_threads(1)
    only = sys.argv[sys.argv.index("--only") + 1 :] if "--only" in sys.argv else ()
    with tempfile.TemporaryDirectory() as name:
        for part in (killed, throughput, out_of_core):
            if not only or part.__name__ in only:
                part(Path(name))


if __name__ == "__main__":
    main()

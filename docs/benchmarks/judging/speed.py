"""What the two dearest metrics cost, each measurement in a process of its own.

Run alone on an idle machine: ``python docs/benchmarks/judging/speed.py``.
"""

import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from scipy.linalg import sqrtm

from skinvert import metrics

write = partial(_write, Path(__file__).parent / "results")
N_ROWS, REPEATS = 10_000, 5


def two_sets(width):
    """Correlated features that a ReLU has cut, as a network's are, and others a little off."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(width, width)) / np.sqrt(width)
    other = mixing + 0.3 * rng.normal(size=(width, width)) / np.sqrt(width)
    return [np.maximum(rng.normal(size=(N_ROWS, width)) @ m, 0) for m in (other, mixing)]


def by_matrix_root(features, real_features):
    """The Fréchet distance as it is usually computed."""
    covariance, real_covariance = (np.cov(x, rowvar=False) for x in (features, real_features))
    root = sqrtm(covariance @ real_covariance).real
    shift = features.mean(0) - real_features.mean(0)
    return shift @ shift + np.trace(covariance + real_covariance - 2 * root)


def neighbours(features, real_features):
    figures = metrics.prdc(features, real_features)
    return figures.precision + figures.recall


WORKS = {
    "matrix root": (by_matrix_root, 512, REPEATS),
    "frechet_distance": (metrics.frechet_distance, 512, REPEATS),
    "prdc": (neighbours, 128, 1),
}


def measure(name):
    """Print seconds (the best of the repeats), the process's peak in MB, and the value."""
    work, width, repeats = WORKS[name]
    sets = two_sets(width)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = work(*sets)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(min(seconds), peak, float(value))


def main():
    figures = {}
    for name in WORKS:
        command = [sys.executable, __file__, name]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        figures[name] = [float(word) for word in run.stdout.split()]
    route, ours, balls = figures.values()
    assert abs(route[2] - ours[2]) < 1e-6 * route[2], "the two routes disagree"
    rows = [
        ["Fréchet distance, scipy.linalg.sqrtm", "512", f"{route[0]:.3f}", f"{route[1]:.0f}"],
        ["frechet_distance", "512", f"{ours[0]:.3f}", f"{ours[1]:.0f}"],
        ["prdc", "128", f"{balls[0]:.2f}", f"{balls[1]:.0f}"],
    ]
    write(
        "speed",
        "Seconds and peak memory of the process (two sets of 10,000 rows)",
        ["figure", "features", "seconds", "peak, MB"],
        rows,
        [
            f"frechet_distance is {route[0] / ours[0]:.1f} times as fast as the matrix root; both "
            f"are the best of {REPEATS}, covariances included.",
            "Peaks include Python, its libraries and the features themselves.",
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()

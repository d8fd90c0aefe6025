"""Peak memory of a large generation on digits, in a process of its own for every size.

``python docs/benchmarks/input_optimization/memory.py``
"""

import resource
import subprocess
import sys

import numpy as np
from _common import write
from sklearn.datasets import load_digits

from skinvert import InputOptimizationGenerator

SIZES = (64, 512, 4096)
BATCH_SIZES = (32, 256)


def peak(n, batch_size):
    """Growth of the peak resident set during `generate`, in MB, the returned array aside."""
    X, y = load_digits(return_X_y=True)
    generator = InputOptimizationGenerator(
        prior="mean",
        init="noise",
        n_steps=10,
        batch_size=batch_size,
        device="cpu",
        random_state=0,
    ).fit(X, y)
    generator.generate(y[:batch_size])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    images = generator.generate(np.resize(y, n))
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print((growth * 1024 - images.nbytes) / 1e6)


def main():
    rows = []
    for batch_size in BATCH_SIZES:
        figures = []
        for n in SIZES:
            command = [sys.executable, __file__, str(n), str(batch_size)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            figures.append(f"{float(run.stdout.split()[-1]):.1f}")
        rows.append([batch_size, *figures])
    header = ["batch_size", *[f"n = {n}" for n in SIZES]]
    write("memory", "Growth of peak memory in generate, MB, the returned array aside", header, rows)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        peak(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()

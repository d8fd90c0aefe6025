"""EfficientNet-Lite0 inverted at 224 pixels, verified by Lite1, which never takes part.

``python docs/benchmarks/input_optimization/imagenet.py [--rival PYTHON] [--tune]``: classes
0, 10, 20 … once the settings were frozen; ``--tune`` takes 5, 45, 85 … instead. The packages that
it needs, and PYTHON, are told of in ``_imagenet.py``, where the settings are.
"""

import argparse
import copy

import numpy as np
from _common import RESULTS, Stopwatch, summary, write
from _imagenet import INPUT_OPTIMIZATION, Verifier, photographs, pretrained, rival, save_grid

from skinvert import InputOptimizationGenerator

N_SEEDS = 3
N_STEPS = INPUT_OPTIMIZATION["n_steps"]
RIVAL_EVERY = 2  # dreamlens makes every second of our classes


def row(name, runs, classes, verifier, seconds):
    """One line of the table; `runs` holds the images of each seed."""
    answers = [verifier(images, classes) for images in runs]
    figures = [
        [np.mean(ranks == 0) for ranks, _ in answers],
        [np.mean(ranks < 5) for ranks, _ in answers],
        [np.exp(log_probability).mean() for _, log_probability in answers],
    ]
    told = [summary(values, 2) if len(runs) > 1 else f"{values[0]:.2f}" for values in figures]
    print(name, len(classes), *told, flush=True)
    return [name, len(classes), len(runs), *told, f"{seconds / len(classes):.1f}"]


def main(python, tuning):
    classes = list(range(5 if tuning else 0, 1000, 40 if tuning else 10))
    verifier, X, runs, seconds = Verifier(), photographs(), [], []
    for seed in range(1 if tuning else N_SEEDS):
        # The objective has no density, so that the labels of the photographs are of no account.
        generator = InputOptimizationGenerator(
            copy.deepcopy(pretrained(0)), random_state=seed, **INPUT_OPTIMIZATION
        ).fit(X, np.zeros(len(X), dtype=int))
        with Stopwatch() as watch:
            runs.append(generator.generate(classes))
        seconds.append(watch.wall)
        row(f"seed {seed}", runs[-1:], classes, verifier, watch.wall)
    rows = [row("skinvert", runs, classes, verifier, np.mean(seconds))]
    save_grid(runs[0][:40], RESULTS / ("imagenet_tune.jpg" if tuning else "imagenet.jpg"))
    if python:
        some, ours = classes[::RIVAL_EVERY], [images[::RIVAL_EVERY] for images in runs]
        share = np.mean(seconds) / RIVAL_EVERY
        rows.append(row("skinvert, the rival's classes", ours, some, verifier, share))
        theirs, taken = rival(python, "maximize", N_STEPS, some)
        rows.append(row("dreamlens maximize", [theirs], some, verifier, taken))
    write(
        "imagenet_tune" if tuning else "imagenet",
        "EfficientNet-Lite0 at 224 pixels, verified by Lite1",
        ["generator", "classes", "seeds", "top-1", "top-5", "mean probability", "s an image"],
        rows,
        notes=[
            f"{N_STEPS} forward-backward passes an image, mean over the seeds with least and "
            "largest; settings were chosen on classes that end in 5."
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", help="interpreter of an environment with dreamlens")
    parser.add_argument("--tune", action="store_true", help="25 of the classes that end in 5")
    arguments = parser.parse_args()
    main(arguments.rival, arguments.tune)

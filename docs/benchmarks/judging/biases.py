"""Do generated images reveal *this* classifier? Two of them, each with a planted bias of its own.

``python docs/benchmarks/judging/biases.py``: on MNIST-5k one classifier learned from rows in which
class 3 always bears a bright corner, the other from rows in which class 7 does. Both are inverted
with one density, of rows whose marks have nothing to do with their class.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from scipy.stats import permutation_test

from skinvert import InputOptimizationGenerator
from skinvert.datasets import split_mnist_5k
from skinvert.models.prepare import default_network

write = partial(_write, Path(__file__).parent / "results")
SEEDS, N_PER_CLASS = (0, 1, 2), 50
CORNER = np.ravel_multi_index(np.mgrid[1:5, 1:5], (28, 28)).ravel()


def marked(X, rows):
    X = X.copy()
    X[np.ix_(np.flatnonzero(rows), CORNER)] = 1
    return X


def classifier(X, y, marked_class, seed):
    rows = marked(X, y == marked_class).reshape(-1, 1, 28, 28)
    # Shown as they are: random views would move the mark out of its corner.
    net = default_network(X, (1, 28, 28), 10, seed=seed).set_params(transforms=())
    return net.fit(rows, y).module_


def corners(module, X, y, seed):
    """Brightness of the corner in images of class 3, with its sign changed in those of class 7."""
    anywhere = marked(X, np.random.default_rng(0).random(len(X)) < 0.3)
    generator = InputOptimizationGenerator(module, random_state=seed).fit(anywhere, y)
    asked = np.tile([3, 7], N_PER_CLASS)
    return np.where(asked == 3, 1, -1) * generator.generate(asked)[:, CORNER].mean(1)


def p_value(first, second):
    """Two-sided permutation test of the difference of means."""
    test = permutation_test(
        (first, second),
        lambda a, b: a.mean() - b.mean(),
        n_resamples=9999,
        vectorized=False,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def main():
    X, y = split_mnist_5k().train
    rows = []
    for seed in SEEDS:
        three, seven = (classifier(X, y, label, seed) for label in (3, 7))
        of_three, of_seven = (corners(module, X, y, seed) for module in (three, seven))
        again = corners(three, X, y, seed + 100)
        rows.append(
            [
                seed,
                f"{of_three.mean():.2f}",
                f"{of_seven.mean():.2f}",
                f"{p_value(of_three, of_seven):.4f}",
                f"{p_value(of_three, again):.2f}",
            ]
        )
        print(rows[-1], flush=True)
    write(
        "biases",
        "Two classifiers with different planted biases",
        [
            "seed",
            "corner 3 minus 7, biased to 3",
            "biased to 7",
            "p, one against the other",
            "p, one against itself",
        ],
        rows,
        notes=[
            f"{N_PER_CLASS} images each of the classes 3 and 7; mean brightness of the corner; "
            "permutation tests of 9,999 shuffles, the least p being 0.0002.",
            "The last column compares two draws from one classifier, with different seeds.",
        ],
    )


if __name__ == "__main__":
    main()

"""What these scripts share: the data in their parts, judges, rivals, and where results go."""

import sys
from functools import partial
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
sys.path[:0] = [str(BENCHMARKS / folder) for folder in ("input_optimization", "judging")]

import _common
import numpy as np
from _references import MixturePerClass

from skinvert.datasets import split_fashion_mnist, split_mnist_5k

__all__ = ["N_SAMPLES", "MixtureClassifier", "_common", "load", "write"]

write = partial(_common._write, Path(__file__).parent / "results")
N_SAMPLES = {"mnist_5k": 2_000, "fashion": 10_000}


def load(name):
    """Parts of a data set: train, tune, judge and test, pairs of rows in [0, 1] and labels."""
    return split_mnist_5k() if name == "mnist_5k" else split_fashion_mnist()


class MixtureClassifier(MixturePerClass):
    """The rival, a GaussianMixture(3) a class on PCA(80), with the accuracy of its densities."""

    def score(self, X, y):
        rows = self.pca.transform(X)
        densities = [mixture.score_samples(rows) for mixture in self.mixtures.values()]
        return float(np.mean(np.array(list(self.mixtures))[np.argmax(densities, axis=0)] == y))

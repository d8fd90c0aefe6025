"""What these scripts share: the data in their parts, judges, rivals, and where results go."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "input_optimization"))

import _common
import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skinvert.datasets import split_fashion_mnist, split_mnist_5k

write = partial(_common._write, Path(__file__).parent / "results")
N_SAMPLES = {"mnist_5k": 2_000, "fashion": 10_000}


def load(name):
    """Parts of a data set: train, tune, judge and test, pairs of rows in [0, 1] and labels."""
    return split_mnist_5k() if name == "mnist_5k" else split_fashion_mnist()


class MixturePerClass:
    """The rival: a GaussianMixture(3) a class on PCA(80)."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, X, y):
        self.pca = PCA(80, random_state=self.random_state).fit(X)
        self.mixtures = [
            GaussianMixture(3, reg_covar=1e-4, random_state=self.random_state).fit(
                self.pca.transform(X[y == label])
            )
            for label in np.unique(y)
        ]
        return self

    def score(self, X, y):
        rows = self.pca.transform(X)
        densities = np.stack([mixture.score_samples(rows) for mixture in self.mixtures], axis=1)
        return float(np.mean(densities.argmax(1) == y))

    def generate(self, y):
        images = np.empty((len(y), self.pca.n_features_in_), dtype=np.float32)
        for column, mixture in enumerate(self.mixtures):
            asked = np.flatnonzero(y == column)
            images[asked] = self.pca.inverse_transform(mixture.sample(len(asked))[0])
        return images.clip(0, 1)

"""Generators that are not ours: what any method has to beat, and what the figures must expose."""

import numpy as np
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture


class RowsOf:
    """Rows of a class: of held-out rows the best that can be hoped for, of training rows a copycat.

    Rows are drawn without replacement, as long as there are enough.
    """

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def generate(self, y, random_state=0):
        rng, rows = np.random.default_rng(random_state), np.empty((len(y), self.X.shape[1]))
        for label in np.unique(y):
            known, asked = np.flatnonzero(self.y == label), y == label
            shuffled = np.concatenate(
                [rng.permutation(known) for _ in range(-(-asked.sum() // len(known)))]
            )
            rows[asked] = self.X[shuffled[: asked.sum()]]
        return rows.astype(np.float32)


class GaussianPerClass:
    """One Gaussian a class, its covariance shrunk (oracle approximating shrinkage)."""

    def fit(self, X, y):
        self.laws = {label: OAS().fit(X[y == label]) for label in np.unique(y)}
        self.roots = {label: _root(law.covariance_) for label, law in self.laws.items()}
        return self

    def generate(self, y, random_state=0):
        rng, rows = np.random.default_rng(random_state), []
        for label in y:
            root = self.roots[label]
            rows.append(self.laws[label].location_ + root @ rng.normal(size=len(root)))
        return np.array(rows, dtype=np.float32).clip(0, 1)


class MixturePerClass:
    """A GaussianMixture a class on principal components: two lines of scikit-learn."""

    def __init__(self, n_components=3, n_dimensions=80):
        self.n_components, self.n_dimensions = n_components, n_dimensions

    def fit(self, X, y):
        self.pca = PCA(self.n_dimensions, random_state=0).fit(X)
        points = self.pca.transform(X).astype(np.float64)
        self.mixtures = {
            label: GaussianMixture(self.n_components, reg_covar=1e-3, random_state=0).fit(
                points[y == label]
            )
            for label in np.unique(y)
        }
        return self

    def generate(self, y, random_state=0):
        rng = np.random.default_rng(random_state)
        rows = np.empty((len(y), self.pca.n_features_in_), dtype=np.float32)
        for label, mixture in self.mixtures.items():
            asked = y == label
            if asked.any():
                mixture.random_state = int(rng.integers(2**31))
                points = mixture.sample(asked.sum())[0]
                # A mixture hands its draws out component by component.
                rows[asked] = self.pca.inverse_transform(rng.permutation(points))
        return rows.clip(0, 1)


def _root(covariance):
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(eigenvalues.clip(0))

"""New latents of a class from a small normalizing flow."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from skinvert.flows.build import FlowSettings, build_network
from skinvert.flows.training import train
from skinvert.models.training import local_seed, pinned_threads

__all__ = ["FlowSampler"]

_ROWS_SHOWN = 100_000
_NOISE = 0.1  # in spreads of a component: what keeps a flow from memorising few rows
_BATCH = 128


class FlowSampler:
    """A class-conditional coupling flow on principal components of the latents.

    It is trained by maximum likelihood on all classes together.

    Parameters
    ----------
    latents : ndarray of shape (n_rows, n_latents)
    columns : ndarray of int of shape (n_rows,)
    n_components : int, default=64
        Most principal components that are kept. What they leave out is set to the mean.
    seed : int, default=0

    Raises
    ------
    ValueError
        If there are fewer than two components, which a coupling cannot divide.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.models.latent_flow import FlowSampler
    >>> pool = np.random.default_rng(0).normal(size=(50, 3))
    >>> sampler = FlowSampler(pool, np.zeros(50, dtype=int))
    >>> sampler.latents(sampler.numbers(RowNoise([1, 2])), np.array([0, 0])).shape
    (2, 3)
    """

    def __init__(self, latents, columns, *, n_components=64, seed=0):
        kept = [c for c in np.unique(columns) if np.count_nonzero(columns == c) >= 2]
        rows = np.isin(columns, kept)
        n_kept = min(n_components, rows.sum(), latents.shape[1])
        if n_kept < 2:
            raise ValueError(
                f"sampler='flow' needs latents of two values and two rows of a class at least, got "
                f"{latents.shape[1]} values and {int(rows.sum())} such rows; use sampler='gmm'."
            )
        self.places = {column: place for place, column in enumerate(kept)}
        self.pca = PCA(n_kept, random_state=seed).fit(latents[rows])
        points = self.pca.transform(latents[rows]).astype(np.float64)
        codes = np.array([self.places[column] for column in columns[rows]])
        self.network = _trained(points, codes, len(kept), seed)

    def check_class(self, column, label):
        """Raise ValueError, which names the class, unless the flow saw two of its rows."""
        if column not in self.places:
            raise ValueError(
                f"class {label!r} has fewer than 2 rows in the data of fit, too few for a flow; "
                "fit on more rows."
            )

    def numbers(self, noise):
        """So many normal numbers as there are principal components."""
        return noise.normal(self.pca.n_components_).cpu().numpy().astype(np.float64)

    def latents(self, numbers, columns):
        """Latents (n, n_latents), float64, of classes `columns` from such numbers."""
        drawn = [
            # Row by row: a matrix product's bits can depend on the number of rows.
            self._points(torch.from_numpy(row[None]), self.places[column]) @ self.pca.components_
            for row, column in zip(numbers, columns, strict=True)
        ]
        return np.concatenate(drawn) + self.pca.mean_

    def _points(self, z, place):
        with torch.no_grad():
            return self.network.preprocessing.inverse(self.network.flow.inverse(z, place)).numpy()


def _trained(points, codes, n_classes, seed):
    """A flow in float64, whose whitening already is a Gaussian for each class."""
    settings = FlowSettings(
        architecture="coupling",
        objective="mle",
        kind_of_means="random",
        n_blocks=6,
        activation=False,
        negative_slope=1.0,
        bounded=False,
        max_condition=1.0,
        n_components=points.shape[1],
        n_mixture=1,
        hidden_size=64,
        noise=_NOISE,
        step=None,
        logit=None,
        cross_entropy_weight=0.0,
        image_shape=None,
        n_classes=n_classes,
        seed=seed,
    )
    with pinned_threads(1), local_seed(seed):
        _, network = train(
            None,
            build_network(settings, points, codes),
            points,
            codes,
            views=(),
            seed=seed,
            learning_rate=1e-3,
            batch_size=_BATCH,
            n_epochs=int(np.clip(_ROWS_SHOWN // len(points), 2, 50)),
            cooldown=0.5,
            patience=None,
            device="cpu",
            verbose=0,
        )
    return network.for_use()

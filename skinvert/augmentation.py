"""Generated rows beside real ones: a sampler that balances or grows a data set (ReGene, 6.8)."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.multiclass import check_classification_targets

from skinvert.base import GeneratorMixin
from skinvert.delegation import generate
from skinvert.regene import ReGene

__all__ = ["GenerativeSampler"]


class GenerativeSampler(BaseEstimator):
    """Add generated rows to a data set.

    It answers ``fit_resample``, imbalanced-learn's protocol, and works as a step of its Pipeline;
    that library is not needed for it.

    Parameters
    ----------
    generator : generator or Pipeline that ends in one, default=None
        Cloned, then fitted on the data. None is `ReGene`.
    sampling_strategy : "auto", float or dict, default="auto"
        How many rows are generated. "auto" lifts every class to the size of the largest; a number
        is the share of each class that is added, 1.0 for 100 %; a dict says how many rows each
        label shall have in the end, and leaves out labels that stay as they are.
    random_state : int or None, default=None
        Seed of the generation. The generator has a seed of its own.

    Attributes
    ----------
    generator_ : generator
        The fitted one.
    sample_counts_ : dict
        Generated rows of each label.

    Notes
    -----
    Section 6.8 adds 100 % of generated rows to all of the data. Generated rows come last.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.augmentation import GenerativeSampler
    >>> from skinvert.regene import ReGene
    >>> X, y = load_digits(return_X_y=True)
    >>> kept = np.r_[np.flatnonzero(y != 3)[:400], np.flatnonzero(y == 3)[:20]]
    >>> sampler = GenerativeSampler(ReGene(n_epochs=10, random_state=0), random_state=0)
    >>> X_more, y_more = sampler.fit_resample(X[kept], y[kept])
    >>> set(np.bincount(y_more)) == {np.bincount(y[kept]).max()}
    True
    """

    _doc_link_module = "skinvert"
    _doc_link_template = GeneratorMixin._doc_link_template

    def __init__(
        self,
        generator: Any = None,
        *,
        sampling_strategy: str | float | Mapping[Any, int] = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.generator = generator
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the generator.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as the generator takes them
        y : array-like of shape (n,)

        Returns
        -------
        self : object
        """
        check_classification_targets(y)
        self.sample_counts_ = self._counts(np.asarray(y))
        generator = ReGene() if self.generator is None else clone(self.generator)
        self.generator_ = generator.fit(X, y)
        return self

    def fit_resample(self, X: Any, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        """Fit the generator and return the data with generated rows after them.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or images as the generator takes them
        y : array-like of shape (n,)

        Returns
        -------
        X_resampled : ndarray of shape (m, n_features), or images as X
            A DataFrame comes back as one.
        y_resampled : ndarray of shape (m,)

        Raises
        ------
        ValueError
            For a strategy that asks for fewer rows than there are, or for unknown labels.
        """
        self.fit(X, y)
        labels = np.asarray(y)
        wanted = np.repeat(
            np.array(list(self.sample_counts_), labels.dtype), list(self.sample_counts_.values())
        )
        if not len(wanted):
            return X, labels
        rows = generate(self.generator_, wanted, random_state=self.random_state)
        if hasattr(X, "iloc"):
            import pandas as pd

            more = pd.DataFrame(rows, columns=X.columns)
            return pd.concat([X, more], ignore_index=True), np.concatenate([labels, wanted])
        X = np.asarray(X)
        rows = rows.reshape(len(rows), *X.shape[1:])
        return np.concatenate([X, rows.astype(X.dtype)]), np.concatenate([labels, wanted])

    def _counts(self, y):
        labels, counts = np.unique(y, return_counts=True)
        counts = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        strategy = self.sampling_strategy
        if isinstance(strategy, str) and strategy == "auto":
            return {label: max(counts.values()) - n for label, n in counts.items()}
        if isinstance(strategy, Mapping):
            return _counts_asked(strategy, counts)
        if isinstance(strategy, Real) and not isinstance(strategy, bool) and strategy >= 0:
            return {label: round(strategy * n) for label, n in counts.items()}
        raise ValueError(
            f"sampling_strategy must be 'auto', a share of at least 0, or a dict of labels and "
            f"numbers of rows, got {strategy!r}."
        )


def _counts_asked(strategy, counts):
    unknown = [label for label in strategy if label not in counts]
    if unknown:
        raise ValueError(
            f"sampling_strategy names labels that y does not hold: {unknown[:5]}; known are "
            f"{list(counts)[:12]}."
        )
    too_few = {label: n for label, n in strategy.items() if n < counts[label]}
    if too_few:
        label, n = next(iter(too_few.items()))
        raise ValueError(
            f"sampling_strategy asks for {n} rows of class {label!r}, which has {counts[label]} "
            "already; rows are added, never removed."
        )
    return {label: int(n) - counts[label] for label, n in strategy.items()}

"""The figures of a report: how each is computed, what real rows score, and how sure it is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from skinvert.layout import columns_of
from skinvert.metrics.distribution import (
    frechet_distance,
    frechet_distance_at_infinity,
    kernel_distance,
    mind,
)
from skinvert.metrics.diversity import mode_coverage, relative_diversity
from skinvert.metrics.fidelity import (
    classification_accuracy_score,
    inception_score,
    judge_accuracy,
)
from skinvert.metrics.memorization import (
    authenticity,
    nearest_distances,
    ratio_of_distances,
)
from skinvert.metrics.neighbours import prdc

__all__ = ["FIGURES", "Against", "Bench", "Measured", "Rows"]

_MOST_HALVES = 20
_NORMAL_97 = 1.96  # of the two-sided 95 % interval

NEEDS = {
    "train": "it compares with the generator's training rows: pass X_train= and y_train=",
    "features": "it needs features: pass extractor=, a fitted transformer, or a judge with "
    "transform",
    "judge": "it needs judge=, a fitted classifier",
    "probabilities": "it needs a judge with predict_proba",
}


class Rows:
    """Images with labels, and what judge and extractor say of them, asked once.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
    judge : fitted classifier
    extractor : fitted transformer or None
    """

    def __init__(self, X, y, judge, extractor):
        self.X, self.y, self.judge, self.extractor, self.known = X, y, judge, extractor, {}

    def __len__(self):
        return len(self.y)

    @cached_property
    def features(self):
        return np.asarray(self.extractor.transform(self.X))

    @cached_property
    def probabilities(self):
        return np.asarray(self.judge.predict_proba(self.X), dtype=np.float64)

    def once(self, name, make):
        """What `make` gives, computed at the first call of this name."""
        if name not in self.known:
            self.known[name] = make()
        return self.known[name]

    def distances_to(self, others):
        """Distance of each row to the nearest of the other `Rows`, which live as long as these."""
        return self.once(("nearest", id(others)), lambda: nearest_distances(self.X, others.X))

    def halves(self, n_halves, seed):
        """Random halves of each class, the same for every figure."""
        rng = np.random.default_rng(seed)
        return self.once("halves", lambda: [self.half(rng)[0] for _ in range(n_halves)])

    def half(self, rng):
        """A random half of each class, and the rest."""
        kept = _draw_of_classes(self.y, lambda n: n // 2, rng)
        return Part(self, kept), Part(self, np.setdiff1d(np.arange(len(self)), kept))

    def draw(self, most, rng):
        """At most so many random rows of each class."""
        return Part(self, _draw_of_classes(self.y, lambda n: min(n, most), rng))


class Part(Rows):
    """Some of the rows, which are copied only where a figure asks for them."""

    def __init__(self, whole, index):
        self.whole, self.index, self.y, self.known = whole, index, whole.y[index], {}
        self.judge, self.extractor = whole.judge, whole.extractor

    @property
    def X(self):
        return self.whole.X[self.index]

    @property
    def features(self):
        return self.whole.features[self.index]

    @property
    def probabilities(self):
        return self.whole.probabilities[self.index]

    def distances_to(self, others):
        return self.whole.distances_to(others)[self.index]


def _draw_of_classes(y, how_many, rng):
    kept = []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        kept.append(rng.permutation(members)[: how_many(len(members))])
    return np.sort(np.concatenate(kept))


class Against(NamedTuple):
    """The real rows that others are compared with."""

    test: Rows
    train: Rows | None


class Measured(NamedTuple):
    """One line of a report.

    Attributes
    ----------
    value : float
    floor : float
        What real rows score in place of the generated ones.
    low, high : float
        Ends of the 95 % interval of the value.
    n : int
        Generated rows.
    seconds : float
    """

    value: float
    floor: float
    low: float
    high: float
    n: int
    seconds: float


@dataclass(frozen=True)
class Figure:
    """How one figure is computed.

    Attributes
    ----------
    value : callable
        ``value(bench, rows, against)``, a float or a pair of a float and its standard error.
    real : {"test", "draw", "half"}
        Which real rows stand in for generated ones; see `Bench.floor`.
    interval : {"share", "test_share", "confidence", "halves", "error"}
        See `Bench.interval`.
    needs : str or None
        A key of `NEEDS`.
    better : {"higher", "lower", "one"}
        "one": best where generated rows are as real ones.
    range : tuple (low, high)
        Values that it can take.
    """

    value: Callable
    real: str = "draw"
    interval: str = "halves"
    needs: str | None = None
    better: str = "higher"
    range: tuple = (0.0, np.inf)


class Bench:
    """Real rows, a judge and an extractor: what all generators are measured on.

    Parameters
    ----------
    test : Rows
    train : Rows or None
    cas_judge : classifier
    n_per_class, n_bootstrap, seed : int
    """

    def __init__(self, test, train, cas_judge, n_per_class, n_bootstrap, seed):
        self.cas_judge = cas_judge
        self.n_per_class, self.n_bootstrap, self.seed = n_per_class, n_bootstrap, seed
        self.against = Against(test, train)
        self._floors = {}

    @cached_property
    def _stand_ins(self):
        """Real rows in the place of generated ones, and what they are compared with."""
        test, train = self.against
        rng = np.random.default_rng(self.seed)
        one_half, other_half = test.half(rng)
        halves = one_half, Against(other_half, train)
        if train is None:
            drawn = Part(test, one_half.index).draw(self.n_per_class, rng), halves[1]
        else:
            drawn = train.draw(self.n_per_class, rng), self.against
        return {"test": (test, self.against), "half": halves, "draw": drawn}

    @property
    def n_drawn(self):
        """Real rows behind the floors of distances, and of the training behind "cas"."""
        return len(self._stand_ins["draw"][0])

    def floor(self, name):
        """The figure with real rows in the place of the generated ones, computed once."""
        if name not in self._floors:
            rows, against = self._stand_ins[FIGURES[name].real]
            self._floors[name] = self.value(name, rows, against)[0]
        return self._floors[name]

    def value(self, name, rows, against=None):
        """A figure, and its standard error where its function gives one."""
        if against is None:
            against = self._stand_ins["half"][1] if FIGURES[name].real == "half" else self.against
        found = FIGURES[name].value(self, rows, against)
        return found if isinstance(found, tuple) else (float(found), None)

    def interval(self, name, rows, value, error):
        """Ends of the 95 % interval of a figure.

        Shares and means over rows: percentiles of `n_bootstrap` bootstrap samples. Figures of
        whole sets, in which the repeated rows of a bootstrap sample would look like a lack of
        variety: 1.96 standard deviations of the figure over at most 20 random halves of each class
        of generated rows (a half drawn without replacement varies as the whole does from draw to
        draw).
        """
        figure = FIGURES[name]
        rng = np.random.default_rng(self.seed)
        if figure.interval == "confidence":
            sure = _confidences(rows)
            chosen = rng.integers(len(sure), size=(self.n_bootstrap, len(sure)))
            return np.quantile(sure[chosen].mean(1), [0.025, 0.975])
        if figure.interval in ("share", "test_share"):
            # Resampling n rows of which a share is right is a binomial draw.
            n = len(rows) if figure.interval == "share" else len(self.against.test)
            unit = self.floor("cas") if name == "cas_ratio" else 1.0
            right = rng.binomial(n, np.clip(value * unit, 0, 1), size=self.n_bootstrap) / n
            return np.quantile(right, [0.025, 0.975]) / unit
        if figure.interval == "halves":
            halves = rows.halves(min(self.n_bootstrap, _MOST_HALVES), self.seed)
            error = np.std([self.value(name, half)[0] for half in halves], ddof=1)
        ends = value + np.array([-_NORMAL_97, _NORMAL_97]) * error
        return np.clip(ends, *figure.range)

    def missing(self, name):
        """Why a figure cannot be had here, or None."""
        need = FIGURES[name].needs
        have = {
            "train": self.against.train is not None,
            "judge": self.against.test.judge is not None,
            "features": self.against.test.extractor is not None,
            "probabilities": hasattr(self.against.test.judge, "predict_proba"),
        }
        return NEEDS[need] if need and not have[need] else None


def _confidences(rows):
    columns = columns_of(rows.y, rows.judge.classes_)
    return rows.probabilities[np.arange(len(rows)), columns]


def _judge_accuracy(bench, rows, against):
    return judge_accuracy(rows.judge, rows.X, rows.y)


def _judge_confidence(bench, rows, against):
    return _confidences(rows).mean()


def _cas(bench, rows, against):
    return rows.once(
        "cas",
        lambda: classification_accuracy_score(
            rows.X,
            rows.y,
            against.test.X,
            against.test.y,
            judge=bench.cas_judge,
            random_state=bench.seed,
        ),
    )


def _cas_ratio(bench, rows, against):
    return _cas(bench, rows, against) / bench.floor("cas")


def _inception_score(bench, rows, against):
    n_splits = min(10, len(rows) // 2)
    mean, std = inception_score(rows.probabilities, n_splits=n_splits, random_state=bench.seed)
    return mean, std / np.sqrt(n_splits)


def _frechet(bench, rows, against):
    return frechet_distance(rows.features, against.test.features)


def _seeded(distance):
    return lambda bench, rows, against: distance(
        rows.features, against.test.features, random_state=bench.seed
    )


def _of_neighbours(name):
    return lambda bench, rows, against: rows.once(
        "prdc", lambda: prdc(rows.features, against.test.features)
    )[name]


def _diversity(bench, rows, against):
    return relative_diversity(rows.X, rows.y, against.test.X, against.test.y)


def _mode_coverage(bench, rows, against):
    # Several rows for each mode, and as many modes for the floor as for the figure.
    n_modes = int(np.clip(len(bench.against.test) // 10, 1, 100))
    return mode_coverage(
        rows.features, against.test.features, n_modes=n_modes, random_state=bench.seed
    )


def _authenticity(bench, rows, against):
    return authenticity(rows.X, against.train.X)


def _nearest_distance_ratio(bench, rows, against):
    return ratio_of_distances(rows.distances_to(against.train), rows.distances_to(against.test))


_ANY, _SHARE = (-np.inf, np.inf), (0.0, 1.0)
_DISTANCE: dict[str, Any] = {"needs": "features", "better": "lower"}
FIGURES = {
    "judge_accuracy": Figure(_judge_accuracy, "test", "share", "judge"),
    "judge_confidence": Figure(_judge_confidence, "test", "confidence", "probabilities"),
    "cas": Figure(_cas, interval="test_share"),
    "cas_ratio": Figure(_cas_ratio, interval="test_share"),
    "fd": Figure(_frechet, **_DISTANCE),
    "fd_inf": Figure(_seeded(frechet_distance_at_infinity), **_DISTANCE, range=_ANY),
    "kid": Figure(_seeded(kernel_distance), interval="error", **_DISTANCE, range=_ANY),
    "mind": Figure(_seeded(mind), **_DISTANCE),
    "precision": Figure(_of_neighbours("precision"), interval="share", needs="features"),
    "recall": Figure(_of_neighbours("recall"), needs="features", range=_SHARE),
    "density": Figure(_of_neighbours("density"), needs="features"),
    "coverage": Figure(_of_neighbours("coverage"), needs="features", range=_SHARE),
    "inception_score": Figure(_inception_score, "test", "error", "probabilities"),
    "diversity": Figure(_diversity, better="one"),
    "mode_coverage": Figure(_mode_coverage, needs="features", range=_SHARE),
    "authenticity": Figure(_authenticity, "test", "share", "train"),
    "nearest_distance_ratio": Figure(_nearest_distance_ratio, "half", needs="train"),
}

"""One call that measures a generator: every figure beside its floor, its interval and its cost."""

import time
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skinvert.delegation import generate
from skinvert.layout import flatten_images, resolve_image_shape
from skinvert.metrics._checks import check_labels, check_rows
from skinvert.metrics._figures import FIGURES, Bench, Measured, Rows
from skinvert.metrics.extractors import NeutralJudge

__all__ = ["Comparison", "Evaluation", "compare", "evaluate"]

_ALWAYS = ("diversity", "authenticity")  # what no report on quality goes without
_LEAST_OF_CLASS = 10


def evaluate(
    estimator: Any,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    judge: Any,
    n_per_class: int = 100,
    metrics: str | list = "all",
    X_train: ArrayLike | None = None,
    y_train: ArrayLike | None = None,
    extractor: Any = None,
    cas_judge: Any = None,
    n_bootstrap: int = 200,
    random_state: int = 0,
) -> "Evaluation":
    """Measure a generator on real rows that neither it nor its classifier ever saw.

    For each class in `y_test`, `n_per_class` images are generated and compared with the real rows.

    Parameters
    ----------
    estimator : fitted generator, Pipeline that ends in one, or search over either
        Anything with ``generate(y, random_state=…)``.
    X_test : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
        In the units that the generator was fitted in.
    y_test : array-like of shape (n,)
        At least two rows of each class.
    judge : fitted classifier
        One that never saw the generator's training rows: a `NeutralJudge`, or any scikit-learn
        classifier.
    n_per_class : int, default=100
        At least 10.
    metrics : "all" or list of str, default="all"
        Names of the table below. A diversity and a memorisation figure are always added. With
        "all", what cannot be had here is reported as NaN with a note.
    X_train : array-like of shape (n_train, n_features), or images, default=None
        What the generator was fitted on. Memorisation cannot be measured without it.
    y_train : array-like of shape (n_train,), default=None
        Labels of `X_train`.
    extractor : fitted transformer, default=None
        What gives the features of all distances. None takes the judge, where it has ``transform``.
    cas_judge : scikit-learn classifier, default=None
        Is trained on the generated rows. None is a `NeutralJudge` without random views, on the
        CPU: convolutions for images, dense layers for other rows.
    n_bootstrap : int, default=200
        Resamples behind the intervals.
    random_state : int, default=0
        Seeds generation, training, projections and resampling. The same call gives the same
        figures to the last digit, on the same machine.

    Returns
    -------
    evaluation : Evaluation
        Prints as a table.

    Raises
    ------
    TypeError
        If the estimator has no ``generate``.
    ValueError
        For too few rows, NaN, unknown metrics, a judge or training rows that lack a class, and
        metrics asked for by name that cannot be had.

    Notes
    -----
    The floor is the figure with real rows in place of the generated ones, as follows. *Test*: all
    of `X_test`. *Draw*: up to `n_per_class` rows a class of `X_train`, against `X_test`; without
    `X_train`, up to as many of one half of `X_test` against its other half, which has fewer rows
    and hence more bias. *Half*: one half of `X_test` against `X_train` and its other half; the
    generated rows are compared with that other half too, for the nearest row of more is nearer.

    ==========================  =======================================================  =========
    name                        what                                                     floor
    ==========================  =======================================================  =========
    judge_accuracy              share called by its label by the judge                   test
    judge_confidence            mean probability that the judge gives to the label       test
    cas                         accuracy on X_test of `cas_judge` trained on generated   draw
                                rows
    cas_ratio                   that over the accuracy of the same judge trained on the  draw: 1
                                real rows of the floor, as many a class where there
                                are so many
    fd                          Fréchet distance, ``fd_<extractor>`` in the report       draw
    fd_inf                      the same for infinitely many rows                        draw
    kid                         squared kernel distance, unbiased                        draw
    mind                        sliced Wasserstein distance                              draw
    precision, recall,          nearest-neighbour balls of features                      draw
    density, coverage
    inception_score             with the probabilities of the judge                      test
    diversity                   within-class distance relative to X_test                 draw
    mode_coverage               share of the modes of X_test that are met                draw
    authenticity                share that is no near copy of a row of X_train           test
    nearest_distance_ratio      distance to X_train over that to X_test                  half
    ==========================  =======================================================  =========

    Intervals are of 95 %, over what was generated; the real rows are held fixed. Shares and means
    over rows have the percentiles of `n_bootstrap` bootstrap samples of the generated rows.
    Figures of whole sets (where a bootstrap sample's repeated rows would look like a lack of
    variety) have ± 1.96 standard deviations of the figure over at most 20 random halves of the
    generated rows, drawn without replacement from each class: a half varies about the whole as the
    whole varies about the truth. `kid` and `inception_score` have ± 1.96 of their own standard
    errors, that of `kid` over the real rows too. `cas` is not trained again: its interval is over
    the test rows.

    ``seconds`` is the time of the figure and its interval. What figures share (features, the
    training behind `cas`) counts where it is first asked for, floors apart.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> import skinvert
    >>> from skinvert.metrics import evaluate
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = skinvert.InputOptimizationGenerator(random_state=0).fit(X[:600], y[:600])
    >>> judge = LogisticRegression(max_iter=1000).fit(X[600:1200], y[600:1200])
    >>> evaluation = evaluate(
    ...     generator, X[1200:], y[1200:], judge=judge, n_per_class=10,
    ...     X_train=X[:600], y_train=y[:600], metrics=["judge_accuracy"])
    >>> evaluation.figures["judge_accuracy"].value > 0.7
    True
    >>> list(evaluation.figures)
    ['judge_accuracy', 'diversity', 'authenticity']
    """
    bench = make_bench(
        X_test,
        y_test,
        judge=judge,
        n_per_class=n_per_class,
        X_train=X_train,
        y_train=y_train,
        extractor=extractor,
        cas_judge=cas_judge,
        n_bootstrap=n_bootstrap,
        random_state=random_state,
    )
    return _measure(estimator, bench, metrics)


def compare(
    estimators: dict,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    metrics: str | list = "all",
    **arguments: Any,
) -> "Comparison":
    """Measure several generators on the same rows, and print them side by side.

    Parameters
    ----------
    estimators : dict of str to generator
        Fitted, as `evaluate` takes them.
    X_test : array-like of shape (n, n_features), or images (n, H, W) or (n, C, H, W)
        Real rows that none of them ever saw.
    y_test : array-like of shape (n,)
        At least two rows of each class.
    metrics : "all" or list of str, default="all"
        Names of the table of `evaluate`.
    **arguments
        As of `evaluate`; `judge` is required.

    Returns
    -------
    comparison : Comparison
        Prints as a table with a column for each generator and one for the floor.

    Raises
    ------
    TypeError, ValueError
        As `evaluate`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert.metrics import compare
    >>> class Copycat:
    ...     def __init__(self, X, y):
    ...         self.X, self.y = X, y
    ...     def generate(self, y, random_state=0):
    ...         rng = np.random.default_rng(random_state)
    ...         return np.array([rng.choice(self.X[self.y == label]) for label in y])
    >>> X, y = load_digits(return_X_y=True)
    >>> comparison = compare(
    ...     {"copycat": Copycat(X[:600], y[:600])}, X[1200:], y[1200:],
    ...     judge=LogisticRegression(max_iter=1000).fit(X[600:1200], y[600:1200]), n_per_class=10,
    ...     X_train=X[:600], y_train=y[:600], metrics=["judge_accuracy"])
    >>> comparison["copycat"].figures["authenticity"].value
    0.0
    """
    if not isinstance(estimators, dict) or not estimators:
        raise TypeError(
            "estimators must be a dict of names and at least one generator, got "
            f"{type(estimators).__name__}; for a single one call evaluate."
        )
    bench = make_bench(X_test, y_test, **arguments)
    return Comparison(
        **{name: _measure(estimator, bench, metrics) for name, estimator in estimators.items()}
    )


def make_bench(
    X_test,
    y_test,
    *,
    judge,
    n_per_class=100,
    X_train=None,
    y_train=None,
    extractor=None,
    cas_judge=None,
    n_bootstrap=200,
    random_state=0,
):
    """Check what `evaluate` is given, and set it up once for any number of generators."""
    for name, number, least in (
        ("n_per_class", n_per_class, 1),
        ("n_bootstrap", n_bootstrap, 2),
        ("random_state", random_state, 0),
    ):
        if not isinstance(number, Integral) or number < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {number!r}.")
    if judge is not None:
        check_is_fitted(judge)
    if extractor is None and hasattr(judge, "transform"):
        extractor = judge
    test = _real_rows(X_test, y_test, "test", judge, extractor)
    train = None
    if X_train is not None:
        if y_train is None:
            raise ValueError("X_train came without y_train, which the floors need; pass both.")
        train = _real_rows(X_train, y_train, "train", judge, extractor)
        _check_train(train, test)
    if cas_judge is None:
        cas_judge = _small_network(X_test, judge, test.X.shape[1], random_state)
    return Bench(test, train, cas_judge, n_per_class, n_bootstrap, random_state)


def _real_rows(X, y, name, judge, extractor):
    rows = check_rows(X, f"X_{name}").astype(np.float32)
    labels = check_labels(y, len(rows), f"y_{name}")
    known = getattr(judge, "classes_", labels).tolist()
    unknown = sorted(set(labels.tolist()) - set(known))
    if name == "test" and unknown:
        raise ValueError(
            f"the judge knows no class {unknown[:5]}, but y_test holds it; known are {known[:12]}. "
            "Fit the judge on rows of every class, or leave that one out of the test."
        )
    return Rows(rows, labels, judge, extractor)


def _check_enough(bench):
    """Halves of generated and real rows must hold something of each class."""
    if bench.n_per_class < _LEAST_OF_CLASS:
        raise ValueError(
            f"n_per_class must be at least {_LEAST_OF_CLASS}, for intervals come from halves; got "
            f"{bench.n_per_class}."
        )
    classes, counts = np.unique(bench.against.test.y, return_counts=True)
    if counts.min() < 2:
        lonely = classes[counts < 2].tolist()
        raise ValueError(
            f"y_test holds 1 row of each of the classes {lonely[:5]}, expected at least 2. Hold "
            "out more rows, or leave these classes out."
        )


def _check_train(train, test):
    if train.X.shape[1] != test.X.shape[1]:
        raise ValueError(
            f"X_train is {train.X.shape[1]} wide and X_test {test.X.shape[1]}; expected rows of "
            "the same kind."
        )
    lacking = sorted(set(test.y.tolist()) - set(train.y.tolist()))
    if lacking:
        raise ValueError(
            f"y_train lacks the classes {lacking[:5]} of y_test; pass all rows that the generator "
            "was fitted on, or leave these classes out of the test."
        )


def _small_network(X_test, judge, n_features, seed):
    shape = flatten_images(X_test)[1] or getattr(judge, "image_shape_", None)
    return NeutralJudge(
        image_shape=resolve_image_shape(shape, None, n_features),
        augmentation=None,
        random_state=seed,
        device="cpu",  # where the same training gives the same bits
    )


def check_metrics(metrics):
    """Names of figures in the order of the report, or an error that lists them."""
    if isinstance(metrics, str) and metrics == "all":
        return list(FIGURES)
    asked = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in asked if name not in FIGURES]
    if unknown:
        raise ValueError(f"unknown metrics {unknown}; expected 'all' or some of {list(FIGURES)}.")
    return [name for name in FIGURES if name in asked or name in _ALWAYS]


def check_possible(bench, names):
    """Refuse figures that were asked for by name and cannot be had."""
    for name in names:
        reason = bench.missing(name)
        if reason:
            raise ValueError(f"the metric {name!r} cannot be had: {reason}.")


def generated_rows(estimator, bench):
    """Images of every class of the test rows."""
    test = bench.against.test
    # Class by turns: generators that share work between classes then do it once.
    y = np.tile(np.unique(test.y), bench.n_per_class)
    X = check_rows(generate(estimator, y, random_state=bench.seed), "generate(y)")
    if X.shape != (len(y), test.X.shape[1]):
        raise ValueError(
            f"generate gave {X.shape[0]} rows of {X.shape[1]} values for {len(y)} labels; expected "
            f"one of {test.X.shape[1]}, as X_test has, for each."
        )
    return Rows(X.astype(np.float32), y, test.judge, test.extractor)


def _measure(estimator, bench, metrics):
    names = check_metrics(metrics)
    _check_enough(bench)
    if metrics != "all":
        check_possible(bench, [name for name in names if name not in _ALWAYS])
    start = time.perf_counter()
    rows = generated_rows(estimator, bench)
    generation = time.perf_counter() - start
    figures = {_printed(name, bench): _measured(name, rows, bench) for name in names}
    reasons = {name: bench.missing(name) for name in names}
    notes = [f"{name}: {reason}." for name, reason in reasons.items() if reason]
    if bench.n_drawn < len(rows):
        notes.append(
            f"floors of distances and of cas: from {bench.n_drawn} real rows, for there are not "
            f"{bench.n_per_class} of each class."
        )
    return Evaluation(
        figures=figures,
        n_generated=len(rows),
        n_test=len(bench.against.test),
        generation_seconds=generation,
        notes=notes,
    )


def _measured(name, rows, bench):
    if bench.missing(name):
        return Measured(*[np.nan] * 4, len(rows), 0.0)
    floor = bench.floor(name)
    start = time.perf_counter()
    value, error = bench.value(name, rows)
    low, high = bench.interval(name, rows, value, error)
    seconds = time.perf_counter() - start
    return Measured(float(value), float(floor), float(low), float(high), len(rows), seconds)


def _printed(name, bench):
    """Fréchet distances bear the name of their extractor: they are no published FID."""
    test = bench.against.test
    if name != "fd" or test.extractor is None:
        return name
    if test.extractor is test.judge:
        return "fd_judge"
    last = test.extractor[-1] if isinstance(test.extractor, Pipeline) else test.extractor
    return f"fd_{type(last).__name__.lower()}"


class Evaluation(Bunch):
    """What `evaluate` found; prints as a table.

    Attributes
    ----------
    figures : dict of str to tuple
        ``value``, ``floor`` (real rows in place of generated ones), ``low`` and ``high`` (of the
        95 % interval), ``n`` (generated rows) and ``seconds`` of each figure.
    n_generated, n_test : int
    generation_seconds : float
    notes : list of str
        What could not be had, and why, and whether floors come from fewer rows.

    Examples
    --------
    >>> from skinvert.metrics import Evaluation
    >>> Evaluation(figures={}, n_generated=10, n_test=20, generation_seconds=0.0, notes=[]).n_test
    20
    """

    def to_frame(self) -> Any:
        """The figures as a table.

        Returns
        -------
        frame : DataFrame
            A row for each figure; needs pandas.
        """
        import pandas as pd

        frame = pd.DataFrame(self.figures.values(), columns=Measured._fields)
        return frame.set_index(pd.Index(self.figures, name="figure"))

    def __str__(self):
        header = ["figure", "value", "floor", "95 % interval", "n", "seconds"]
        lines = [
            [
                name,
                _number(found.value),
                _number(found.floor),
                f"{_number(found.low)} to {_number(found.high)}",
                str(found.n),
                f"{found.seconds:.1f}",
            ]
            for name, found in self.figures.items()
        ]
        title = (
            f"{self.n_generated} generated images ({self.generation_seconds:.1f} s) "
            f"against {self.n_test} real rows"
        )
        return "\n".join([title, "", _table(header, lines), *self.notes])

    __repr__ = __str__


class Comparison(Bunch):
    """What `compare` found: an `Evaluation` for each name; prints as one table.

    Each cell is a value and half of its 95 % interval.

    Examples
    --------
    >>> from skinvert.metrics import Comparison, Evaluation
    >>> found = Evaluation(figures={}, n_generated=10, n_test=20, generation_seconds=0.0, notes=[])
    >>> list(Comparison(mine=found))
    ['mine']
    """

    def to_frame(self) -> Any:
        """All figures as one table.

        Returns
        -------
        frame : DataFrame
            A row for each generator and figure; needs pandas.
        """
        import pandas as pd

        frames = {name: evaluation.to_frame() for name, evaluation in self.items()}
        return pd.concat(frames, names=["generator", "figure"])

    def __str__(self):
        evaluations = list(self.values())
        lines = [
            [
                figure,
                _number(found.floor),
                *[_with_half_width(evaluation.figures[figure]) for evaluation in evaluations],
            ]
            for figure, found in evaluations[0].figures.items()
        ]
        seconds = [f"{evaluation.generation_seconds:.1f}" for evaluation in evaluations]
        lines.append(["generation seconds", "", *seconds])
        n = evaluations[0].n_generated, evaluations[0].n_test
        title = f"{n[0]} generated images each, against {n[1]} real rows"
        table = _table(["figure", "floor", *self], lines)
        return "\n".join([title, "", table, *evaluations[0].notes])

    __repr__ = __str__


def _with_half_width(found):
    return f"{_number(found.value)} ±{_number((found.high - found.low) / 2)}"


def _number(value):
    """Three decimals for shares, fewer for large values, and an exponent for the smallest."""
    size = abs(value)
    if np.isnan(value) or size == 0 or 0.001 <= size < 10:
        return f"{value:.3f}"
    return f"{value:.1e}" if size < 0.001 else f"{value:.{1 if size < 1000 else 0}f}"


def _table(header, lines):
    """Aligned columns: names to the left, numbers to the right."""
    cells = [header, *lines]
    widths = [max(len(line[k]) for line in cells) for k in range(len(header))]
    aligned = [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join([aligned[0], "  ".join("-" * width for width in widths), *aligned[1:]])

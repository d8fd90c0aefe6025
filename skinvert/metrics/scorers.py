"""Scorers for searches and cross-validation: a figure of a generator, higher is better."""

from collections.abc import Callable
from typing import Any

from skinvert.metrics._figures import FIGURES
from skinvert.metrics.evaluation import check_possible, generated_rows, make_bench

__all__ = ["cas_scorer", "make_generator_scorer"]


def make_generator_scorer(
    metric: str,
    *,
    judge: Any = None,
    n_per_class: int = 50,
    extractor: Any = None,
    cas_judge: Any = None,
    random_state: int = 0,
) -> Callable:
    """Make a scorer ``(estimator, X, y) -> float`` of one figure of `evaluate`.

    Parameters
    ----------
    metric : str
        A name of the table of `evaluate`, but not those that need the training rows, which no
        scorer is given, and not "cas_ratio".
    judge : fitted classifier, default=None
        Only "cas" and "diversity" go without, and distances where there is an `extractor`.
    n_per_class : int, default=50
        Images of each class of y.
    extractor : fitted transformer, default=None
        None takes the judge, where it has ``transform``.
    cas_judge : scikit-learn classifier, default=None
        As of `evaluate`; logistic regression is much cheaper than the network that None trains.
    random_state : int, default=0
        Seed of the images: all settings of a search start from the same noise.

    Returns
    -------
    scorer : callable
        Higher is better: distances have their sign changed, and "diversity", which is best at 1,
        is scored by minus its distance from 1.

    Raises
    ------
    ValueError
        For an unknown metric, and for one that cannot be had from what is given.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV, StratifiedKFold
    >>> import skinvert
    >>> from skinvert.metrics import make_generator_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> judge = LogisticRegression(max_iter=1000).fit(X[600:], y[600:])
    >>> search = GridSearchCV(
    ...     skinvert.InputOptimizationGenerator(LogisticRegression(max_iter=1000), random_state=0),
    ...     {"prior_weight": [0.03, 10.0]}, error_score="raise", cv=StratifiedKFold(2),
    ...     scoring=make_generator_scorer("judge_accuracy", judge=judge, n_per_class=10))
    >>> search.fit(X[:300], y[:300]).best_params_
    {'prior_weight': 0.03}
    """
    excluded = [name for name in FIGURES if FIGURES[name].needs == "train"] + ["cas_ratio"]
    possible = [name for name in FIGURES if name not in excluded]
    if metric not in possible:
        raise ValueError(f"no scorer of the metric {metric!r}; expected one of {possible}.")
    return _GeneratorScorer(
        metric,
        judge=judge,
        n_per_class=n_per_class,
        extractor=extractor,
        cas_judge=cas_judge,
        random_state=random_state,
    )


class _GeneratorScorer:
    """A class and no closure: worker processes are sent scorers."""

    def __init__(self, metric, **arguments):
        self.metric, self.arguments = metric, arguments

    def __repr__(self):
        given = {name: value for name, value in self.arguments.items() if value is not None}
        listed = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"make_generator_scorer({self.metric!r}, {listed})"

    def __call__(self, estimator, X, y):
        bench = make_bench(X, y, **self.arguments)
        check_possible(bench, [self.metric])
        value, _ = bench.value(self.metric, generated_rows(estimator, bench))
        better = FIGURES[self.metric].better
        if better == "one":
            return -abs(value - 1.0)
        return -value if better == "lower" else value


cas_scorer = make_generator_scorer("cas")

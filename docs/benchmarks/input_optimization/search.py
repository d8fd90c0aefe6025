"""GridSearchCV over λ on digits: does the score find it, and how long does that take?

``python docs/benchmarks/input_optimization/search.py``
"""

import numpy as np
from _common import Stopwatch, write
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier

from skinvert import InputOptimizationGenerator, metrics

WEIGHTS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)


def main():
    rows = []
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    for seed in (0, 1, 2):
        rest, X_test, rest_y, y_test = train_test_split(X, y, stratify=y, random_state=seed)
        X_net, X_search, y_net, y_search = train_test_split(
            rest, rest_y, test_size=0.5, stratify=rest_y, random_state=seed
        )
        classifier = MLPClassifier((64,), max_iter=400, random_state=seed).fit(X_net, y_net)
        generator = InputOptimizationGenerator(
            FrozenEstimator(classifier), prior="mean", init="noise", n_steps=60, random_state=seed
        )
        search = GridSearchCV(
            generator,
            {"prior_weight": WEIGHTS},
            cv=StratifiedKFold(3),
            error_score="raise",
        )
        with Stopwatch() as watch:
            search.fit(X_search, y_search)
        held_out = {
            weight: metrics.classification_accuracy_score(
                search.best_estimator_.set_params(prior_weight=weight).generate(y_search),
                y_search,
                X_test,
                y_test,
            )
            for weight in WEIGHTS
        }
        chosen = search.best_params_["prior_weight"]
        rows.append(
            [
                seed,
                chosen,
                f"{held_out[chosen]:.3f}",
                f"{max(held_out.values()):.3f}",
                f"{max(held_out.values()) - held_out[chosen]:.3f}",
                f"{watch.wall:.0f}",
            ]
        )
    write(
        "search",
        "GridSearchCV over six λ, three folds, frozen MLP, digits",
        ["seed", "λ chosen", "judge on held-out rows", "best of the six", "lost", "seconds"],
        rows,
        notes=[
            "The judge is logistic regression trained on generated rows, tested on "
            "rows that neither the classifier nor the search saw."
        ],
    )


if __name__ == "__main__":
    main()

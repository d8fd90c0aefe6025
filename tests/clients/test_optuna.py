"""A study of Optuna over λ, with the generator's own score as its objective."""

import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skinvert import InputOptimizationGenerator

optuna = pytest.importorskip("optuna", reason="Optuna comes with the extra tests")


@pytest.fixture(scope="module")
def generator(digits):
    X, y = digits
    classifier = FrozenEstimator(LogisticRegression(max_iter=500).fit(X[:200], y[:200]))
    return InputOptimizationGenerator(
        classifier, n_candidates=32, random_state=0, device="cpu"
    ).fit(X[200:400], y[200:400])


@pytest.mark.filterwarnings("ignore:in .* of the rows one of")
def test_a_study_finds_a_weight_and_finds_it_again(generator, digits):
    X, y = (part[400:500] for part in digits)

    def objective(trial):
        weight = trial.suggest_float("prior_weight", 1e-3, 1e3, log=True)
        # generate reads λ, so that nothing has to be fitted again.
        return generator.set_params(prior_weight=weight).score(X, y)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies = [
        optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        for _ in range(2)
    ]
    # Two weights that are known to differ, so that there is something to find.
    for study in studies:
        study.enqueue_trial({"prior_weight": 1e3})
        study.enqueue_trial({"prior_weight": 0.03})
        study.optimize(objective, n_trials=4)
    values = [[trial.value for trial in study.trials] for study in studies]
    assert values[0] == values[1], "the same seeds give the same study"
    assert studies[0].best_value == max(values[0]) > values[0][0] + 0.2
    assert objective(optuna.trial.FixedTrial(studies[0].best_params)) == studies[0].best_value

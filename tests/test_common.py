"""scikit-learn's own checks, on every public estimator."""

import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skinvert import DeepInversion, ImagineSynthesizer, InputOptimizationGenerator
from skinvert.inversion.coordinates import PixelLogit
from skinvert.inversion.parzen import ManifoldParzen

# {"EstimatorName": {"check_name": "a sentence saying why"}}
EXPECTED_FAILURES = {}

GENERATORS = [
    InputOptimizationGenerator(device="cpu"),
    InputOptimizationGenerator(prior="mean", init="noise", n_steps=2, device="cpu"),
    DeepInversion(n_steps=2, device="cpu"),
    ImagineSynthesizer(n_steps=(2, 2), device="cpu"),
]
HELPERS = [ManifoldParzen(), PixelLogit()]


@parametrize_with_checks(
    GENERATORS + HELPERS,
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES.get(type(estimator).__name__, {}),
    xfail_strict=True,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", GENERATORS)
def test_the_contract_is_really_exercised(estimator):
    # The suite is nearly empty, without a word, for estimators that are not tagged as 2-D.
    results = check_estimator(estimator, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) >= 41

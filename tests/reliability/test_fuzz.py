"""Calls with any arguments: a tenth of what docs/benchmarks/reliability/reliability.py counts."""

import pytest
from fuzz import fuzz
from subjects import METHODS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "table"])
@pytest.mark.parametrize("name", METHODS)
def test_any_arguments_give_a_result_or_an_error_that_names_them(name, kind):
    for call, count in fuzz(name, kind, n_cases=50).items():
        assert count["cases"] >= 50 or call == "sample", call
        assert count["succeeded"] >= 0.3 * count["cases"], call

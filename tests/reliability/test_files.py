"""Files: a tenth of what docs/benchmarks/reliability/reliability.py counts."""

import pytest
from files import corruptions, hostile


def test_corrupted_files_of_a_fitted_estimator_are_refused():
    assert corruptions(100) == (100, 0)


@pytest.mark.slow
def test_forged_files_of_every_method_are_refused():
    assert hostile(200) == (200, 0)

"""What "auto" stands for in a flow."""

import numpy as np
import pytest

from skinvert.flows.settings import resolved_clip, resolved_epochs


@pytest.mark.parametrize(("n_rows", "n_epochs"), [(10, 40), (2_000, 20), (4_000, 10), (10**6, 5)])
def test_many_rows_need_few_epochs(n_rows, n_epochs):
    assert resolved_epochs("auto", n_rows) == n_epochs
    assert resolved_epochs(3, n_rows) == 3


def test_clips():
    assert resolved_clip("auto", (2.0, 3.0)) == (2.0, 3.0)
    assert resolved_clip([0, 1], (2.0, 3.0)) == (0, 1)
    assert resolved_clip(None, (2.0, 3.0)) == (-np.inf, np.inf)


@pytest.mark.parametrize("clip", [(1.0, 0.0), (0.0,), (0.0, np.nan)])
def test_what_is_no_range_is_refused(clip):
    with pytest.raises(ValueError, match="clip must be"):
        resolved_clip(clip, (0.0, 1.0))

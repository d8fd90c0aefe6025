"""Which views are seen when: one list for all, or one for each part."""

import pytest

from skinvert.inversion.transforms import GaussianNoise, RandomHorizontalFlip, robust_stages
from skinvert.inversion.views import as_stages, stages_of_run

FLIP, NOISE = RandomHorizontalFlip(), GaussianNoise()


@pytest.mark.parametrize(
    ("transforms", "stages"),
    [
        (None, [[]]),
        ([], [[]]),
        ((FLIP, NOISE), [[FLIP, NOISE]]),
        ([[FLIP], []], [[FLIP], []]),
        (([FLIP], (NOISE,)), [[FLIP], (NOISE,)]),
    ],
)
def test_transforms_become_stages(transforms, stages):
    assert as_stages(transforms) == stages


def test_the_word_is_robust_stages():
    assert repr(as_stages("robust")) == repr(robust_stages())


def test_a_single_run_is_divided_by_all_stages():
    assert stages_of_run([[FLIP], [NOISE]], (10,), 0) == [[FLIP], [NOISE]]


def test_one_list_is_for_every_run():
    assert [stages_of_run([[FLIP]], (10, 20), run) for run in (0, 1)] == [[[FLIP]], [[FLIP]]]


def test_every_run_has_a_list_of_its_own():
    runs = [stages_of_run([[FLIP], [NOISE]], (10, 20), run) for run in (0, 1)]
    assert runs == [[[FLIP]], [[NOISE]]]


def test_other_numbers_of_lists_are_refused():
    with pytest.raises(ValueError, match="transforms has 2 stages"):
        stages_of_run([[], []], (1, 2, 3), 0)

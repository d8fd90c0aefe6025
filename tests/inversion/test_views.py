"""Which views are seen when: one list for all, or one for each part; rows know no others."""

import pytest
import torch

from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.transforms import (
    GaussianNoise,
    RandomAffine,
    RandomHorizontalFlip,
    robust_stages,
)
from skinvert.inversion.views import (
    as_stages,
    draw_view,
    random_views,
    staged_views,
    stages_of_run,
)

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


class TestStages:
    stages = ([RandomAffine(degrees=20)], [RandomHorizontalFlip(p=1.0), GaussianNoise()])

    def test_a_row_does_not_know_which_stage_its_neighbours_are_in(self):
        images = torch.rand(3, 1, 9, 9, generator=torch.Generator().manual_seed(0))
        mixed = staged_views(self.stages, images, RowNoise([1, 2, 3]), torch.tensor([0, 1, 0]))
        alike = staged_views(self.stages, images, RowNoise([1, 2, 3]), torch.tensor([0, 0, 0]))
        torch.testing.assert_close(mixed[[0, 2]], alike[[0, 2]], rtol=0, atol=0)
        assert not torch.allclose(mixed[1], alike[1])

    def test_one_stage_is_a_plain_view(self):
        images = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
        stage = torch.zeros(2, dtype=torch.long)
        staged = staged_views(self.stages[:1], images, RowNoise([1, 2]), stage)
        plain = random_views(self.stages[0], images, RowNoise([1, 2]))
        torch.testing.assert_close(staged, plain, rtol=0, atol=0)


def test_what_is_not_geometric_is_no_view():
    with pytest.raises(TypeError, match="GaussianNoise is not geometric"):
        draw_view([GaussianNoise()], RowNoise([0]), (1, 8, 8))
    with pytest.raises(ValueError, match="at least one"):
        draw_view([], RowNoise([0]), (1, 8, 8))

"""Counterfactual regions and references: where classes differ, and who answers for them."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.counterfactual import (
    changed_share,
    check_questions,
    find_regions,
    nearest_references,
)
from skinvert.models.frozen import FrozenClassifier


class Halves(nn.Module):
    """Class 0 is ink in the upper half, class 1 ink in the lower half."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.maps.weight)

    def forward(self, images):
        maps = self.maps(images)
        return torch.stack([maps[:, :, :4].sum((1, 2, 3)), maps[:, :, 4:].sum((1, 2, 3))], dim=1)


@pytest.fixture
def halves():
    return FrozenClassifier(Halves().eval(), (1, 8, 8))


def half(upper):
    picture = np.zeros((1, 1, 8, 8), np.float32)
    picture[:, :, slice(0, 4) if upper else slice(4, 8), 2:6] = 1
    return picture


def test_regions_cover_what_tells_the_classes_apart(halves):
    queries, references = half(True), half(False)
    columns = np.array([[0, 1]])
    regions, theirs = find_regions(
        halves, "maps", queries, references, columns, 0.5, batch_size=2, device="cpu"
    )
    ink = (queries + references)[0, 0] > 0
    assert regions[0][ink].mean() == 1, "what one has and the other lacks, on both sides"
    assert theirs[0][references[0, 0] > 0].all()


def test_regions_have_the_share_and_know_no_neighbours(halves):
    queries = np.concatenate([half(True), half(False), half(True)])
    references = queries[::-1][[1, 0, 1]]
    columns = np.array([[0, 1], [1, 0], [0, 1]])
    together, _ = find_regions(halves, "maps", queries, references, columns, 0.25, 2, "cpu")
    alone, _ = find_regions(
        halves, "maps", queries[1:2], references[1:2], columns[1:2], 0.25, 2, "cpu"
    )
    np.testing.assert_array_equal(together[1], alone[0])
    assert (together.sum((1, 2)) == 16).all()


def test_the_nearest_of_the_wanted_class_is_taken():
    stored = np.array([[0.0], [1.0], [5.0], [6.0]])
    places = nearest_references(
        np.array([[0.9], [5.1]]), stored, np.array([1, 0]), np.array([0, 0, 1, 1])
    )
    assert places.tolist() == [2, 1]


def test_questions_that_answer_themselves_are_refused():
    classes, stored = np.array(["ant", "bee", "cow"]), np.array([0, 1])
    check_questions(np.array([[0, 1], [1, 0]]), stored, classes)
    with pytest.raises(ValueError, match="row 1 of X 'bee' already"):
        check_questions(np.array([[0, 1], [1, 1]]), stored, classes)
    with pytest.raises(ValueError, match="no reference of class 'cow'"):
        check_questions(np.array([[0, 2]]), stored, classes)


def test_a_pixel_changes_with_any_of_its_channels():
    queries = np.zeros((2, 3, 2, 2))
    rows = queries.copy()
    rows[0, 1, 0, 0] = 0.5
    rows[1] = 0.05  # below a hundredth of the range
    found = changed_share(rows.reshape(2, -1), queries.reshape(2, -1), (3, 2, 2), (0.0, 10.0))
    assert found.tolist() == [0.25, 0.0]

"""Stored pictures are drawn by the row's own seed, from its own class."""

import numpy as np
import pytest

from skinvert.inversion.references import draw_references, places_of

CLASSES = np.array(["ant", "bee", "cow"])
STORED = np.array([0, 1, 0, 1, 1])


def test_places_are_those_of_the_class():
    assert places_of(1, STORED, CLASSES).tolist() == [1, 3, 4]


def test_a_class_without_a_picture_is_named():
    with pytest.raises(ValueError, match=r"no reference of class 'cow'.*\['ant', 'bee'\]"):
        places_of(2, STORED, CLASSES)


def test_rows_draw_from_their_class():
    columns = np.tile([0, 1], 100)
    drawn = draw_references(columns, range(200), STORED, CLASSES)
    assert (STORED[drawn] == columns).all()
    assert set(drawn) == set(range(5)), "every picture is drawn now and then"


def test_a_row_knows_nothing_of_its_neighbours():
    columns, seeds = np.array([1, 0, 1, 1]), [5, 6, 7, 8]
    together = draw_references(columns, seeds, STORED, CLASSES)
    alone = [
        int(draw_references(columns[[row]], [seeds[row]], STORED, CLASSES)[0]) for row in range(4)
    ]
    assert together.tolist() == alone

"""Views by matrices: the identity, views of views, and areas of rectangles."""

import pytest
import torch

from skinvert.inversion.geometry import (
    affine_matrices,
    apply_view,
    as_matrices,
    between,
    compose,
    rectangle_sides,
)


def waves(n=3, side=64):
    """Slow waves in double precision: resampling them twice is near resampling them once."""
    places = torch.linspace(-1, 1, side, dtype=torch.float64)
    phases = torch.arange(n, dtype=torch.float64)[:, None, None]
    return torch.sin(2 * places[:, None] + places + phases)[:, None]


def turned(n=3, angle=0.2, x=0.1, y=-0.05, zoom=1.1):
    numbers = (torch.full((n,), value, dtype=torch.float64) for value in (angle, x, y, zoom))
    return affine_matrices(*numbers, aspect=1.0)


def test_nothing_moves_under_the_identity():
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    images = waves()
    views = apply_view(images, as_matrices(one, zero, zero, zero, one, zero))
    torch.testing.assert_close(views, images, rtol=0, atol=1e-12)


def test_a_view_of_a_view_is_one_view():
    first, second = turned(), turned(angle=-0.1, x=-0.02, zoom=1.05)
    twice = apply_view(apply_view(waves(), first), second)
    once = apply_view(waves(), compose(first, second))
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))
    torch.testing.assert_close(twice[inside], once[inside], rtol=0, atol=2e-3)


def test_a_turn_and_its_inverse_are_none():
    angle, zero = torch.tensor([0.3], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    there = affine_matrices(angle, zero, zero, 1 + zero, aspect=1.0)
    back = affine_matrices(-angle, zero, zero, 1 + zero, aspect=1.0)
    expected = as_matrices(1 + zero, zero, zero, zero, 1 + zero, zero)
    torch.testing.assert_close(compose(there, back), expected)


@pytest.mark.parametrize("elongation", [0.0, 0.4, 1.0])
def test_sides_of_a_rectangle_multiply_to_its_area(elongation):
    area = torch.tensor([0.0, 0.5, 1.0])
    width, height = rectangle_sides((0.1, 0.3), (0.5, 2.0), area, torch.full((3,), elongation))
    torch.testing.assert_close(width * height, between((0.1, 0.3), area))
    assert ((width / height >= 0.5 - 1e-6) & (width / height <= 2 + 1e-6)).all()

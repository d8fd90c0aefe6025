"""Laws of the random views: identities, agreement with torchvision, rows, gradients, ranges."""

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skinvert.inversion.geometry import apply_view
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.transforms import (
    ColorJitter,
    GaussianNoise,
    RandomAffine,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    robust_stages,
)
from skinvert.inversion.views import draw_view, random_views

ALL = [
    RandomAffine(degrees=20, translate=(0.2, 0.1), scale=(0.8, 1.25)),
    RandomResizedCrop(scale=(0.3, 1.0), ratio=(0.75, 1.33)),
    RandomHorizontalFlip(),
    GaussianNoise(mean=0.1, sigma=0.2),
    ColorJitter(brightness=0.3, contrast=0.4, saturation=0.5),
    RandomErasing(p=0.8, scale=(0.1, 0.4)),
]
GEOMETRIC = ALL[:3]


def smooth_images(n, height, width, dtype=torch.float32):
    """Sums of slow waves, zero within a fifth of the border: resampling them is forgiving."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 6, 6, generator=generator, dtype=dtype)
    images = torch.nn.functional.interpolate(
        coarse, (height, width), mode="bicubic", align_corners=False
    )
    window = torch.zeros_like(images)
    top, left = height // 5, width // 5
    window[..., top:-top, left:-left] = 1
    return images.clamp(0, 1) * window


def affine_of(transform, noise, image_shape):
    """What the matrices of a RandomAffine mean, in torchvision's terms, row by row."""
    _, height, width = image_shape
    for matrix in transform.draw(noise, image_shape).double():
        full = torch.cat([matrix, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])
        half = torch.diag(torch.tensor([width / 2, height / 2, 1.0], dtype=torch.float64))
        forward = (half @ full @ half.inverse()).inverse()
        scale = float(torch.linalg.det(forward[:2, :2]).sqrt())
        angle = float(torch.rad2deg(torch.atan2(forward[1, 0], forward[0, 0])))
        yield angle, [float(forward[0, 2]), float(forward[1, 2])], scale


@pytest.mark.parametrize("size", [(40, 40), (60, 40), (41, 56)])
def test_affine_agrees_with_torchvision(size):
    images = smooth_images(4, *size)
    transform, image_shape = ALL[0], (3, *size)
    views = transform.apply(images, transform.draw(RowNoise(range(4)), image_shape))
    for row, (angle, shift, scale) in enumerate(
        affine_of(transform, RowNoise(range(4)), image_shape)
    ):
        assert -20 <= angle <= 20
        assert 0.8 <= scale <= 1.25
        assert abs(shift[0]) <= 0.2 * size[1] + 1e-4
        assert abs(shift[1]) <= 0.1 * size[0] + 1e-4
        expected = reference.affine(
            images[row],
            angle,
            shift,
            scale,
            shear=[0.0, 0.0],
            interpolation=reference.InterpolationMode.BILINEAR,
        )
        assert torch.allclose(views[row], expected, atol=2e-4)


def test_shifts_and_zooms_point_the_way_their_names_say():
    images = torch.zeros(1, 1, 9, 9)
    images[0, 0, 4, 4] = 1
    identity = torch.eye(2, 3)[None]
    right_and_down = identity.clone()
    right_and_down[0, :, 2] = -2 * 2 / 9  # the view reads two pixels left of and above its own
    shifted = RandomAffine().apply(images, right_and_down)
    assert torch.allclose(shifted, images.roll((2, 2), (2, 3)), atol=1e-5)
    drawn = RandomAffine(scale=(2.0, 2.0)).draw(RowNoise([0]), (1, 9, 9))
    assert RandomAffine().apply(images, drawn).sum() == pytest.approx(4.0, abs=1e-4)


@pytest.mark.parametrize("size", [(40, 40), (60, 40)])
def test_crop_agrees_with_torchvision(size):
    images, (height, width) = smooth_images(3, *size), size
    boxes = [(0, 0, height, width), (3, 5, height // 2, width // 2), (10, 8, 24, 20)]
    matrices = [
        [[w / width, 0, (2 * left + w) / width - 1], [0, h / height, (2 * top + h) / height - 1]]
        for top, left, h, w in boxes
    ]
    views = RandomResizedCrop().apply(images, torch.tensor(matrices))
    for row, (top, left, h, w) in enumerate(boxes):
        expected = reference.resized_crop(images[row], top, left, h, w, size, antialias=False)
        # torchvision cuts first, so its interpolation stops at the crop's edge.
        inside = (slice(None), slice(4, -4), slice(4, -4))
        assert torch.allclose(views[row][inside], expected[inside], atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    scale=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted).map(tuple),
    ratio=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(sorted).map(tuple),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 10**6),
)
def test_crops_lie_in_the_image_and_have_the_drawn_area(scale, ratio, height, width, seed):
    transform = RandomResizedCrop(scale=scale, ratio=ratio)
    matrices = transform.draw(RowNoise(range(seed, seed + 5)), (3, height, width))
    w, h, left, top = matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 0, 2], matrices[:, 1, 2]
    assert (left.abs() + w <= 1 + 1e-5).all()
    assert (top.abs() + h <= 1 + 1e-5).all()
    assert (w * h <= scale[1] + 1e-5).all()
    whole = (w < 1) & (h < 1)
    assert (w * h >= scale[0] - 1e-5)[whole].all()
    assert (w / h >= ratio[0] * (1 - 1e-4))[whole].all()
    assert (w / h <= ratio[1] * (1 + 1e-4))[whole].all()


def test_flip_is_torchvisions_and_twice_it_is_the_identity():
    images, drawn = torch.rand(4, 3, 7, 5), torch.tensor([True, False, True, False])
    flip = RandomHorizontalFlip()
    once = flip.apply(images, drawn)
    assert torch.equal(once[::2], reference.horizontal_flip(images[::2]))
    assert torch.equal(once[1::2], images[1::2])
    assert torch.equal(flip.apply(once, drawn), images)


def test_flips_come_as_often_as_asked():
    for p in (0.0, 0.3, 1.0):
        drawn = RandomHorizontalFlip(p).draw(RowNoise(range(2000)), (1, 4, 4))
        assert drawn.float().mean() == pytest.approx(p, abs=0.04)


@pytest.mark.parametrize(
    "transform",
    [
        RandomAffine(),
        RandomAffine(degrees=0, translate=(0, 0), scale=(1, 1)),
        RandomResizedCrop(scale=(1, 1)),
        RandomHorizontalFlip(0),
        GaussianNoise(sigma=0),
        ColorJitter(),
    ],
)
def test_transforms_that_change_nothing_are_the_identity(transform):
    images = torch.rand(3, 3, 7, 5)
    views = random_views([transform], images, RowNoise([1, 2, 3]))
    assert torch.allclose(views, images, atol=1e-5)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (0.0, 255.0), (-1.0, 3.0)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_colour_jitter_agrees_with_torchvision(n_channels, value_range):
    unit = torch.rand(4, n_channels, 8, 8)
    low, high = value_range
    transform = ColorJitter(0.8, 0.8, 0.8)
    drawn = transform.draw(RowNoise(range(4)), unit.shape[1:])
    assert ((drawn >= 0.2) & (drawn <= 1.8)).all()
    views = transform.apply(low + (high - low) * unit, drawn, value_range)
    for row, factors in enumerate(drawn.tolist()):
        expected = reference.adjust_brightness(unit[row], factors[0])
        expected = reference.adjust_contrast(expected, factors[1])
        expected = reference.adjust_saturation(expected, factors[2])
        assert torch.allclose((views[row] - low) / (high - low), expected, atol=1e-3)


def test_noise_has_the_asked_moments_in_units_of_the_value_range():
    transform, images = GaussianNoise(mean=0.1, sigma=0.2), torch.zeros(2, 1, 200, 200)
    for value_range, unit in [((0, 1), 1.0), ((-5, 5), 10.0), (None, 1.0)]:
        views = random_views([transform], images, RowNoise([3, 4]), value_range)
        assert views.mean() == pytest.approx(0.1 * unit, abs=0.01 * unit)
        assert views.std() == pytest.approx(0.2 * unit, abs=0.01 * unit)


def test_merged_geometry_is_one_view_after_the_other():
    images = smooth_images(4, 48, 40)
    seeds = RowNoise(range(4)), RowNoise(range(4))
    merged = random_views(GEOMETRIC, images, seeds[0])
    one_by_one = images
    for transform in GEOMETRIC:
        one_by_one = random_views([transform], one_by_one, seeds[1])
    # Each resampling blurs the window's edges a little; the merged one does so once.
    assert (merged - one_by_one).abs().mean() < 0.02
    assert (merged - images).abs().mean() > 0.08


def test_geometry_merges_exactly_where_the_image_is_linear():
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(20.0), indexing="ij")
    images = (x + 2 * y).expand(4, 1, 30, 20)
    transforms = [RandomResizedCrop(), RandomHorizontalFlip(), RandomResizedCrop((0.5, 0.7))]
    seeds = RowNoise(range(4)), RowNoise(range(4))
    merged = random_views(transforms, images, seeds[0])
    for transform in transforms:
        images = random_views([transform], images, seeds[1])
    assert torch.allclose(merged[..., 2:-2, 2:-2], images[..., 2:-2, 2:-2], atol=1e-3)


@pytest.mark.parametrize("transforms", [[t] for t in ALL] + [ALL])
def test_a_row_sees_its_own_generator_alone(transforms):
    images = torch.rand(3, 3, 9, 7)
    views = random_views(transforms, images, RowNoise([1, 2, 3]))
    others = images.clone()
    others[[0, 2]] = 0.5
    same_row = random_views(transforms, others, RowNoise([8, 2, 9]))
    assert torch.equal(views[1], same_row[1])
    again = random_views(transforms, images, RowNoise([1, 2, 3]))
    assert torch.equal(views, again)
    seeds = RowNoise([1, 2, 3, 4, 5, 6])
    rows = random_views(transforms, images[:1].expand(6, -1, -1, -1), seeds)
    assert not all(torch.equal(rows[0], row) for row in rows[1:])


@pytest.mark.parametrize("transforms", [[t] for t in ALL] + [GEOMETRIC])
def test_gradients_agree_with_finite_differences(transforms):
    # Well inside the value range: the cut of ColorJitter has a kink.
    images = (0.4 + 0.2 * torch.rand(2, 3, 5, 4, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: random_views(transforms, x, RowNoise([5, 6]), (-1.0, 2.0)), (images,)
    )


def test_borders_are_prolonged_not_blackened():
    views = random_views([RandomAffine(45, (0.3, 0.3))], torch.ones(5, 1, 8, 8), RowNoise(range(5)))
    assert torch.allclose(views, torch.ones_like(views))


def test_default_views_keep_layout_and_are_clonable():
    transforms = [clone(transform) for transform in robust_stages()[1]]
    images = torch.rand(2, 1, 28, 28)
    views = random_views(transforms, images, RowNoise([0, 1]))
    assert views.shape == images.shape
    assert views.dtype == images.dtype


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (RandomAffine(degrees=-3), "degrees=-3"),
        (RandomAffine(degrees=(5, -5)), "in order"),
        (RandomAffine(degrees=float("nan")), "degrees=nan"),
        (RandomAffine(translate=(0.1, 1.5)), "translate=1.5"),
        (RandomAffine(scale=(0, 1)), "above 0"),
        (RandomResizedCrop(scale=(0.6, 1.2)), "at most 1"),
        (RandomResizedCrop(scale=(0.9, 0.6)), "in order"),
        (RandomResizedCrop(ratio=(0, 1)), "ratio"),
        (RandomHorizontalFlip(p=1.5), "p=1.5"),
        (GaussianNoise(sigma=-0.1), "sigma=-0.1"),
        (GaussianNoise(mean=float("inf")), "mean=inf"),
        (ColorJitter(contrast=-1), "contrast=-1"),
        (ColorJitter(brightness=(0.5, "a")), "brightness"),
    ],
)
def test_bad_parameters_are_named(transform, message):
    with pytest.raises(ValueError, match=message):
        random_views([transform], torch.rand(1, 3, 8, 8), RowNoise([0]))


def test_a_number_for_a_pair_is_a_type_error():
    with pytest.raises(TypeError, match="pair"):
        RandomResizedCrop(scale=0.6).draw(RowNoise([0]), (3, 8, 8))


def test_shifts_alone_move_whole_pixels():
    images = torch.rand(20, 1, 12, 10, generator=torch.Generator().manual_seed(0))
    matrices = draw_view([RandomAffine(translate=(0.2, 0.2))], RowNoise(range(20)), (1, 12, 10))
    views = apply_view(images, matrices)
    inside = views[:, :, 4:8, 4:6]
    shifts = (matrices[:, :, 2] * torch.tensor([10, 12]) / 2).round().long()
    for image, part, (dx, dy) in zip(images, inside, shifts.tolist(), strict=True):
        expected = image[:, 4 + dy : 8 + dy, 4 + dx : 6 + dx]
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-5)


def test_erasing_covers_one_rectangle_of_the_drawn_area_as_torchvision():
    images = torch.rand(6, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    transform = RandomErasing(p=1, scale=(0.1, 0.3), ratio=(0.5, 2.0))
    drawn = transform.draw(RowNoise(range(6)), (3, 40, 60))
    area = (drawn[:, 2] - drawn[:, 0]) * (drawn[:, 3] - drawn[:, 1])
    assert ((area > 0.1 - 1e-6) & (area < 0.3 + 1e-6)).all()
    assert (drawn >= 0).all()
    assert (drawn <= 1 + 1e-6).all()
    for view, image, sides in zip(transform.apply(images, drawn), images, drawn, strict=True):
        left, right = (sides[[0, 2]] * 60).round().int().tolist()
        top, bottom = (sides[[1, 3]] * 40).round().int().tolist()
        mean = image.mean((1, 2), keepdim=True)
        expected = reference.erase(image, top, left, bottom - top, right - left, mean)
        assert torch.allclose(view, expected)


def test_erasing_comes_as_often_as_asked():
    drawn = RandomErasing(p=0.3).draw(RowNoise(range(500)), (1, 8, 8))
    assert (drawn[:, 2] > 0).float().mean() == pytest.approx(0.3, abs=0.08)
    assert not RandomErasing(p=0).draw(RowNoise(range(50)), (1, 8, 8)).any()


@pytest.mark.parametrize("shape", [(3, 9, 14), (1, 14, 9)])
def test_shifts_by_whole_pixels_are_what_resampling_makes_of_them(shape):
    transform = RandomAffine(translate=(0.3, 0.4))
    images = torch.rand(16, *shape, dtype=torch.float64, requires_grad=True)
    drawn = transform.draw(RowNoise(range(16)), shape)
    views, expected = transform.apply(images, drawn), apply_view(images, drawn)
    assert len(torch.unique(drawn, dim=0)) > 8
    torch.testing.assert_close(views, expected, rtol=1e-6, atol=1e-6)
    probe = torch.rand_like(views)
    slopes = [torch.autograd.grad((probe * v).sum(), images)[0] for v in (views, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-5)

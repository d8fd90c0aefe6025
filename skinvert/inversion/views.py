"""Random views: which a run sees when, from what a user says of it, and how they are drawn."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from skinvert.inversion.geometry import apply_view, compose, per_row
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.transforms import robust_stages

__all__ = ["as_stages", "draw_view", "random_views", "staged_views", "stages_of_run"]


def as_stages(transforms: str | Sequence[Any] | None) -> list[Any]:
    """Lists of transforms, one for each part of a run.

    Parameters
    ----------
    transforms : "robust", sequence of transforms, sequence of such sequences, or None

    Returns
    -------
    stages : list of sequences of transforms
        At least one, which may be empty.

    Examples
    --------
    >>> from skinvert.inversion.transforms import RandomHorizontalFlip
    >>> from skinvert.inversion.views import as_stages
    >>> as_stages(None), len(as_stages("robust")), len(as_stages([RandomHorizontalFlip()]))
    ([[]], 2, 1)
    """
    if isinstance(transforms, str):
        return robust_stages()
    listed = list(transforms or ())
    is_staged = bool(listed) and all(isinstance(part, (list, tuple)) for part in listed)
    return listed if is_staged else [listed]


def stages_of_run(stages: list[Any], n_steps: Sequence[int], run: int) -> list[Any]:
    """The part of the transforms that one of several runs sees.

    Parameters
    ----------
    stages : list of sequences of transforms
        They divide the steps of a single run. Of several runs each sees its own, or all the one.
    n_steps : sequence of int
        Of each run.
    run : int

    Returns
    -------
    stages : list of sequences of transforms

    Raises
    ------
    ValueError
        If there are several lists, and another number of them than of runs.

    Examples
    --------
    >>> from skinvert.inversion.views import stages_of_run
    >>> stages_of_run([["first"], ["second"]], (100, 50), 1)
    [['second']]
    """
    n_runs = len(n_steps)
    if n_runs == 1 or len(stages) == 1:
        return stages
    if len(stages) != n_runs:
        raise ValueError(
            f"transforms has {len(stages)} stages and n_steps={n_steps!r} has {n_runs}; "
            "give one list of transforms for all, or one for each stage."
        )
    return stages[run : run + 1]


def random_views(
    transforms: Iterable[Any],
    images: Tensor,
    noise: RowNoise,
    value_range: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    """One random view of each image.

    Parameters
    ----------
    transforms : sequence of transforms
        Applied in order; neighbouring geometric ones are merged into one resampling.
    images : tensor of shape (B, C, H, W)
        In data units, within `value_range`.
    noise : RowNoise with B slots
        Where the rows draw their parameters.
    value_range : tuple (low, high) or None, default=(0.0, 1.0)
        Range of the images' values: the unit of :class:`GaussianNoise`, and the black, white and
        limits of :class:`ColorJitter`. None stands for unbounded values: a unit of one, black at
        zero, no limits.

    Returns
    -------
    views : tensor of shape (B, C, H, W)
        Gradients reach ``images``.

    Raises
    ------
    ValueError
        For a transform with a parameter out of its range.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import robust_stages
    >>> from skinvert.inversion.views import random_views
    >>> images = torch.rand(2, 3, 32, 32)
    >>> random_views(robust_stages()[1], images, RowNoise([0, 1])).shape
    torch.Size([2, 3, 32, 32])
    """
    image_shape = tuple(images.shape[1:])
    runs = groupby(transforms, key=lambda transform: hasattr(transform, "matrices"))
    for geometric, group in runs:
        run = list(group)
        drawn = [transform.draw(noise, image_shape) for transform in run]
        if geometric and len(run) > 1:
            images = apply_view(images, _merged(run, drawn))
        else:
            for transform, parameters in zip(run, drawn, strict=True):
                images = transform.apply(images, parameters, value_range)
    return images


def staged_views(
    stages: Sequence[Sequence[Any]],
    images: Tensor,
    noise: RowNoise,
    stage: Tensor,
    value_range: tuple[float, float] | None = (0.0, 1.0),
) -> Tensor:
    """One random view of each image, by the transforms of the stage that its row has reached.

    Parameters
    ----------
    stages : sequence of sequences of transforms
        The transforms of each stage, applied in order; a stage without any shows the image.
    images : tensor of shape (B, C, H, W)
        In data units, within `value_range`.
    noise : RowNoise with B slots
        Where each row draws its own.
    stage : LongTensor of shape (B,)
        Index into `stages` for each image.
    value_range : tuple (low, high) or None, default=(0.0, 1.0)
        As of `random_views`.

    Returns
    -------
    views : tensor of shape (B, C, H, W)

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import RandomHorizontalFlip
    >>> from skinvert.inversion.views import staged_views
    >>> images = torch.rand(2, 1, 8, 8)
    >>> stages = [[], [RandomHorizontalFlip(p=1)]]
    >>> views = staged_views(stages, images, RowNoise([0, 1]), torch.tensor([0, 1]))
    >>> bool((views[0] == images[0]).all()), bool((views[1] == images[1].flip(-1)).all())
    (True, True)
    """
    if len(stages) == 1:
        return random_views(stages[0], images, noise, value_range)
    # A row draws for itself at its own stage, whatever stages its neighbours have reached: so each
    # stage's views come from generators of their own, seeded alike.
    views = images
    seeds = noise.integers()
    for index, transforms in enumerate(stages):
        here = stage == index
        if here.any():
            own = type(noise)(seeds.tolist(), noise.device)
            seen = random_views(transforms, images, own, value_range)
            views = torch.where(per_row(here), seen, views)
    return views


def draw_view(transforms: Sequence[Any], noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
    """Draw geometric transforms and merge them, to be applied later or again.

    Parameters
    ----------
    transforms : sequence of geometric transforms
        RandomAffine, RandomResizedCrop, RandomHorizontalFlip.
    noise : RowNoise with B slots
        Where each row draws its own.
    image_shape : tuple (C, H, W)
        Shape of the images.

    Returns
    -------
    matrices : tensor of shape (B, 2, 3)
        From the coordinates of the view to those of the image; for `apply_view`.

    Raises
    ------
    ValueError
        If there is none.
    TypeError
        If a transform is not geometric.

    Examples
    --------
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import RandomAffine
    >>> from skinvert.inversion.views import draw_view
    >>> draw_view([RandomAffine(degrees=10)], RowNoise([0, 1]), (1, 8, 8)).shape
    torch.Size([2, 2, 3])
    """
    if not transforms:
        raise ValueError("draw_view needs at least one transform, got none.")
    for transform in transforms:
        if not hasattr(transform, "matrices"):
            raise TypeError(
                f"{type(transform).__name__} is not geometric; expected RandomAffine, "
                "RandomResizedCrop or RandomHorizontalFlip."
            )
    return _merged(transforms, [t.draw(noise, image_shape) for t in transforms])


def _merged(transforms, drawn):
    merged = transforms[0].matrices(drawn[0])
    for transform, parameters in zip(transforms[1:], drawn[1:], strict=True):
        merged = compose(merged, transform.matrices(parameters))
    return merged

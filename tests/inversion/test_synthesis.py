"""Guided synthesis: the schedule of both stages, and what stays where a region is made anew."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert import Target
from skinvert.inversion.loop import optimize
from skinvert.inversion.objectives import CrossEntropy, as_objective
from skinvert.inversion.parameterizations import Pixels, Pyramid
from skinvert.inversion.synthesis import GuidedSynthesis, Guides, Schedule
from skinvert.models.critics import PatchCritic
from skinvert.models.frozen import FrozenClassifier

SHAPE = (1, 12, 12)


@pytest.fixture(scope="module")
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
        )  # fmt: skip
    return FrozenClassifier(net.eval(), SHAPE)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).uniform(size=(3, 144)).astype(np.float32)


def build(classifier, guides, schedule, canvas=None, patch_weight=10.0, layers=("1", "4")):
    canvas = Pixels() if canvas is None else canvas
    return GuidedSynthesis(
        classifier,
        Target([0, 1, 2]),
        guides,
        canvas=canvas.fit(image_shape=SHAPE, value_range=(0.0, 1.0)),
        objective=as_objective(CrossEntropy()),
        layers=list(layers),
        feature_weight=5.0,
        patch_weight=patch_weight,
        location_weight=10.0,
        location_layer="4",
        critic=PatchCritic(1, width=4) if patch_weight else None,
        window=64,
        schedule=schedule,
        batch_size=2,
        device="cpu",
    )


def run(synthesis, schedule):
    return optimize(
        synthesis.problem(),
        [7, 8, 9],
        batch_size=2,
        n_steps=sum(schedule.n_steps),
        optimizer=synthesis.rules(),
    )


def test_the_first_stage_is_the_same_with_and_without_a_critic(classifier, rows):
    schedule = Schedule((5, 0), 0.05)
    images = [
        run(build(classifier, Guides(rows), schedule, patch_weight=weight), schedule).images
        for weight in (10.0, 0.0)
    ]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize("canvas", [Pixels(), Pyramid()], ids=["one tensor", "many"])
def test_the_second_stage_moves_image_and_critic(canvas, classifier, rows):
    fast, slow = (
        run(build(classifier, Guides(rows), schedule, canvas), schedule)
        for schedule in (Schedule((2, 6), 0.05, rate, critic_interval=2) for rate in (5e-2, 1e-9))
    )
    critic = fast.history["critic"]
    assert np.isfinite(critic[:, 2::2]).all()
    assert np.isnan(critic[:, [0, 1, 3, 5, 7]]).all()
    np.testing.assert_array_equal(critic[:, 2], slow.history["critic"][:, 2])
    assert (critic[:, 4] != slow.history["critic"][:, 4]).all(), "the critic has moved"
    assert (fast.images != slow.images).any(axis=(1, 2, 3)).all(), "and the images follow it"


def test_statistics_of_the_references_have_no_distance(classifier, rows):
    schedule = Schedule((1, 0), 0.05)
    result = run(build(classifier, Guides(rows, starts=rows), schedule), schedule)
    assert (result.history["feature"] < 1e-3).all()


def test_shapes_replace_the_deepest_statistics_alone(classifier, rows):
    schedule = Schedule((1, 0), 0.05)
    plain = build(classifier, Guides(rows), schedule)
    shaped = build(classifier, Guides(rows, shapes=rows[::-1].copy()), schedule)
    one, other = (s.whole.objective["feature"].statistics for s in (plain, shaped))
    assert torch.equal(one["1"][0], other["1"][0])
    torch.testing.assert_close(one["4"][0].flip(0), other["4"][0])


def test_regions_are_made_anew_and_nothing_else(classifier, rows):
    regions = np.zeros((3, 12, 12), bool)
    regions[:, 3:6, 2:9] = True
    guides = Guides(
        rows, starts=rows, queries=rows, regions=regions, reference_regions=regions[:, ::-1].copy()
    )
    schedule = Schedule((4, 2), 0.05)
    synthesis = build(classifier, guides, schedule)
    result = run(synthesis, schedule)
    images = synthesis.finish(result.images)[:, 0]
    queries = rows.reshape(-1, 12, 12)
    np.testing.assert_array_equal(images[~regions], queries[~regions])
    assert (images[regions] != queries[regions]).mean() > 0.9
    assert set(result.terms) == {"cross_entropy", "feature", "patch", "critic"}


def test_no_hook_reaches_the_classifier(classifier, rows):
    synthesis = build(classifier, Guides(rows), Schedule((2, 2), 0.05))
    assert synthesis.classifier is not classifier
    run(synthesis, synthesis.schedule)
    assert not any(layer._forward_hooks for layer in classifier.modules())
    assert not any(layer._forward_hooks for layer in synthesis.classifier.modules())

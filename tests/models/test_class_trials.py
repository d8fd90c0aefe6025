"""Which rows are checked, by what, and what is remembered of them."""

import numpy as np
import pytest
import torch

from skinvert.inversion.randomness import RowNoise
from skinvert.models.class_trials import ClassTrials
from skinvert.models.latent_samplers import ConvexSampler
from skinvert.models.latents import linear_layer


@pytest.fixture
def pool():
    """Two classes, left and right of zero on the first axis."""
    rng = np.random.default_rng(0)
    columns = np.repeat([0, 1], 30)
    return rng.normal(size=(60, 2)) + 6 * (2 * columns[:, None] - 1) * [1, 0], columns


def make(pool, weights, threshold=0.0, bias=0.0):
    head = linear_layer(np.array([[-1.0, 0], [1, 0]]), np.array([0.0, bias]))

    def decode(latents):
        # The second axis decides how sure the classifier of images is.
        return latents, torch.stack([latents[:, 1], -latents[:, 1]], 1).softmax(1)

    thresholds = np.full(2, threshold)
    return ClassTrials(np.asarray(weights), ConvexSampler(*pool), head, decode, thresholds, 500)


def test_pure_rows_pass_both_checks(pool):
    weights = np.eye(2)[np.arange(40) % 2]
    result = make(pool, weights, threshold=0.6).run(range(40), batch_size=8)
    sure = torch.from_numpy(result.images[:, 1:]).mul(2).sigmoid().numpy()[:, 0]
    sure = np.where(np.arange(40) % 2, 1 - sure, sure)
    np.testing.assert_allclose(result.diagnostics["confidence"], sure, atol=1e-5)
    assert (sure >= 0.6).all()
    assert (result.diagnostics["n_image_trials"] > 1).any()
    assert (pool[1][result.diagnostics["sources"]] == (np.arange(40) % 2)[:, None]).all()


def test_the_head_is_asked(pool):
    # Class 0 keeps only latents left of -6.
    result = make(pool, np.eye(2)[np.zeros(40, dtype=int)], bias=12.0).run(range(40), batch_size=8)
    assert (result.diagnostics["latents"][:, 0] < -6).all()
    assert (result.diagnostics["n_latent_trials"] > 1).any()


def test_rows_of_two_classes_are_not_checked(pool):
    weights = np.array([[0.5, 0.5], [0.2, 0.8]])
    result = make(pool, weights, threshold=1.0).run([3, 3], batch_size=8)
    assert (result.diagnostics["n_image_trials"] == 1).all()
    assert (result.diagnostics["sources"] == -1).all()


def test_rows_of_one_seed_share_their_numbers(pool):
    trials = make(pool, [[1, 0], [0, 1], [0.25, 0.75]])
    first, second, between = trials.draw(RowNoise([5, 5, 5]), np.arange(3))
    np.testing.assert_allclose(between, 0.25 * first + 0.75 * second)

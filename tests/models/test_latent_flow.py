"""Laws of the flow on latents: the moments of each class, and whose numbers count."""

import numpy as np
import pytest

from skinvert.inversion.randomness import RowNoise
from skinvert.models.latent_flow import FlowSampler


@pytest.fixture(scope="module")
def pool():
    """Two classes of five values: a ring, and a Gaussian far from it."""
    rng = np.random.default_rng(0)
    columns = np.repeat([0, 2], 300)
    angles = rng.uniform(0, 2 * np.pi, 300)
    rows = rng.normal(size=(600, 5))
    rows[:300, :2] = 4 * np.stack([np.cos(angles), np.sin(angles)], 1) + 0.3 * rows[:300, :2]
    rows[300:] += 9
    return rows, columns


@pytest.fixture(scope="module")
def sampler(pool):
    return FlowSampler(*pool)


def drawn(sampler, column, n=1500):
    return sampler.latents(sampler.numbers(RowNoise(range(n))), np.full(n, column))


@pytest.mark.parametrize("column", [0, 2])
def test_draws_have_the_moments_of_their_class(pool, sampler, column):
    rows, of_class = drawn(sampler, column), pool[0][pool[1] == column]
    np.testing.assert_allclose(rows.mean(0), of_class.mean(0), atol=0.6)
    np.testing.assert_allclose(rows.std(0), of_class.std(0), rtol=0.3)


def test_it_bends_where_a_gaussian_cannot(sampler):
    # A Gaussian of the ring's moments has 22 % of its rows within 2 of the centre.
    radii = np.linalg.norm(drawn(sampler, 0)[:, :2], axis=1)
    assert np.mean(radii < 2) < 0.15


def test_a_latent_depends_on_its_own_numbers_alone(sampler):
    numbers, columns = sampler.numbers(RowNoise(range(9))), 2 * (np.arange(9) % 2)
    together = sampler.latents(numbers, columns)
    alone = [sampler.latents(numbers[k : k + 1], columns[k : k + 1])[0] for k in range(9)]
    np.testing.assert_array_equal(together, alone)


def test_the_same_seed_trains_the_same_flow(pool, sampler, global_rng_untouched):
    with global_rng_untouched():
        again = FlowSampler(*pool)
    np.testing.assert_array_equal(drawn(again, 0, 5), drawn(sampler, 0, 5))


def test_classes_and_latents_that_are_too_few(pool):
    rows = pool[0][[0, 1, 2, 300]]
    few = FlowSampler(rows, np.array([0, 0, 0, 2]))
    few.check_class(0, "ring")
    with pytest.raises(ValueError, match="class 'far' has fewer than 2 rows"):
        few.check_class(2, "far")
    with pytest.raises(ValueError, match="use sampler='gmm'"):
        FlowSampler(pool[0][:, :1], pool[1])

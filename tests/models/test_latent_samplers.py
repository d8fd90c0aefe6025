"""Laws of latent samplers: what is convex, what keeps its spread, and whose numbers count."""

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.mixture import GaussianMixture

from skinvert.inversion.randomness import RowNoise
from skinvert.models.latent_samplers import (
    ConvexSampler,
    MixtureSampler,
    check_ratios,
    default_mixture,
)

N = 4000


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    columns = rng.integers(2, size=800)
    mixing = rng.normal(size=(5, 5))
    return rng.normal(size=(800, 5)) @ mixing + 30 * columns[:, None], columns


def drawn(sampler, column=0, n=N):
    numbers = sampler.numbers(RowNoise(range(n)))
    return sampler.latents(numbers, np.full(n, column))


def spread(rows):
    return np.trace(np.cov(rows.T))


def test_combinations_are_those_of_their_recipes(pool):
    sampler = ConvexSampler(*pool, n_combine=3, ratios="dirichlet")
    numbers = sampler.numbers(RowNoise(range(50)))
    columns = np.arange(50) % 2
    sources, ratios = sampler.recipes(numbers, columns)
    assert (pool[1][sources] == columns[:, None]).all(), "sources are of the class"
    assert all(len(set(row)) == 3 for row in sources.tolist()), "and all different"
    assert (ratios >= 0).all()
    np.testing.assert_allclose(ratios.sum(1), 1)
    expected = np.einsum("mn,mnd->md", ratios, pool[0][sources])
    np.testing.assert_allclose(sampler.latents(numbers, columns), expected)


@pytest.mark.parametrize("n_combine", [2, 4])
def test_every_row_is_as_likely_a_source(n_combine):
    columns = np.repeat([0, 1], 7)
    sampler = ConvexSampler(np.eye(14), columns, n_combine=n_combine)
    sources, _ = sampler.recipes(sampler.numbers(RowNoise(range(7000))), np.ones(7000, dtype=int))
    shares = np.bincount(sources.ravel(), minlength=14)[7:] / sources.size
    np.testing.assert_allclose(shares, 1 / 7, atol=0.01)
    for place in range(n_combine):
        of_place = np.bincount(sources[:, place], minlength=14)[7:] / 7000
        np.testing.assert_allclose(of_place, 1 / 7, atol=0.02)


@pytest.mark.parametrize(
    ("ratios", "factor"), [("uniform", 1 / 2), ("dirichlet", 2 / 3), ([0.9, 0.1], 0.82)]
)
def test_convex_combinations_shrink_the_spread_as_theory_says(pool, ratios, factor):
    of_class = spread(pool[0][pool[1] == 0])
    assert spread(drawn(ConvexSampler(*pool, ratios=ratios))) == pytest.approx(
        factor * of_class, rel=0.08
    )


@pytest.mark.parametrize("n_combine", [2, 5])
@pytest.mark.parametrize("ratios", ["uniform", "dirichlet"])
def test_matched_combinations_keep_the_spread(pool, ratios, n_combine):
    sampler = ConvexSampler(*pool, n_combine=n_combine, ratios=ratios, matched=True)
    rows = drawn(sampler, column=1)
    of_class = pool[0][pool[1] == 1]
    np.testing.assert_allclose(rows.mean(0), of_class.mean(0), atol=0.3)
    assert spread(rows) == pytest.approx(spread(of_class), rel=0.08)


@pytest.mark.parametrize("matched", [False, True])
def test_rows_that_are_not_sound_are_left_out(pool, matched):
    sound = np.arange(len(pool[0])) % 3 > 0
    sampler = ConvexSampler(*pool, sound=sound, matched=matched)
    alone = ConvexSampler(pool[0][sound], pool[1][sound], matched=matched)
    np.testing.assert_allclose(drawn(sampler, n=50), drawn(alone, n=50))


def test_a_class_without_enough_sound_rows_is_combined_of_all(pool):
    sound = np.arange(len(pool[0])) == np.flatnonzero(pool[1] == 1)[0]
    sampler = ConvexSampler(*pool, sound=sound)
    np.testing.assert_allclose(drawn(sampler, 1, 50), drawn(ConvexSampler(*pool), 1, 50))


def test_dirichlet_ratios_are_uniform_on_the_simplex(pool):
    sampler = ConvexSampler(*pool, ratios="dirichlet")
    _, ratios = sampler.recipes(sampler.numbers(RowNoise(range(2000))), np.zeros(2000, dtype=int))
    assert kstest(ratios[:, 0], "uniform").pvalue > 0.01


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_draws_of_a_mixture_have_its_moments(pool, covariance_type):
    mixture = GaussianMixture(3, covariance_type=covariance_type, reg_covar=1e-6)
    sampler = MixtureSampler(*pool, mixture)
    rows, of_class = drawn(sampler), pool[0][pool[1] == 0]
    fitted = GaussianMixture(3, covariance_type=covariance_type, random_state=0)
    points = sampler.pca.transform(of_class) / sampler.unit
    reference = sampler.unit * fitted.fit(points).sample(N)[0] @ sampler.pca.components_
    reference += sampler.pca.mean_
    np.testing.assert_allclose(rows.mean(0), reference.mean(0), atol=0.3)
    np.testing.assert_allclose(
        np.cov(rows.T), np.cov(reference.T), atol=0.15 * np.abs(np.cov(reference.T)).max()
    )


def test_a_mixture_has_ten_rows_a_component():
    sampler = MixtureSampler(
        np.random.default_rng(0).normal(size=(14, 3)), np.repeat([0, 1], 7), default_mixture()
    )
    assert len(sampler.mixtures[1].means) == 1


@pytest.mark.parametrize("kind", [ConvexSampler, MixtureSampler])
def test_a_latent_depends_on_its_own_numbers_alone(pool, kind):
    sampler = kind(*pool) if kind is ConvexSampler else kind(*pool, default_mixture())
    numbers = sampler.numbers(RowNoise(range(9)))
    columns = np.arange(9) % 2
    together = sampler.latents(numbers, columns)
    alone = [sampler.latents(numbers[k : k + 1], columns[k : k + 1])[0] for k in range(9)]
    np.testing.assert_array_equal(together, alone)


def test_classes_with_too_few_rows_are_named(pool):
    columns = np.r_[0, 0, 1]
    convex = ConvexSampler(pool[0][:3], columns, n_combine=2)
    convex.check_class(0, "zero")
    with pytest.raises(ValueError, match="class 'one' has 1 rows"):
        convex.check_class(1, "one")
    mixtures = MixtureSampler(pool[0][:3], columns, default_mixture())
    with pytest.raises(ValueError, match="class 'one' has fewer than 2 rows"):
        mixtures.check_class(1, "one")
    with pytest.raises(ValueError, match="class 'five' has 0 rows"):
        convex.check_class(5, "five")


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ([0.5, 0.6], "sum to one"),
        ([1.5, -0.5], "non-negative"),
        ([np.nan, 1.0], "non-negative"),
        ([1.0], "expected \\(2,\\)"),
        ([[[0.5, 0.5]]], "expected \\(2,\\)"),
    ],
)
def test_bad_ratios_are_refused(ratios, message):
    with pytest.raises(ValueError, match=message):
        check_ratios(ratios, 2)


def test_good_ratios_sum_to_one_exactly():
    np.testing.assert_allclose(check_ratios([[0.3334, 0.6667], [0, 1]], 2).sum(1), 1, rtol=1e-15)


def test_a_table_of_ratios_is_for_named_images(pool):
    with pytest.raises(ValueError, match="combine"):
        ConvexSampler(*pool, ratios=[[0.5, 0.5], [0.1, 0.9]])

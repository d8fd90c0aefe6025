"""Noise belongs to rows: a seed means the same numbers in any batch."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from skinvert.inversion.randomness import RowNoise, row_seeds

requests = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=12)
roots = st.integers(0, 2**31 - 1)


@given(asked=requests, root=roots, n_first=st.integers(0, 12))
def test_seeds_survive_truncation(asked, root, n_first):
    seeds = row_seeds(asked, root)
    np.testing.assert_array_equal(seeds[:n_first], row_seeds(asked[:n_first], root))


@given(data=st.data(), asked=requests, root=roots)
def test_seeds_survive_permutation(data, asked, root):
    order = data.draw(st.permutations(range(len(asked))))
    seeds = row_seeds(asked, root)
    permuted = row_seeds([asked[row] for row in order], root)
    for request in set(asked):
        own = [seed for seed, one in zip(seeds, asked, strict=True) if one == request]
        moved = [permuted[at] for at, row in enumerate(order) if asked[row] == request]
        assert own == moved


@given(asked=requests, root=roots)
def test_equal_requests_differ_and_different_ones_share(asked, root):
    seeds = row_seeds(asked, root)
    assert seeds.dtype == np.int64
    assert (seeds >= 0).all()
    by_request = {
        request: [seed for seed, one in zip(seeds, asked, strict=True) if one == request]
        for request in set(asked)
    }
    for own in by_request.values():
        assert len(set(own)) == len(own)
        for others in by_request.values():
            common = min(len(own), len(others))
            assert own[:common] == others[:common]


def test_roots_have_seeds_of_their_own():
    seeds = np.concatenate([row_seeds([b"a"] * 50, root) for root in range(20)])
    assert len(np.unique(seeds)) == len(seeds)


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
def test_a_row_draws_the_same_in_any_batch(seeds):
    together = RowNoise(seeds)
    normal, uniform = together.normal(3, 2), together.uniform(4)
    for row, seed in enumerate(seeds):
        alone = RowNoise([seed])
        assert torch.equal(alone.normal(3, 2)[0], normal[row])
        assert torch.equal(alone.uniform(4)[0], uniform[row])


def test_draws_go_on_and_a_restart_begins_again():
    noise = RowNoise([5, 6])
    first, second = noise.normal(4), noise.normal(4)
    assert not torch.equal(first, second)
    noise.restart(1, 5)
    after = noise.normal(4)
    assert torch.equal(after[1], first[0])
    assert not torch.equal(after[0], second[0])


def test_a_slot_shares_its_generator_with_the_batch():
    noise, same = RowNoise([5, 6]), RowNoise([5, 6])
    assert torch.equal(noise.slot(1).normal(3)[0], same.normal(3)[1])
    assert torch.equal(noise.normal(3)[1], same.normal(3)[1])
    assert len(noise.slot(1)) == 1


def test_noise_has_its_law():
    noise = RowNoise(range(4))
    normal, uniform = noise.normal(20_000), noise.uniform(20_000)
    assert normal.mean().abs() < 0.02
    assert (normal.std() - 1).abs() < 0.02
    assert (uniform.mean() - 0.5).abs() < 0.01
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert np.abs(np.corrcoef(normal) - np.eye(4)).max() < 0.04


def test_global_states_do_not_move(global_rng_untouched):
    with global_rng_untouched():
        RowNoise([1, 2]).normal(3)
        row_seeds([b"a"], 0)

"""Laws of rejection sampling: rows are their own, counts are true, and the end is told."""

import pickle

import numpy as np
import pytest
import torch

from skinvert.models.trials import Trials, TrialsExhausted, in_batches


def uniform_trials(latent_rate=0.5, image_rate=0.5, max_trials=200, on_draw=None):
    """Latents of two uniform numbers: the first decides one check, the second the other."""

    def draw(noise, rows):
        if on_draw is not None:
            on_draw(rows)
        return noise.uniform(2).numpy()

    return Trials(
        draw=draw,
        check_latents=lambda latents, rows: latents[:, 0] < latent_rate,
        decode=lambda latents: (latents, latents[:, 1]),
        check_images=lambda answers, rows: answers < image_rate,
        max_trials=max_trials,
    )


@pytest.fixture(scope="module")
def result():
    return uniform_trials().run(range(200), batch_size=16)


def test_what_is_accepted_passed_both_checks(result):
    assert (result.images < 0.5).all()
    assert (result.status == "completed").all()
    np.testing.assert_array_equal(result.images, result.diagnostics["latents"])


def test_accepted_rows_are_spread_as_the_law_says(result):
    # Rejection leaves a uniform distribution on the accepted square.
    np.testing.assert_allclose(
        np.quantile(result.images, [0.25, 0.5, 0.75]), [1 / 8, 1 / 4, 3 / 8], atol=0.05
    )


def test_counts_are_geometric(result):
    n_latent, n_image = (result.diagnostics[f"n_{kind}_trials"] for kind in ("latent", "image"))
    assert n_image.mean() == pytest.approx(2, abs=0.4)
    assert n_latent.sum() / n_image.sum() == pytest.approx(2, abs=0.4)
    np.testing.assert_array_equal(n_image, result.n_steps)


@pytest.mark.parametrize("n_rows", [1, 5, 16, 17, 100])
def test_the_first_rows_do_not_know_the_rest(result, n_rows):
    first = uniform_trials().run(range(n_rows), batch_size=16)
    np.testing.assert_array_equal(first.images, result.images[:n_rows])
    for name, values in first.diagnostics.items():
        np.testing.assert_array_equal(values, result.diagnostics[name][:n_rows])


def test_every_draw_is_counted():
    drawn = np.zeros(30, dtype=int)

    def count(rows):
        drawn[rows] += 1

    result = uniform_trials(on_draw=count).run(range(30), batch_size=4)
    np.testing.assert_array_equal(result.diagnostics["n_latent_trials"], drawn)


def test_batches_have_one_of_two_shapes():
    shapes = set()
    trials = uniform_trials()
    decode = trials.decode
    trials.decode = lambda latents: shapes.add(len(latents)) or decode(latents)
    result = trials.run(range(50), batch_size=8)
    assert shapes == {8, 2}
    assert result.n_sample_steps >= result.diagnostics["n_image_trials"].sum()


def test_progress_adds_up():
    settled = []
    uniform_trials().run(range(30), batch_size=8, callback=settled.append)
    assert sum(settled) == 30


@pytest.mark.parametrize(("rates", "term"), [((0.0, 1.0), "latent"), ((1.0, 0.0), "image")])
def test_hopeless_rows_end_with_a_count(rates, term):
    n_draws = []
    with pytest.raises(TrialsExhausted) as raised:
        uniform_trials(*rates, max_trials=7, on_draw=n_draws.append).run(range(3), batch_size=2)
    assert raised.value.term == term
    assert raised.value.step == 7
    assert raised.value.rows == [0, 1, 2]
    assert len(n_draws) == 7


def test_what_was_found_is_on_the_error():
    trials = uniform_trials(1.0, 0.4, max_trials=1)
    with pytest.raises(TrialsExhausted) as raised:
        trials.run(range(40), batch_size=8)
    error = pickle.loads(pickle.dumps(raised.value))
    done = error.result.status == "completed"
    assert 0 < done.sum() < 40
    assert (error.result.images[done][:, 1] < 0.4).all()
    np.testing.assert_array_equal(np.flatnonzero(~done), error.rows)


def test_batches_are_padded_and_cut():
    shapes = []

    def function(rows):
        shapes.append(tuple(rows.shape))
        return rows * 2, rows.sum(1)

    doubled, sums = in_batches(function, np.arange(10.0).reshape(5, 2), 3)
    assert shapes == [(3, 2), (3, 2)]
    np.testing.assert_array_equal(doubled, 2 * np.arange(10).reshape(5, 2))
    np.testing.assert_array_equal(sums, [1, 5, 9, 13, 17])
    assert doubled.dtype == np.float32


def test_half_precision_goes_in_and_out():
    rows = np.ones((2, 2), dtype=np.float16)
    (answer,) = in_batches(lambda batch: (batch.to(torch.float16),), rows, 4)
    assert answer.dtype == np.float16

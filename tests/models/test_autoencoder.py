"""The denoising autoencoder: it learns, it is repeated, and it leaves global states alone."""

import numpy as np
import pytest
import torch

from skinvert.models.autoencoder import moments, train_autoencoder

SETTINGS = {"n_latents": 12, "width": 16, "seed": 0}


@pytest.fixture(scope="module")
def trained(digits):
    return train_autoencoder(digits[0], (1, 8, 8), n_epochs=30, **SETTINGS)


def test_it_rebuilds_better_than_the_mean(trained, digits):
    X, _ = digits
    decoder, codes, loss = trained
    rebuilt = decoder(codes).reshape(len(X), -1).numpy()
    assert np.mean((rebuilt - X) ** 2) < 0.5 * np.mean((X.mean(0) - X) ** 2)
    assert loss[-1] < loss[0]
    assert len(loss) == 30


def test_codes_are_standardised(trained):
    _, codes, _ = trained
    # Statistics of eval mode are running averages of batches.
    assert codes.mean(0).abs().max() < 0.3
    assert (codes.std(0) - 1).abs().max() < 0.3


@pytest.mark.parametrize("image_shape", [None, (1, 8, 8), (1, 4, 16)])
def test_the_same_seed_trains_the_same(image_shape, digits, global_rng_untouched):
    X = digits[0][:65]  # a last batch of one row would have no statistics
    with global_rng_untouched():
        first, again = (train_autoencoder(X, image_shape, n_epochs=2, **SETTINGS) for _ in range(2))
    assert torch.equal(first[1], again[1])
    assert first[0](first[1]).shape == (65, *(image_shape or (64,)))


def test_moments_are_those_of_channels_or_of_features():
    rows = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    mean, spread = moments(rows, (3, 2, 2))
    np.testing.assert_allclose(mean.ravel(), rows.reshape(50, 3, 4).mean((0, 2)), rtol=1e-4)
    assert mean.shape == spread.shape == (3, 1, 1)
    rows[:, 3] = 7.0
    assert moments(rows, None)[1][3] == 1.0


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="at least two rows"):
        train_autoencoder(np.zeros((1, 64), np.float32), (1, 8, 8), **SETTINGS)

"""Laws of decoder training: phases, seeds, and going on where it stopped."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from skinvert.models.decoder_loss import DecoderLoss
from skinvert.models.decoders import ConvDecoder, make_decoder
from skinvert.models.decoding import DecoderNet, LatentRows, RowBatches, train_decoder
from skinvert.models.frozen import FrozenClassifier
from skinvert.models.latents import LatentEncoder
from skinvert.models.schedules import Phase

SHORT = (Phase(3), Phase(2, ssim=0.0, learning_rate=1e-4))


@pytest.fixture
def encoder(net, digits):
    frozen = FrozenClassifier(copy.deepcopy(net), (1, 8, 8))
    return LatentEncoder(frozen, torch.from_numpy(digits[0]))


@pytest.fixture
def data(encoder, digits):
    """Latents, images and columns of 150 rows."""
    X, y = digits[0][:150], digits[1][:150]
    with torch.no_grad():
        latents = encoder(torch.from_numpy(X)).numpy()
    return latents, X.reshape(-1, 1, 8, 8), y.astype(np.int64)


def trained(encoder, data, rows=None, schedule=SHORT, adversarial_weight=0.0, **settings):
    latents, images, columns = data
    decoder, scale = make_decoder(
        None, latents.shape[1], images.reshape(len(images), -1), image_shape=(1, 8, 8), width=4
    )
    weights = {
        "mae_weight": 1.0,
        "ssim_weight": 1.0,
        "perceptual_weight": 1.0,
        "class_weight": 0.1,
        "cycle_weight": 0.1,
        "adversarial_weight": adversarial_weight,
    }
    history = train_decoder(
        decoder,
        encoder,
        latents,
        images,
        columns,
        np.arange(len(latents)) if rows is None else rows,
        scale=scale,
        schedule=schedule,
        weights=weights,
        latent_noise=0.2,
        seed=1,
        **settings,
    )
    return decoder, history


def weights_of(decoder):
    return torch.cat([value.double().flatten() for value in decoder.state_dict().values()])


class Watch(Callback):
    """Learning rates and weights as every batch saw them."""

    def on_train_begin(self, net, **_):
        self.seen = []

    def on_batch_end(self, net, **_):
        rate = net.optimizer_.param_groups[0]["lr"]
        self.seen.append((len(net.history) - 1, rate, net.criterion_.factors["ssim"]))


def watched(encoder, data, schedule):
    watch = Watch()
    decoder = ConvDecoder(128, (1, 8, 8), width=4)
    net = DecoderNet(decoder, DecoderLoss(encoder), schedule=schedule, callbacks=[("w", watch)])
    net.fit(*data)
    return watch.seen


def test_phases_set_rates_and_weights(encoder, data):
    for epoch, rate, ssim in watched(encoder, data, SHORT):
        assert (rate, ssim) == ((1e-3, 1.0) if epoch < 3 else (1e-4, 0.0))


def test_decay_climbs_and_falls_to_nothing(encoder, data):
    rates = [rate for _, rate, _ in watched(encoder, data, (Phase(20, decay=True),))]
    peak = int(np.argmax(rates))
    assert 0 < peak < 0.2 * len(rates)
    assert (np.diff(rates[peak:]) < 0).all()
    assert max(rates) <= 1e-3
    assert rates[-1] < 2e-5


# Training


def test_errors_fall(encoder, data):
    _, history = trained(encoder, data, schedule=(Phase(15, learning_rate=3e-3),))
    assert set(history) == {"decoder_loss", "mae", "ssim", "perceptual", "cross_entropy", "cycle"}
    assert history["decoder_loss"][-1] < 0.6 * history["decoder_loss"][0]
    assert history["mae"][-1] < history["mae"][0]


def test_a_critic_teaches_the_decoder(encoder, data):
    plain, _ = trained(encoder, data)
    taught, history = trained(encoder, data, adversarial_weight=0.5)
    assert "adversarial" in history
    assert not torch.equal(weights_of(plain), weights_of(taught))
    again, _ = trained(encoder, data, adversarial_weight=0.5)
    assert torch.equal(weights_of(taught), weights_of(again))


def test_training_is_repeated_bit_for_bit(encoder, data, global_rng_untouched):
    with global_rng_untouched():
        first, again = trained(encoder, data)[0], trained(encoder, data)[0]
    assert torch.equal(weights_of(first), weights_of(again))


def test_the_encoder_is_not_trained(encoder, data):
    before = weights_of(encoder)
    trained(encoder, data)
    assert torch.equal(before, weights_of(encoder))
    assert not encoder.training


def test_rows_that_are_held_out_are_not_seen(encoder, data):
    spoiled = data[0].copy(), data[1].copy(), data[2]
    spoiled[0][100:], spoiled[1][100:] = 1e3, np.nan
    rows = np.arange(100)
    first, again = trained(encoder, data, rows)[0], trained(encoder, spoiled, rows)[0]
    assert torch.equal(weights_of(first), weights_of(again))


def test_memory_maps_and_half_precision_will_do(encoder, data, tmp_path):
    np.save(tmp_path / "images.npy", data[1])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    half = data[0].astype(np.float16)
    decoder, _ = trained(encoder, (half, mapped, data[2]))
    expected, _ = trained(encoder, (half, data[1], data[2]))
    assert torch.equal(weights_of(decoder), weights_of(expected))


def test_batches_hold_every_row_once(data):
    dataset = LatentRows(*data, np.arange(7, 72))
    with torch.random.fork_rng():
        batches = list(RowBatches(dataset, 64, shuffle=True))
    assert [len(latents) for latents, _ in batches] == [33, 32], "no batch of one row"
    seen = torch.cat([latents for latents, _ in batches]).numpy()
    np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(data[0][7:72], axis=0))


def test_losses_that_are_not_finite_are_named(encoder, data):
    latents, images, columns = data
    images = images.copy()
    images[3] = np.inf
    with pytest.raises(FloatingPointError, match=r"decoder's loss is .* in epoch 1.*'mae'"):
        trained(encoder, (latents, images, columns))


# Checkpoints


class Stop(Exception):
    pass


def interrupt_after(monkeypatch, n_epochs):
    from skinvert.models import resuming

    stored = resuming.Resume.on_epoch_end

    def stop(self, net, **arguments):
        stored(self, net, **arguments)
        if len(net.history) == n_epochs:
            raise Stop

    monkeypatch.setattr(resuming.Resume, "on_epoch_end", stop)


@pytest.mark.parametrize(("n_epochs", "adversarial_weight"), [(1, 0.0), (3, 0.1), (4, 0.0)])
def test_interrupted_training_ends_with_the_same_bits(
    n_epochs, adversarial_weight, encoder, data, tmp_path, monkeypatch
):
    settings = {"adversarial_weight": adversarial_weight}
    whole, whole_history = trained(encoder, data, **settings)
    path = tmp_path / "decoder.pt"
    with monkeypatch.context() as patched:
        interrupt_after(patched, n_epochs)
        with pytest.raises(Stop):
            trained(encoder, data, checkpoint=path, **settings)
    resumed, history = trained(encoder, data, checkpoint=path, **settings)
    assert torch.equal(weights_of(whole), weights_of(resumed))
    for name, values in whole_history.items():
        np.testing.assert_array_equal(values, history[name])
    # A third call finds everything done.
    done, _ = trained(encoder, data, checkpoint=path, **settings)
    assert torch.equal(weights_of(whole), weights_of(done))


@pytest.mark.parametrize("change", ["rows", "schedule"])
def test_a_checkpoint_of_something_else_is_not_resumed(change, encoder, data, tmp_path):
    path = tmp_path / "decoder.pt"
    other = {"rows": {"rows": np.arange(90)}, "schedule": {"schedule": (Phase(2),)}}[change]
    trained(encoder, data, checkpoint=path, **other)
    resumed, _ = trained(encoder, data, checkpoint=path)
    assert torch.equal(weights_of(resumed), weights_of(trained(encoder, data)[0]))


def test_a_user_who_stops_gets_no_half_decoder(encoder, data, monkeypatch):
    def stop(self, net, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr("skinvert.models.decoding._EpochBar.on_epoch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(encoder, data)

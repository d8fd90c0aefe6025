"""Training goes on where it stopped, and only if nothing it depends on has changed."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from skinvert.models.resuming import CheckpointFile, Resume, check_checkpoint
from skinvert.models.training import TrainingNet

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def net(path, fingerprint="same", max_epochs=4):
    # Rows in their order: nothing is random but the weights, which the seed fixes.
    return TrainingNet(
        nn.Linear,
        module__in_features=3,
        module__out_features=2,
        max_epochs=max_epochs,
        iterator_train__shuffle=False,
        callbacks=[("resume", Resume(path, fingerprint))],
    )


def weights(fitted):
    return torch.cat([value.flatten() for value in fitted.module_.state_dict().values()])


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_two_parts_are_one_whole(n_epochs, tmp_path):
    whole = net(tmp_path / "whole.pt").fit(X, Y)
    path = tmp_path / "parts.pt"
    net(path, max_epochs=n_epochs).fit(X, Y)
    resumed = net(path).fit(X, Y)
    assert torch.equal(weights(whole), weights(resumed))
    assert len(resumed.history) == 4
    assert resumed.max_epochs == 4, "the parameter is put back"


def test_what_is_finished_is_not_trained_again(tmp_path):
    path = tmp_path / "net.pt"
    first = net(path).fit(X, Y)
    again = net(path).fit(np.zeros_like(X), Y)
    assert torch.equal(weights(first), weights(again))


def test_another_fingerprint_starts_afresh_and_overwrites(tmp_path):
    path = tmp_path / "net.pt"
    net(path, max_epochs=1).fit(X, Y)
    other = net(path, "other").fit(X, Y)
    assert len(other.history) == 4
    assert CheckpointFile(path).read("network")["fingerprint"] == "other"


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_random_draws_schedules_and_growing_radii_go_on(n_epochs, tmp_path, monkeypatch):
    # Shuffled rows, random starts of the ascent, and a rate that climbs and falls.
    def fit(path):
        resume = [] if path is None else [("resume", Resume(path, "same"))]
        schedule = LRScheduler(
            OneCycleLR, max_lr=0.1, total_steps=9, step_every="batch", monitor=None
        )
        return TrainingNet(
            nn.Linear,
            module__in_features=3,
            module__out_features=2,
            max_epochs=4,
            batch_size=20,
            adversarial_radius=0.5,
            callbacks=[("schedule", schedule), *resume],
        ).fit(X, Y)

    path, stored = tmp_path / "net.pt", Resume.on_epoch_end

    def stop(self, net, **arguments):
        stored(self, net, **arguments)
        if len(net.history) == n_epochs:
            raise KeyboardInterrupt

    whole = fit(None)
    with monkeypatch.context() as patch:
        patch.setattr(Resume, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(path)
    resumed = fit(path)
    assert torch.equal(weights(whole), weights(resumed))
    assert [epoch["train_loss"] for epoch in whole.history] == [
        epoch["train_loss"] for epoch in resumed.history
    ]


@pytest.mark.parametrize("epoch", [1, 4])
def test_skorch_s_silence_on_ctrl_c_is_broken(epoch, tmp_path):
    class Stop(Callback):
        def on_batch_end(self, net, **_):
            if len(net.history) == epoch:
                raise KeyboardInterrupt

    stopped = net(tmp_path / "net.pt").set_params(callbacks=[("stop", Stop())])
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, Y)


def test_the_parts_of_a_file_leave_each_other_alone(tmp_path):
    file = CheckpointFile(tmp_path / "fit.pt")
    file.write("classifier", {"a": torch.arange(3)})
    file.write("decoder", {"b": 1})
    file.write("decoder", {"b": 2})
    assert file.read("classifier")["a"].tolist() == [0, 1, 2]
    assert file.read("decoder") == {"b": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]


@pytest.mark.parametrize("content", [b"", b"a letter of mine", b"PK" + 50 * bytes([0])])
def test_other_files_are_refused_and_left(content, tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no checkpoint of skinvert"):
        net(path).fit(X, Y)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("checkpoint", "seed", "error", "word"),
    [
        (3, 0, TypeError, "checkpoint must be a path"),
        ("net.pt", None, ValueError, "random_state"),
        ("nowhere/net.pt", 0, ValueError, "folder that exists"),
        (".", 0, ValueError, "must name a file"),
    ],
)
def test_what_could_not_be_resumed_is_refused_at_once(checkpoint, seed, error, word):
    with pytest.raises(error, match=word):
        check_checkpoint(checkpoint, seed)

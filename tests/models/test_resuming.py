"""Training goes on where it stopped, and only if nothing it depends on has changed."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.models.resuming import Resume
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
    assert torch.load(path, weights_only=True)["fingerprint"] == "other"

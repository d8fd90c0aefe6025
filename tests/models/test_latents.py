"""Laws of the latent space: what is read, what the head says of it, and how it varies."""

import copy

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from skinvert.models.frozen import FrozenClassifier, freeze
from skinvert.models.latents import LatentEncoder, class_means, fit_probe, variance_ratio


@pytest.fixture
def images(digits):
    return torch.from_numpy(digits[0])


@pytest.fixture
def frozen(net):
    return FrozenClassifier(copy.deepcopy(net), (1, 8, 8))


class Functional(nn.Module):
    """A net whose last linear layer reads the output of no named layer."""

    def __init__(self, n_outputs=10):
        super().__init__()
        self.last = nn.Linear(16, n_outputs)
        self.first = nn.Linear(64, 16)

    def forward(self, rows):
        return self.last(torch.relu(self.first(rows)))


def test_the_head_says_what_the_network_says(frozen, images):
    encoder = LatentEncoder(frozen, images)
    latents, logits, _ = encoder.answers(images)
    assert latents.shape == (600, 128)
    torch.testing.assert_close(encoder.head(latents), logits)
    torch.testing.assert_close(logits, frozen(images), rtol=1e-4, atol=1e-4)


def test_the_last_linear_layer_is_the_last_that_is_called(images):
    net = Functional()
    encoder = LatentEncoder(FrozenClassifier(net, (64,)), images)
    expected = torch.relu(net.first(images))
    torch.testing.assert_close(encoder(images), expected)


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_one_output_has_a_head_of_two(outputs, images):
    net = Functional(1)
    net = nn.Sequential(net, nn.Sigmoid()) if outputs == "probabilities" else net
    frozen = FrozenClassifier(net, (64,), outputs=outputs)
    encoder = LatentEncoder(frozen, images)
    latents, logits, _ = encoder.answers(images)
    np.testing.assert_array_equal(encoder.head(latents).argmax(1), logits.argmax(1))


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(max_iter=50),
        LinearDiscriminantAnalysis(),
        MLPClassifier((20,), max_iter=30, random_state=0),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_translated_estimators_have_latents(classifier, digits):
    X, y = digits
    frozen, _, _ = freeze(classifier.fit(X, y), X)
    encoder = LatentEncoder(frozen, torch.from_numpy(X))
    said = encoder.head(encoder(torch.from_numpy(X))).argmax(1)
    np.testing.assert_array_equal(said, classifier.predict(X))


def test_layers_are_merged(frozen, images):
    parts = [LatentEncoder(frozen, images, layer=name)(images) for name in ("0", "3")]
    both = LatentEncoder(frozen, images, layer=["0", "3"])
    torch.testing.assert_close(both(images), torch.cat(parts, dim=1))
    assert both.n_latents == sum(part.shape[1] for part in parts)
    twice = LatentEncoder(frozen, images, layer=["0", "1"], merge="sum")
    assert twice.n_latents == parts[0].shape[1]
    second = LatentEncoder(frozen, images, layer="1")(images)
    torch.testing.assert_close(twice(images), parts[0] + second)


def test_several_layers_can_name_the_penultimate(frozen, images):
    encoder = LatentEncoder(frozen, images, layer=["penultimate", "0"])
    assert encoder.n_latents == 128 + 512
    assert encoder.head is None, "no layer of the network reads this"


def test_sums_of_other_sizes_are_refused(frozen, images):
    with pytest.raises(ValueError, match="512, 128"):
        LatentEncoder(frozen, images, layer=["0", "penultimate"], merge="sum")


def test_unknown_layers_are_refused(frozen, images):
    with pytest.raises(ValueError, match="no layer named 'conv7'"):
        LatentEncoder(frozen, images, layer="conv7")
    with pytest.raises(ValueError, match="names no layer"):
        LatentEncoder(frozen, images, layer=[])


def test_a_network_without_a_linear_layer_asks_for_a_name(images):
    net = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    with pytest.raises(ValueError, match="Name a layer"):
        LatentEncoder(FrozenClassifier(net, (1, 8, 8)), images)
    assert LatentEncoder(FrozenClassifier(net, (1, 8, 8)), images, layer="0").n_latents == 10


def test_a_layer_without_rows_is_refused(images):
    class Mean(nn.Module):
        def forward(self, rows):
            return rows.mean()

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.last = Mean(), nn.Linear(64, 3)

        def forward(self, rows):
            return self.last(rows + self.mean(rows))

    with pytest.raises(ValueError, match="expected one tensor"):
        LatentEncoder(FrozenClassifier(Odd(), (64,)), images, layer="mean")


def test_no_hook_is_left(net, frozen, images):
    encoder = LatentEncoder(frozen, images)
    encoder.answers(images, ["0"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in frozen.modules())


def test_gradients_reach_the_images(frozen, images):
    few = images[:3].clone().requires_grad_()
    latents, logits, seen = LatentEncoder(frozen, images).answers(few, ["0"])
    for value in (latents, logits, seen["0"]):
        (slope,) = torch.autograd.grad(value.sum(), few, retain_graph=True)
        assert slope.abs().max() > 0


def test_the_probe_separates_what_can_be_separated():
    rng = np.random.default_rng(0)
    columns = np.repeat([0, 2, 3], 30)
    latents = rng.normal(size=(90, 5)) + 20 * np.eye(5)[columns]
    head, agreement = fit_probe(latents, columns, 4)
    assert agreement == 1.0
    said = head(torch.from_numpy(latents).float()).argmax(1).numpy()
    np.testing.assert_array_equal(said, columns)


@pytest.mark.parametrize("present", [[1], [1, 3]])
def test_the_probe_of_one_or_two_classes(present):
    columns = np.repeat(present, 10)
    latents = (
        columns[:, None] + np.random.default_rng(0).normal(size=(20 // 2 * len(present), 2)) / 9
    )
    head, agreement = fit_probe(latents, columns, 4)
    said = head(torch.from_numpy(latents).float()).argmax(1).numpy()
    np.testing.assert_array_equal(said, columns)
    assert agreement == 1.0


def test_the_variance_ratio_is_that_of_scatter_matrices():
    rng = np.random.default_rng(0)
    columns = rng.integers(3, size=200)
    latents = rng.normal(size=(200, 4)) + columns[:, None]
    within = sum(
        np.trace(np.cov(latents[columns == c].T, bias=True)) * (columns == c).sum()
        for c in range(3)
    )
    total = np.trace(np.cov(latents.T, bias=True)) * 200
    assert variance_ratio(latents, columns) == pytest.approx(within / (total - within))
    assert variance_ratio(latents[:5], np.zeros(5)) == np.inf
    assert variance_ratio(np.eye(3)[columns], columns) == 0


def test_means_of_absent_classes_are_nan():
    means = class_means(np.ones((2, 3)), np.array([2, 2]), 4)
    assert np.isnan(means[[0, 1, 3]]).all()
    assert (means[2] == 1).all()

"""Answers in batches are the answers at once."""

import numpy as np
import pytest
import torch
from torch import nn

from skinvert.models.answers import features_of, probabilities_of
from skinvert.models.frozen import FrozenClassifier


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return FrozenClassifier(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)), (1, 4, 4)
    )


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(7, 16)).astype(np.float32)


def test_probabilities_are_the_softmax_of_the_logits(classifier, rows):
    found = probabilities_of(classifier, rows, 3)
    with torch.no_grad():
        expected = torch.softmax(classifier(torch.from_numpy(rows)), dim=1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_features_are_what_the_layer_answers(classifier, rows):
    found = features_of(classifier, "0", rows, 3)
    with torch.no_grad():
        expected = classifier.network[0](torch.from_numpy(rows).reshape(-1, 1, 4, 4)).flatten(1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_the_first_rows_do_not_depend_on_later_ones(classifier, rows):
    np.testing.assert_array_equal(
        probabilities_of(classifier, rows[:4], 3), probabilities_of(classifier, rows, 3)[:4]
    )

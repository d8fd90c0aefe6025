"""Losses of classifiers: what is right costs least, and each trains a net."""

import numpy as np
import pytest
import torch

from skinvert.models.classifier_losses import CLASSIFIER_LOSSES
from skinvert.models.classifiers import DenseClassifier
from skinvert.models.training import TrainingNet


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_certainty_costs_nothing_and_error_most(name):
    loss, labels = CLASSIFIER_LOSSES[name](), torch.tensor([2, 0])
    unit = torch.eye(3)[labels]
    right, unsure, wrong = (float(loss(50 * logits, labels)) for logits in (unit, 0 * unit, -unit))
    assert right == pytest.approx(0, abs=1e-6)
    assert right < unsure < wrong


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_slopes_are_those_of_differences(name, assert_slope):
    loss, labels = CLASSIFIER_LOSSES[name](), torch.tensor([1, 3, 0])
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert_slope(lambda value: loss(value.reshape(3, 4), labels), logits.flatten())


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_nets_learn_by_them(name, digits):
    X, y = digits
    net = TrainingNet(
        DenseClassifier,
        criterion=CLASSIFIER_LOSSES[name],
        module__n_features=64,
        module__n_classes=10,
        lr=3e-3,
        max_epochs=15,
    )
    assert np.mean(net.fit(X, y).predict(X).argmax(1) == y) > 0.9

"""Captum explains ``classifier_``, the torch module that a fitted generator exposes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from skinvert import InputOptimizationGenerator

attr = pytest.importorskip("captum.attr", reason="Captum comes with the extra tests")


@pytest.fixture(scope="module")
def images(digits):
    return torch.from_numpy(digits[0][:6]).reshape(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def fitted(trained_net, digits):
    return InputOptimizationGenerator(
        trained_net, normalize=(0.0, 1.0), random_state=0, device="cpu"
    ).fit(*digits)


def test_integrated_gradients_of_a_linear_model_are_its_coefficients(digits):
    X, y = digits
    model = LogisticRegression(max_iter=500).fit(X, y)
    fresh = LogisticRegression(max_iter=500)
    module = InputOptimizationGenerator(fresh, random_state=0, device="cpu").fit(X, y).classifier_
    rows = torch.from_numpy(X[:5])
    found = attr.IntegratedGradients(module).attribute(rows, target=3, n_steps=8)
    np.testing.assert_allclose(found.numpy(), X[:5] * model.coef_[3], atol=1e-3)


def test_attributions_add_up_to_what_the_classifier_says(fitted, images):
    method = attr.IntegratedGradients(fitted.classifier_)
    classes = fitted.classifier_(images).argmax(1)
    found, error = method.attribute(
        images, target=classes, n_steps=200, return_convergence_delta=True
    )
    assert found.shape == images.shape
    with torch.no_grad():
        logits = fitted.classifier_(images).gather(1, classes[:, None])[:, 0]
        at_black = fitted.classifier_(torch.zeros(1, 1, 8, 8))[0, classes]
    scale = (logits - at_black).abs().mean()
    assert error.abs().max() < 0.02 * scale
    np.testing.assert_allclose(found.flatten(1).sum(1), logits - at_black, atol=0.02 * scale)


def test_layers_are_explained_on_the_network_inside(fitted, images):
    network = fitted.classifier_.network
    method = attr.LayerGradCam(network, network.get_submodule("0"))
    with torch.enable_grad():
        found = method.attribute(images.requires_grad_(), target=2)
    assert found.shape == (6, 1, 8, 8)
    assert torch.isfinite(found).all()
    assert found.abs().sum() > 0
    images.requires_grad_(False)


def test_explaining_leaves_no_trace(fitted, images):
    before = fitted.generate([0, 1])
    attr.Saliency(fitted.classifier_).attribute(images.clone(), target=1)
    np.testing.assert_array_equal(fitted.generate([0, 1]), before)
    assert all(p.grad is None and not p.requires_grad for p in fitted.classifier_.parameters())

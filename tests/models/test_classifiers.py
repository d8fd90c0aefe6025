"""The default networks fit their data: sizes, standardisation, constant features."""

import numpy as np
import pytest
import torch

from skinvert.models.classifiers import (
    ConvClassifier,
    DenseClassifier,
    Standardize,
    default_architecture,
)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (1, 28, 28), (4, 64, 5)])
def test_convolutions_fit_any_size(shape):
    net = ConvClassifier(shape, 7, width=4, n_hidden=8)
    images = torch.randn(3, *shape, requires_grad=True)
    scores = net(images)
    assert scores.shape == (3, 7)
    (slope,) = torch.autograd.grad(scores.sum(), images)
    assert slope.abs().max() > 0


def test_dense_layers_fit_any_rows():
    assert DenseClassifier(13, 3, n_hidden=8)(torch.zeros(2, 13)).shape == (2, 3)


@pytest.mark.parametrize(
    ("image_shape", "n_features", "expected"),
    [
        ((1, 8, 8), 64, ConvClassifier),
        ((3, 32, 16), 1536, ConvClassifier),
        ((1, 7, 8), 56, DenseClassifier),
        ((1, 3, 3), 9, DenseClassifier),
        (None, 13, DenseClassifier),
    ],
)
def test_the_default_goes_by_the_images(image_shape, n_features, expected):
    rows = np.random.default_rng(0).normal(size=(20, n_features)).astype(np.float32)
    module, arguments = default_architecture(rows, image_shape, 4)
    assert module is expected
    shape = image_shape if expected is ConvClassifier else (n_features,)
    assert module(**arguments)(torch.from_numpy(rows).reshape(-1, *shape)).shape == (20, 4)


@pytest.mark.parametrize("image_shape", [(3, 8, 8), None])
def test_training_data_leave_the_first_layer_standardised(image_shape):
    rng = np.random.default_rng(0)
    scales = np.repeat([1.0, 10.0, 0.1], 64)
    rows = (rng.normal(size=(50, 192)) * scales + 5 * scales).astype(np.float32)
    module, arguments = default_architecture(rows, image_shape, 4)
    shape = image_shape or (192,)
    seen = module(**arguments)[0](torch.from_numpy(rows).reshape(-1, *shape))
    axes = (0, 2, 3) if image_shape else 0
    torch.testing.assert_close(
        seen.mean(axes), torch.zeros_like(seen.mean(axes)), atol=1e-4, rtol=0
    )
    assert (seen.std(axes, correction=0) - 1).abs().max() < 1e-3


def test_constant_features_stay_finite():
    rows = np.full((6, 64), 3.0, dtype=np.float32)
    for image_shape in ((1, 8, 8), None):
        module, arguments = default_architecture(rows, image_shape, 2)
        images = torch.from_numpy(rows).reshape(-1, *(image_shape or (64,)))
        assert module(**arguments)(images).isfinite().all()
    assert Standardize(1.0, 0.0)(torch.tensor([3.0])) == 2.0


def test_the_fixed_moments_are_saved_and_not_trained():
    net = DenseClassifier(4, 2, mean=np.ones(4), scale=np.full(4, 2.0))
    assert {"0.mean", "0.scale"} <= net.state_dict().keys()
    assert not {"0.mean", "0.scale"} & dict(net.named_parameters()).keys()

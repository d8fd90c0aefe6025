"""The part that makes images, alone: the same images in torch and in onnxruntime."""

import copy
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import skinvert

CLOSE = 1e-4


@pytest.fixture(scope="module")
def rows():
    """Left halves of digits (200, 32) in [0, 1], of three classes."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X = (X[:200] / 16).reshape(-1, 8, 8)[:, :, 1:5].reshape(-1, 32)
    return X.astype(np.float32), y[:200]


FLOWS = {
    "square": {"architecture": "square", "n_blocks": 2, "max_epochs": 2},
    "linear": {"architecture": "square", "n_blocks": 1, "max_epochs": 2, "activation": False},
    "coupling": {"architecture": "coupling", "n_blocks": 2, "hidden_size": 8, "max_epochs": 2},
    "logit": {"architecture": "square", "n_blocks": 1, "max_epochs": 2, "logit": 0.05},
    "sliced": {"architecture": "sliced", "n_components": 4, "n_mixture": 2},
}


@pytest.fixture(scope="module")
def fitted(rows):
    """A flow by name, fitted once."""
    found = {}

    def flow(name):
        if name not in found:
            found[name] = skinvert.InvertibleFlowClassifier(
                **FLOWS[name], image_shape=(8, 4), random_state=0
            ).fit(*rows)
        return found[name]

    return flow


@pytest.fixture(scope="module")
def regene(rows):
    return skinvert.ReGene(
        LogisticRegression(), image_shape=(8, 4), n_epochs=1, decoder_width=4, random_state=0
    ).fit(*rows)


@pytest.mark.parametrize("name", FLOWS)
def test_the_module_of_a_flow_is_its_inverse(name, fitted, rows):
    flow = fitted(name)
    before = copy.deepcopy(flow.network_.state_dict())
    latents = flow.transform(rows[0][:20])
    module = flow.to_torch()
    found = module(torch.from_numpy(latents))
    np.testing.assert_allclose(found, flow.inverse_transform(latents), atol=1e-9)
    np.testing.assert_allclose(found, rows[0][:20], atol=1e-5)
    assert not any(weight.requires_grad for weight in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in flow.network_.state_dict().items())


def test_the_module_of_a_decoder_is_its_inverse_transform(regene, rows):
    latents = regene.transform(rows[0][:20])
    found = regene.to_torch()(torch.from_numpy(latents))
    assert found.shape == (20, 1, 8, 4)
    np.testing.assert_allclose(
        found.reshape(20, -1), regene.inverse_transform(latents).reshape(20, -1), atol=1e-6
    )


def test_modules_are_copies(regene):
    module = regene.to_torch()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(1.0)
    assert not torch.equal(next(module.parameters()), next(regene.decoder_.parameters()).cpu())


def ran(path, latents):
    """What onnxruntime answers."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["images"], {"latents": latents})[0]


@pytest.mark.filterwarnings("ignore")  # torch.onnx warns of its own workings
@pytest.mark.parametrize("name", ["square", "linear", "coupling", "logit"])
def test_onnx_files_of_flows_agree(name, fitted, rows, tmp_path):
    pytest.importorskip("onnxscript", reason="comes with the extra onnx")
    flow = fitted(name)
    path = flow.export_onnx(tmp_path / "flow.onnx")
    latents = flow.transform(rows[0])
    for n in (1, 7, 200):
        np.testing.assert_allclose(
            ran(path, latents[:n]), flow.inverse_transform(latents[:n]), atol=CLOSE
        )
    drawn = flow.class_means_[[0, 1, 2]] + np.random.default_rng(0).normal(size=(3, 32))
    expected = flow.inverse_transform(drawn)
    np.testing.assert_allclose(ran(path, drawn), expected, rtol=CLOSE, atol=CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_onnx_files_of_decoders_agree(regene, rows, tmp_path):
    pytest.importorskip("onnxscript", reason="comes with the extra onnx")
    path = regene.export_onnx(tmp_path / "decoder.onnx")
    latents = regene.transform(rows[0])
    for n in (1, 50):
        found = ran(path, latents[:n])
        assert found.dtype == np.float32
        expected = regene.inverse_transform(latents[:n])
        np.testing.assert_allclose(found.reshape(n, -1), expected.reshape(n, -1), atol=CLOSE)


def test_sliced_flows_are_refused(fitted, tmp_path):
    with pytest.raises(ValueError, match="sliced"):
        fitted("sliced").export_onnx(tmp_path / "flow.onnx")
    assert list(tmp_path.iterdir()) == []


def test_collapsed_flows_are_refused(rows, tmp_path):
    flow = skinvert.InvertibleFlowClassifier(
        "square", "paper", "label_line", max_epochs=1, random_state=0
    ).fit(*rows)
    with torch.no_grad():
        flow.network_.flow.layers[0].weight[:, 1:] *= 1e-14
    with pytest.raises(ValueError, match="nearly singular"):
        flow.export_onnx(tmp_path / "flow.onnx")


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_export_leaves_nothing(regene, tmp_path, monkeypatch):
    program = SimpleNamespace(model_proto=SimpleNamespace(SerializeToString=lambda: b"content"))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: program)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        regene.export_onnx(tmp_path / "decoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_modules_must_be_fitted():
    for estimator in (skinvert.ReGene(), skinvert.InvertibleFlowClassifier()):
        with pytest.raises(ValueError, match="not fitted"):
            estimator.to_torch()

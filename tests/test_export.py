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
from skinvert.flows.transports import MixtureTransport

CLOSE = 1e-4
SLOW = pytest.mark.slow  # the exporter takes its time for many mixtures


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
    "patches": {"architecture": "sliced", "n_components": 2, "n_mixture": 2, "n_blocks": 2},
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
@pytest.mark.parametrize(
    "name",
    ["square", "linear", "coupling", "logit", "sliced", pytest.param("patches", marks=SLOW)],
)
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


@pytest.fixture(scope="module")
def dreamer(rows):
    return skinvert.CoupledDreamer(
        LogisticRegression(),
        image_shape=(8, 4),
        n_epochs=1,
        width=4,
        n_steps=3,
        n_snapshots=1,
        init_scale=0.0,
        noise_scale=0.0,
        learning_rate=1e-12,
        random_state=0,
    ).fit(*rows)


def test_the_module_of_a_dreamer_makes_its_images(dreamer):
    # Rows that start from the mean code and hardly move are the decoder's answer to it.
    expected = dreamer.generate([0])
    latents = torch.from_numpy(np.asarray(dreamer._codes)).mean(0, keepdim=True)
    found = dreamer.to_torch()(latents)
    np.testing.assert_allclose(found.reshape(1, -1), expected.reshape(1, -1), atol=1e-5)


def test_a_dreamer_without_a_range_is_not_clipped(dreamer):
    wide = copy.copy(dreamer)
    wide.value_range_ = None
    latents = 100 * torch.randn(5, dreamer._codes.shape[1])
    assert wide.to_torch()(latents).max() > dreamer.to_torch()(latents).max()
    torch.testing.assert_close(wide.to_torch()(latents), dreamer.decoder_(latents))


@pytest.mark.filterwarnings("ignore")
def test_onnx_files_of_dreamers_agree(dreamer, tmp_path):
    pytest.importorskip("onnxscript", reason="comes with the extra onnx")
    path = dreamer.export_onnx(tmp_path / "dreamer.onnx")
    latents = np.random.default_rng(0).normal(size=(7, dreamer._codes.shape[1]))
    latents = latents.astype(np.float32)
    expected = dreamer.to_torch()(torch.from_numpy(latents))
    np.testing.assert_allclose(ran(path, latents), expected, atol=CLOSE)


def test_untrained_dreamers_have_nothing_to_hand_out(rows, tmp_path):
    dreamer = skinvert.CoupledDreamer(LogisticRegression(), generator="untrained")
    dreamer.set_params(image_shape=(8, 4)).fit(*rows)
    for hand_out in (dreamer.to_torch, lambda: dreamer.export_onnx(tmp_path / "none.onnx")):
        with pytest.raises(ValueError, match="pretrained"):
            hand_out()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_mixtures_agree_far_out(tmp_path):
    quantiles = pytest.importorskip(
        "skinvert.flows.quantiles", reason="needs onnxscript, of the extra onnx"
    )
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra onnx")
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(4, 3, 3, generator=generator).double().tril(-1)
    factors = factors + torch.rand(4, 3, generator=generator).double().add(0.05).diag_embed()
    transport = MixtureTransport(
        torch.full((4,), 0.25).double(),
        4 * torch.randn(4, 3, generator=generator).double(),
        factors,
    )

    class Inverse(torch.nn.Module):
        def forward(self, z):
            return quantiles.mixture_inverse(
                z, transport.log_weights, transport.means, transport.factors
            )

    program = torch.onnx.export(
        Inverse().eval(),
        (torch.zeros(2, 3).double(),),
        dynamic_shapes=({0: torch.export.Dim("n")},),
        custom_translation_table=quantiles.OPERATORS,
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    z = torch.randn(200, 3, generator=generator).double() * torch.logspace(0, 2, 200)[:, None]
    (found,) = session.run(None, {session.get_inputs()[0].name: z.numpy()})
    back, _ = transport(torch.from_numpy(found))
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)


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

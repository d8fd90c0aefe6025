"""bfloat16 and compiling: near the same answers, taken where they pay and agree, else let alone."""

import itertools
import pickle
import shutil

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from skinvert import CoupledDreamer, DeepInversion, ImagineSynthesizer, InputOptimizationGenerator
from skinvert.inversion.statistics import record_features
from skinvert.inversion.watching import WatchedClassifier
from skinvert.models import acceleration
from skinvert.models.frozen import FrozenClassifier


@pytest.fixture
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.SiLU()]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 5))
        return FrozenClassifier(net.eval(), (1, 8, 8))


@pytest.fixture
def images():
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)


def both(classifier, answer):
    """What `answer` returns in either precision."""
    found = []
    for classifier.acceleration in (None, "bfloat16"):
        found.append(answer())
    return found


def test_logits_and_slopes_are_near_and_single(classifier, images):
    def answer():
        logits = classifier(images)
        return logits, torch.autograd.grad(logits.logsumexp(1).sum(), images)[0]

    (logits, slopes), (near, near_slopes) = both(classifier, answer)
    assert near.dtype == near_slopes.dtype == torch.float32
    assert not torch.equal(logits, near)
    torch.testing.assert_close(near, logits, rtol=0.02, atol=0.01)
    # A rectifier near zero may turn round, so that single slopes differ.
    assert torch.cosine_similarity(slopes.flatten(1), near_slopes.flatten(1)).min() > 0.98


def test_features_and_moments_are_single_and_near(classifier, images):
    def answer():
        moments = WatchedClassifier(classifier, ["1", "4"], activations=["2"])(images)
        with record_features(classifier.network, ["1", "4"]) as features:
            classifier.answer(classifier.network, images)
        return [moments[1]["2"], *moments[2]["1"], *moments[2]["4"], *features.values()]

    plain, half = both(classifier, answer)
    for exact, near in zip(plain, half, strict=True):
        assert near.dtype == torch.float32
        torch.testing.assert_close(near, exact, rtol=0.05, atol=0.02)


def test_weights_stay_as_they_are(classifier, images):
    before = [tensor.clone() for tensor in classifier.state_dict().values()]
    classifier.acceleration = "bfloat16"
    classifier(images).sum().backward()
    after = classifier.state_dict().values()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


class Clock:
    """Seconds as given, read twice a probe."""

    def __init__(self, plain, half):
        self.readings = itertools.chain([0.0, plain, 0.0, half])

    def __call__(self):
        return next(self.readings)


@pytest.mark.parametrize(
    ("plain", "half", "chosen"),
    [(2.0, 1.0, "bfloat16"), (1.0, 1.0, None), (1.0, 2.0, None), (1.04, 1.0, None)],
)
def test_what_is_not_faster_is_not_taken(classifier, plain, half, chosen):
    assert acceleration._faster(classifier, Clock(plain, half)) == chosen
    assert classifier.acceleration is None


def test_what_disagrees_is_not_taken(classifier):
    class Coarse(nn.Module):
        def forward(self, images):
            logits = images.flatten(1)[:, :3] * torch.tensor([1.0, 1.01, 0.99])
            return -logits if torch.is_autocast_enabled("cpu") else logits

    coarse = FrozenClassifier(Coarse(), (1, 8, 8))
    assert acceleration._faster(coarse, Clock(2.0, 1.0)) is None


def test_a_layer_without_a_kernel_falls_back():
    class Picky(nn.Module):
        def forward(self, images):
            if torch.is_autocast_enabled("cpu"):
                raise RuntimeError("not implemented for 'BFloat16'")
            return images.flatten(1)

    picky = FrozenClassifier(Picky(), (1, 2, 2))
    assert acceleration._faster(picky, Clock(2.0, 1.0)) is None
    assert picky.acceleration is None


def test_auto_is_single_precision_on_a_cpu(classifier):
    assert acceleration.pick_acceleration(classifier, "auto") is None
    assert acceleration.pick_acceleration(classifier, "bfloat16") == "bfloat16"
    assert acceleration.pick_acceleration(classifier, None) is None


@pytest.fixture
def compiler(monkeypatch):
    """The front of torch.compile with an eager backend: what it compiled, in a list."""
    given, compiled = torch.compile, []

    def eager(network, **settings):
        compiled.append(network)
        return given(network, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", eager)
    return compiled


@pytest.mark.parametrize("rest", ["", "bfloat16+"])
def test_compiled_answers_are_the_same(classifier, images, compiler, rest):
    def answer():
        logits = classifier(images)
        return logits, torch.autograd.grad(logits.logsumexp(1).sum(), images)[0]

    classifier.acceleration = rest.rstrip("+") or None
    plain = answer()
    assert acceleration.pick_acceleration(classifier, f"{rest}compile") == f"{rest}compile"
    classifier.acceleration = f"{rest}compile"
    for one, other in zip(plain, answer(), strict=True):
        torch.testing.assert_close(one, other)
    assert len(compiler) == 1


def test_compiled_again_after_a_copy_and_a_move(classifier, images, compiler):
    classifier.acceleration = "compile"
    logits = classifier(images)
    for other in (pickle.loads(pickle.dumps(classifier)), classifier.to("cpu")):
        torch.testing.assert_close(other(images), logits)
    assert len(compiler) == 3


def test_what_no_compiler_takes_runs_as_it_is(classifier, images, monkeypatch):
    logits = classifier(images)

    def refuse(network, **settings):
        raise ImportError("no compiler here")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.warns(RuntimeWarning, match="no compiler here.*'bfloat16' is taken"):
        assert acceleration.pick_acceleration(classifier, "bfloat16+compile") == "bfloat16"
    assert classifier.acceleration is None
    assert torch.equal(classifier(images), logits)


def test_what_is_compiled_wrongly_is_not_taken(classifier, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, **_: lambda images: -network(images))
    with pytest.warns(RuntimeWarning, match="answers otherwise"):
        assert acceleration.pick_acceleration(classifier, "compile") is None


GENERATORS = {
    "input optimisation": (InputOptimizationGenerator, {"init": "mean", "n_steps": 5}),
    "coupled": (CoupledDreamer, {"n_epochs": 1, "n_steps": 5}),
    "deep inversion": (DeepInversion, {"n_steps": 5}),
    "imagine": (ImagineSynthesizer, {"n_steps": (5, 0)}),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_every_method_runs_in_it_and_keeps_it(name):
    method, settings = GENERATORS[name]
    X, y = load_digits(return_X_y=True)
    images, found = (X[:100] / 16).astype(np.float32).reshape(-1, 8, 8), {}
    for asked in ("bfloat16", "auto", None):
        generator = method(**settings, acceleration=asked, random_state=0).fit(images, y[:100])
        found[asked] = generator.generate([0, 1])
    assert generator.acceleration_ is None
    np.testing.assert_array_equal(found["auto"], found[None])
    assert not np.array_equal(found["bfloat16"], found[None])
    fitted = method(**settings, acceleration="bfloat16", random_state=0).fit(images, y[:100])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.generate([0, 1]), found["bfloat16"])


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("name", ["input optimisation", "coupled"])
def test_a_method_runs_compiled(name):
    method, settings = GENERATORS[name]
    X, y = load_digits(return_X_y=True)
    images, found = (X[:100] / 16).astype(np.float32).reshape(-1, 8, 8), {}
    for asked in ("compile", None):
        generator = method(**settings, acceleration=asked, random_state=0).fit(images, y[:100])
        assert generator.acceleration_ == asked
        found[asked] = generator.generate([0, 1])
    np.testing.assert_allclose(found["compile"], found[None], atol=1e-3)


def test_other_names_are_refused():
    generator = InputOptimizationGenerator(acceleration="fast")
    with pytest.raises(ValueError, match="acceleration"):
        generator.fit(np.zeros((4, 64), dtype=np.float32), [0, 1, 0, 1])

"""Files of estimators: the same bits after a round trip, and nothing hostile gets through."""

import copy
import hashlib
import io
import json
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import skorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import torch as safetensors
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from torch import nn

import skinvert
from skinvert.persistence import (
    CorruptFileError,
    PersistenceError,
    UnknownVersionError,
    UntrustedError,
    archive,
)
from skinvert.persistence.decoding import decode
from skinvert.persistence.encoding import encode

LABELS = [3, 8, 3]
RELEASES = Path(__file__).parent / "releases"
OPTIMISED = {"prior": "mean", "init": "noise", "n_steps": 3, "random_state": 0}


class Canary(nn.Module):
    """A stranger's module: alive, it says so."""

    sung = []  # noqa: RUF012 (shared on purpose)

    def __init__(self):
        super().__init__()
        self.sung.append("__init__")
        self.linear = nn.Linear(64, 10)

    def __setstate__(self, state):
        self.sung.append("__setstate__")
        super().__setstate__(state)

    def forward(self, x):
        return nn.functional.relu(self.linear(x))


def sing(*_, **__):
    Canary.sung.append("called")


@pytest.fixture(scope="module")
def small():
    """Rows (150, 64) in [0, 1] and their labels."""
    X, y = load_digits(return_X_y=True)
    return (X[:150] / 16).astype(np.float32), y[:150]


def convolutional():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
        ).eval()


def optimised(**parameters):
    return lambda: skinvert.InputOptimizationGenerator(
        LogisticRegression(), **OPTIMISED | parameters
    )


FITTED = {
    "optimised": optimised(),
    "phase": optimised(parameterization="phase", objective="margin"),
    "fourier": optimised(parameterization="fourier", prior="class_means"),
    "pyramid": optimised(parameterization="pyramid", transforms="robust"),
    "drawn": optimised(init="prior", prior="parzen"),
    "kernel density": lambda: skinvert.InputOptimizationGenerator(
        LogisticRegression(), prior=KernelDensity(bandwidth=0.2), random_state=0
    ),
    "sliced flow": lambda: skinvert.InvertibleFlowClassifier(n_components=8, random_state=0),
    "square flow": lambda: skinvert.InvertibleFlowClassifier(
        "square", max_epochs=1, random_state=0
    ),
    "coupling flow": lambda: skinvert.InvertibleFlowClassifier(
        "coupling", max_epochs=1, n_components=8, random_state=0
    ),
    "regene": lambda: skinvert.ReGene(
        LogisticRegression(), n_epochs=1, decoder_width=4, threshold=None, random_state=0
    ),
    "coupled": lambda: skinvert.CoupledDreamer(
        LogisticRegression(), n_epochs=1, n_steps=3, random_state=0
    ),
    "imagine": lambda: skinvert.ImagineSynthesizer(
        convolutional(), n_steps=(2, 0), image_shape=(1, 8, 8), random_state=0
    ),
    "deep inversion": lambda: skinvert.DeepInversion(
        convolutional(), n_steps=3, image_shape=(1, 8, 8), random_state=0
    ),
    "pipeline": lambda: make_pipeline(
        MinMaxScaler(), skinvert.InputOptimizationGenerator(LogisticRegression(), **OPTIMISED)
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # few rows, few steps: warnings are due
@pytest.mark.parametrize("name", FITTED)
def test_a_round_trip_keeps_the_bits(name, small, tmp_path, global_rng_untouched):
    estimator = FITTED[name]().fit(*small)
    with global_rng_untouched():
        path = skinvert.save(estimator, tmp_path / "estimator.skinvert")
        again = skinvert.load(path)
    assert repr(again) == repr(estimator)
    np.testing.assert_array_equal(
        skinvert.generate(again, LABELS), skinvert.generate(estimator, LABELS)
    )
    # What was loaded is whole: it can be saved again, and is the same file.
    assert skinvert.save(again, tmp_path / "again.skinvert").read_bytes() == path.read_bytes()


def test_a_sampler_keeps_its_generator(small, tmp_path):
    X, y = small
    sampler = skinvert.GenerativeSampler(FITTED["optimised"](), random_state=0).fit(X, y)
    again = skinvert.load(skinvert.save(sampler, tmp_path / "sampler"))
    np.testing.assert_array_equal(
        again.generator_.generate(LABELS), sampler.generator_.generate(LABELS)
    )
    assert again.sample_counts_ == sampler.sample_counts_
    np.testing.assert_array_equal(again.fit_resample(X, y)[0], sampler.fit_resample(X, y)[0])


def test_unfitted_estimators_keep_their_parameters(tmp_path):
    estimator = skinvert.ReGene(
        skorch.NeuralNetClassifier(nn.Linear, module__in_features=3, module__out_features=2),
        ratios=[0.25, 0.75],
        clip=(0.0, float("inf")),
        classes=np.array(["a", "b"]),
        random_state=np.random.RandomState(3),
    )
    again = skinvert.load(skinvert.save(estimator, tmp_path / "unfitted"))
    assert again.ratios == [0.25, 0.75]
    assert again.clip == (0.0, float("inf"))
    assert again.classes.dtype == estimator.classes.dtype
    assert again.random_state.randint(1000) == np.random.RandomState(3).randint(1000)
    assert again.classifier.module is nn.Linear
    assert again.classifier.module__in_features == 3


def test_training_goes_on_where_it_stopped(small, tmp_path):
    flow = skinvert.InvertibleFlowClassifier(
        "square", max_epochs=1, cooldown=0, warm_start=True, random_state=0
    ).fit(*small)
    again = skinvert.load(skinvert.save(flow, tmp_path / "flow"))
    for estimator in (flow, again):
        estimator.set_params(max_epochs=3).fit(*small)
    np.testing.assert_array_equal(again.generate(LABELS), flow.generate(LABELS))


def test_a_frozen_skorch_net_stays_trained(small, tmp_path):
    X, y = small
    net = skorch.NeuralNetClassifier(
        nn.Sequential(nn.Linear(64, 10)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=2,
        verbose=0,
        train_split=None,
        callbacks=[skorch.callbacks.LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1)],
    ).fit(X, y)
    generator = skinvert.InputOptimizationGenerator(FrozenEstimator(net), **OPTIMISED).fit(X, y)
    again = skinvert.load(skinvert.save(generator, tmp_path / "net"))
    np.testing.assert_array_equal(again.generate(LABELS), generator.generate(LABELS))
    loaded = again.classifier.estimator
    np.testing.assert_array_equal(loaded.predict_proba(X), net.predict_proba(X))
    assert loaded.history[:, "train_loss"] == net.history[:, "train_loss"]
    for trained in (net, loaded):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            trained.partial_fit(X, y)
    np.testing.assert_array_equal(loaded.predict_proba(X), net.predict_proba(X))


CLASSIFIERS = [
    RandomForestClassifier(3, random_state=0),
    GradientBoostingClassifier(n_estimators=2, random_state=0),
    KNeighborsClassifier(algorithm="kd_tree"),
    KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
    MLPClassifier(max_iter=5, random_state=0),
    SVC(),
    GaussianNB(),
    LinearDiscriminantAnalysis(),
    make_pipeline(StandardScaler(), PCA(8), LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda c: type(c).__name__)
def test_frozen_classifiers_of_scikit_learn_come_back(classifier, small, tmp_path):
    frozen = FrozenEstimator(clone(classifier).fit(*small))
    generator = skinvert.InputOptimizationGenerator(frozen, random_state=0)
    again = skinvert.load(skinvert.save(generator, tmp_path / "generator")).classifier
    ask = "predict_proba" if hasattr(frozen, "predict_proba") else "decision_function"
    X = small[0]
    np.testing.assert_array_equal(getattr(again, ask)(X), getattr(frozen, ask)(X))


def test_what_is_shared_stays_shared(small, tmp_path):
    regene = FITTED["regene"]().fit(*small)
    again = skinvert.load(skinvert.save(regene, tmp_path / "regene"))
    assert again.encoder_.classifier is again.classifier_


# Values: whatever is put in comes out

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.builds(slice, st.integers(0, 9), st.integers(0, 9)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def round_trip(value):
    graph, tensors, _ = encode(value)
    return decode(json.loads(json.dumps(graph)), tensors)


@given(PLAIN)
@settings(max_examples=60)
def test_plain_values_come_back(value):
    again = round_trip(value)
    assert again == value
    assert repr(again) == repr(value)  # 1 is no 1.0, and no True


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(24, dtype=">i4").reshape(2, 3, 4)[:, ::2],
        np.array(3, dtype=np.uint64),
        np.zeros((0, 4), dtype=np.float16),
        np.array([True, False]),
        np.array([1 + 2j, np.nan]),
        np.array(["a", "Ünïcode", ""]),
        np.array(["a", 1, None], dtype=object),
        np.array([[]], dtype="<U7"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back(array):
    again = round_trip({"array": array})["array"]
    np.testing.assert_array_equal(again, array)
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("=")
    assert again.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc


@pytest.mark.parametrize("value", [np.float32(0.1), np.int64(-3), np.str_("label"), np.bool_(True)])
def test_numpy_scalars_come_back(value):
    again = round_trip([value])[0]
    assert type(again) is type(value)
    assert again == value


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24.0).reshape(2, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.ones(2, 1, 3, 3).to(memory_format=torch.channels_last),  # other strides of length 1
        torch.arange(6).reshape(2, 3).T,
        torch.tensor(1.5, dtype=torch.bfloat16),
        torch.arange(3.0).expand(2, 3),
        torch.tensor([1 + 2j]),
        torch.zeros(0, 3),
        nn.Parameter(torch.ones(2), requires_grad=False),
    ],
    ids=lambda tensor: f"{tensor.dtype}{tuple(tensor.shape)}",
)
def test_tensors_come_back_with_their_strides(tensor):
    again = round_trip([tensor])[0]
    assert type(again) is type(tensor)
    assert torch.equal(again, tensor)
    assert again.dtype == tensor.dtype
    assert again.requires_grad == tensor.requires_grad
    if 0 not in tensor.stride():
        assert again.stride() == tensor.stride()


def test_things_that_refer_to_each_other_come_back():
    inner = [1]
    value = {"a": inner, "b": inner}
    value["self"] = value
    again = round_trip(value)
    assert again["a"] is again["b"]
    assert again["self"] is again


# Strangers' modules

HERE = f"{__name__}.Canary"


@pytest.fixture
def stranger(small, tmp_path):
    """An estimator around a module of this file, and where it was saved."""
    generator = skinvert.InputOptimizationGenerator(Canary(), **OPTIMISED).fit(*small)
    path = skinvert.save(generator, tmp_path / "stranger")
    Canary.sung.clear()
    return generator, path


def test_modules_must_be_allowed_by_name(stranger):
    generator, path = stranger
    for allowed in ((), ["Canary"], [f"{__name__}.sing"], [__name__]):
        with pytest.raises(UntrustedError, match="allowed") as caught:
            skinvert.load(path, allowed=allowed)
        assert caught.value.names == (HERE,)
    assert Canary.sung == []
    again = skinvert.load(path, allowed=[HERE])
    assert set(Canary.sung) == {"__setstate__"}
    np.testing.assert_array_equal(again.generate(LABELS), generator.generate(LABELS))


def test_the_manifest_lists_what_is_needed(stranger):
    _, path = stranger
    with zipfile.ZipFile(path) as opened:
        manifest = json.loads(opened.read("manifest.json"))
    assert manifest["needs"] == [HERE]
    assert manifest["class"].endswith("InputOptimizationGenerator")
    assert manifest["versions"]["torch"] == torch.__version__


def test_names_are_a_sequence(stranger):
    with pytest.raises(TypeError, match="sequence"):
        skinvert.load(stranger[1], allowed=HERE)


class Local(BaseEstimator):
    def __init__(self, part=None):
        self.part = part


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(sing)
    return layer


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (lambda x: x, "lambda"),
        (hooked(), "hooks"),
        (np.array([1], dtype="datetime64[D]"), "datetime64"),
        (np.zeros(1, dtype=[("a", float)]), "array of type"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (torch.eye(2).to_sparse(), "layout"),
        (iter([]), "out of reach"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "can't be saved"),
        (type("Hidden", (), {})(), "Hidden"),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_cannot_be_stored_is_refused_where_it_sits(part, word, tmp_path):
    with pytest.raises(TypeError, match=word) as caught:
        skinvert.save(Local([part]), tmp_path / "file")
    assert ".part[0]" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_only_estimators_are_saved(tmp_path):
    with pytest.raises(TypeError, match="estimator"):
        skinvert.save(nn.Linear(2, 2), tmp_path / "file")


# Hostile files

ESTIMATOR = skinvert.InputOptimizationGenerator(
    FrozenEstimator(LogisticRegression().fit(np.eye(4), [0, 1, 1, 0])),
    classes=np.array(["a", "b"]),
    random_state=np.random.RandomState(0),
)


@pytest.fixture(scope="module")
def genuine():
    """The parts of a file, as they are written: manifest, graph, tensors."""
    graph, tensors, needs = encode(ESTIMATOR)
    versions = {"skinvert": skinvert.__version__}
    return {"format": 1, "class": "", "needs": needs, "versions": versions}, graph, tensors


@pytest.fixture
def canaries(monkeypatch):
    """Everything through which a file could run code, wired to a bell."""
    rung = Canary.sung
    rung.clear()
    for owner, name in (
        (os, "system"),
        (os, "popen"),
        (subprocess, "Popen"),
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
        (np, "load"),
        (joblib, "load"),
        (zipfile.ZipFile, "extract"),
        (zipfile.ZipFile, "extractall"),
    ):
        monkeypatch.setattr(owner, name, sing)
    yield
    assert rung == [], f"a file ran code: {rung}"


def signed(packed):
    """The same bytes with a digest that fits: tampering by one who knows the format."""
    return packed[:-64] + hashlib.sha256(packed[:-64]).hexdigest().encode()


def zipped(members, compression=zipfile.ZIP_STORED, comment=b"skinvert sha256:" + b"0" * 64):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
        opened.comment = comment
    return signed(stream.getvalue())


def with_node(**node):
    """A file whose root is one node."""

    def forge(manifest, graph, tensors):
        return archive.pack(manifest, {"root": {"ref": 0}, "nodes": [node]}, tensors)

    return forge


def with_nodes(*nodes, root=None):
    def forge(manifest, graph, tensors):
        return archive.pack(manifest, {"root": root or {"ref": 0}, "nodes": list(nodes)}, tensors)

    return forge


def naming(name):
    return with_node(kind="name", name=name)


def of_object(name, **state):
    return with_node(kind="object", name=name, state=[[key, value] for key, value in state.items()])


def compiled(of, **parts):
    return with_node(kind="compiled", of=of, parts=[[key, value] for key, value in parts.items()])


def with_members(change):
    def forge(manifest, graph, tensors):
        members = [
            ("manifest.json", json.dumps(manifest)),
            ("estimator.json", json.dumps(graph)),
            ("tensors.safetensors", tensors),
        ]
        return zipped(change(members))

    return forge


def with_manifest(**entries):
    return lambda manifest, graph, tensors: archive.pack(manifest | entries, graph, tensors)


def edited(edit):
    """A file whose graph was edited in place."""

    def forge(manifest, graph, tensors):
        graph = copy.deepcopy(graph)
        edit(graph["nodes"])
        return archive.pack(manifest, graph, tensors)

    return forge


def every(kind, **changes):
    def edit(nodes):
        for node in nodes:
            if node["kind"] == kind:
                node.update(changes)

    return edited(edit)


def every_state(name, value):
    def edit(nodes):
        for node in nodes:
            for pair in node.get("state", []):
                if pair[0] == name:
                    pair[1] = value

    return edited(edit)


def with_tensors(tensors):
    return lambda manifest, graph, _: archive.pack(manifest, graph, tensors)


def huge_header(_, __, tensors):
    return (2**62).to_bytes(8, "little") + tensors[8:]


TREE = {"n_features": 2, "n_classes": {"ref": 1}, "n_outputs": 1, "max_depth": 1}

HOSTILE = {
    # not the file that was written
    "empty": lambda *_: b"",
    "a pickle": lambda *_: pickle.dumps(ESTIMATOR),
    "a digest alone": lambda *_: b"PK" + b"skinvert sha256:" + b"0" * 64,
    "no archive below the digest": lambda *_: signed(b"PK  skinvert sha256:" + b"0" * 64),
    "no digest": lambda *parts: zipped([("manifest.json", "{}")], comment=b""),
    "digest of another file": lambda *parts: archive.pack(*parts)[:-64] + b"a" * 64,
    "digest in capitals": lambda *parts: (
        archive.pack(*parts)[:-64] + archive.pack(*parts)[-64:].upper()
    ),
    "something before": lambda *parts: b"#!/bin/sh\n" + archive.pack(*parts),
    "something after": lambda *parts: archive.pack(*parts) + b"\0",
    # the archive
    "slips upwards": with_members(lambda members: [*members, ("../../evil.py", "sing()")]),
    "slips to the root": with_members(lambda members: [*members, ("/evil.py", "sing()")]),
    "renamed member": with_members(lambda members: [*members[:2], ("../tensors", b"")]),
    "member twice": with_members(lambda members: [*members, members[0]]),
    "member missing": with_members(lambda members: members[:2]),
    "compressed": lambda manifest, graph, tensors: zipped(
        [
            ("manifest.json", json.dumps(manifest)),
            ("estimator.json", b" " * 10_000_000),
            ("tensors.safetensors", tensors),
        ],
        zipfile.ZIP_DEFLATED,
    ),
    "bomb in lzma": lambda manifest, graph, tensors: zipped(
        [(name, b"\0" * 10_000_000) for name in archive.MEMBERS], zipfile.ZIP_LZMA
    ),
    # JSON
    "no JSON": with_members(lambda members: [members[0], ("estimator.json", "{"), members[2]]),
    "deep JSON": with_members(
        lambda members: [members[0], ("estimator.json", '{"a":' * 100_000), members[2]]
    ),
    "JSON of a list": with_members(
        lambda members: [members[0], ("estimator.json", "[]"), members[2]]
    ),
    "NaN": with_members(
        lambda members: [members[0], ("estimator.json", '{"root": NaN}'), members[2]]
    ),
    "endless integer": with_members(
        lambda members: [members[0], ("estimator.json", '{"root": ' + "9" * 10_000), members[2]]
    ),
    "no nodes": lambda manifest, _, tensors: archive.pack(manifest, {"root": None}, tensors),
    "nodes of strings": lambda manifest, _, tensors: archive.pack(
        manifest, {"root": None, "nodes": ["os.system"]}, tensors
    ),
    # versions
    "later format": with_manifest(format=2),
    "format of text": with_manifest(format="1"),
    "true format": with_manifest(format=True),
    "no format": with_manifest(format=None),
    # references
    "reference beyond": with_nodes(root={"ref": 7}),
    "reference before": with_nodes(root={"ref": -1}),
    "reference of text": with_nodes(root={"ref": "0"}),
    "part of itself": with_node(kind="tuple", items=[{"ref": 0}]),
    "long chain": lambda manifest, _, tensors: archive.pack(
        manifest,
        {
            "root": {"ref": 0},
            "nodes": [{"kind": "tuple", "items": [{"ref": k + 1}]} for k in range(50_000)],
        },
        tensors,
    ),
    "unknown kind": with_node(kind="pickle", data="gASV"),
    "key that can't be hashed": with_nodes(
        {"kind": "dict", "items": [[{"ref": 1}, 1]]}, {"kind": "list", "items": []}
    ),
    "no estimator": with_node(kind="list", items=[]),
    # code
    "os.system": naming("os:system"),
    "posix.system": naming("posix:system"),
    "eval": naming("builtins:eval"),
    "getattr": naming("builtins:getattr"),
    "Popen": naming("subprocess:Popen"),
    "pickle.loads": naming("pickle:loads"),
    "torch.load": naming("torch:load"),
    "numpy.load": naming("numpy:load"),
    "a module in a module": naming("sklearn.utils:os.system"),
    "what a module imported": naming("skinvert.persistence.trust:importlib.import_module"),
    "a function of skinvert": naming("skinvert.persistence:save"),
    "a method": naming("sklearn.base:BaseEstimator.__setstate__"),
    "dunder climb": naming("sklearn.base:BaseEstimator.__init__.__globals__"),
    "relative module": naming("..os:system"),
    "no name": naming("os"),
    "name of a number": with_node(kind="name", name=3),
    "a stranger": of_object(f"{__name__}:Canary"),
    "a stranger's module that is not there": of_object("evil_canary:Net"),
    "skorch's checkpoint": of_object("skorch.callbacks.training:Checkpoint", dirname="checkpoints"),
    "skorch's loader": of_object("skorch.callbacks.training:LoadInitState"),
    "a compiled class": of_object("sklearn.tree._tree:Tree"),
    "a scripted module": of_object("torch.jit._script:RecursiveScriptModule"),
    "a class as an object": of_object("builtins:object"),
    "a skorch net with a pickle": of_object(
        "skorch.net:NeuralNet", __cuda_dependent_attributes__="x", device="cpu"
    ),
    # states that do not fit
    "module with a hook": of_object("torch.nn.modules.linear:Linear", _forward_hooks=None),
    "module without parameters": of_object("torch.nn.modules.linear:Linear", training=True),
    "state with a number for a name": with_node(
        kind="object", name="sklearn.decomposition._pca:PCA", state=[[1, 2]]
    ),
    "bit generator": compiled("generator", state=3),
    "random state": compiled("random_state", state="x"),
    "device": compiled("device", name="nowhere"),
    "unknown compiled": compiled("__import__", name="os"),
    "parts of another kind": compiled("slice", stop=3),
    "partial of a string": compiled("partial", func="os.system", args=[], keywords={}),
    "tree that loops": with_nodes(
        {
            "kind": "compiled",
            "of": "tree",
            "parts": [*TREE.items(), ["nodes", {"ref": 2}], ["values", None]],
        },
        {"kind": "list", "items": [2]},
        {"kind": "dict", "items": []},
    ),
    # tensors
    "no tensors": with_tensors(b""),
    "tensors cut off": lambda manifest, graph, tensors: archive.pack(
        manifest, graph, tensors[: len(tensors) // 2]
    ),
    "huge header": lambda *parts: archive.pack(*parts[:2], huge_header(*parts)),
    "tensors of others": with_tensors(safetensors.save({"a": torch.ones(2)})),
    "strides that overlap": with_nodes(
        {"kind": "tensor", "requires_grad": False, "strides": [0, 0]}
    ),
    "complex reals": every("array", complex=True),
    "wide strings": every("strings", width=2**40),
    "strings of objects": every("strings", items=[{"ref": 0}]),
    "shape of strings": every("strings", shape=[2**40, 2**40]),
    "shape of text": every("strings", shape="no"),
}


def test_there_are_fifty_hostile_files():
    assert len(HOSTILE) >= 50


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, genuine, tmp_path, canaries):
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name](*genuine))
    with pytest.raises(PersistenceError) as caught:
        skinvert.load(path)
    assert str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


def test_the_forger_s_tools_make_good_files_too(genuine, tmp_path, canaries):
    path = tmp_path / "genuine"
    path.write_bytes(archive.pack(*genuine))
    assert isinstance(skinvert.load(path), skinvert.InputOptimizationGenerator)
    path.write_bytes(with_members(lambda members: members)(*genuine))
    assert isinstance(skinvert.load(path), skinvert.InputOptimizationGenerator)


def test_errors_have_types_of_their_own(genuine, tmp_path):
    expected = {
        "later format": UnknownVersionError,
        "os.system": UntrustedError,
        "something after": CorruptFileError,
        "slips upwards": CorruptFileError,
    }
    for name, kind in expected.items():
        path = tmp_path / "file"
        path.write_bytes(HOSTILE[name](*genuine))
        with pytest.raises(kind):
            skinvert.load(path)
    with pytest.raises(FileNotFoundError):
        skinvert.load(tmp_path / "nothing")


def test_untrusted_modules_are_not_even_imported(genuine, tmp_path, monkeypatch):
    (tmp_path / "evil_canary.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(of_object("evil_canary:Net")(*genuine))
    with pytest.raises(UntrustedError, match=r"evil_canary\.Net"):
        skinvert.load(path)


@pytest.fixture(scope="module")
def whole(genuine):
    return archive.pack(*genuine)


@given(data=st.data())
@settings(max_examples=100)
def test_every_corruption_is_found(whole, tmp_path_factory, data):
    place = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(place, min(place + 40, len(whole))))
    changed = data.draw(
        st.sampled_from(
            [
                whole[:place],
                whole[:place]
                + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))])
                + whole[place + 1 :],
                whole[:place] + whole[place + 1 :],
                whole[:place] + b"\0" * (end - place) + whole[end:],
                whole[:place] + whole[place : end + 1] + whole[place:],
            ]
        )
    )
    if changed == whole:
        return
    path = tmp_path_factory.getbasetemp() / "corrupt"
    path.write_bytes(changed)
    with pytest.raises(CorruptFileError):
        skinvert.load(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.builds(lambda place: {"ref": place}, st.integers(-1, 60)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ref", "kind", "items", "name"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.filterwarnings("ignore")  # torch and NumPy comment on some of the parts
@given(data=st.data())
@settings(max_examples=100)
def test_a_forged_part_gives_an_estimator_or_a_typed_error(genuine, data):
    """Of one who can sign: whatever stands in the place of any part of the graph."""
    manifest, graph, tensors = genuine
    graph = copy.deepcopy(graph)
    node = data.draw(st.sampled_from(graph["nodes"]))
    place = data.draw(st.sampled_from(sorted(node)))
    held = node[place]
    if isinstance(held, list) and held and data.draw(st.booleans()):
        held[data.draw(st.integers(0, len(held) - 1))] = data.draw(JSON)
    else:
        node[place] = data.draw(JSON)
    try:
        found = decode(*archive.unpack(archive.pack(manifest, graph, tensors))[1:])
    except PersistenceError:
        return
    assert isinstance(found, BaseEstimator)


# Trees, which would read beside their memory

FOREST = RandomForestClassifier(2, max_depth=2, random_state=0)


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10**9), ("right_child", 0), ("feature", 10**6)]
)
def test_trees_with_bad_nodes_are_refused(field, value, small):
    graph, tensors, _ = encode(FOREST.fit(*small))
    keys = {}
    for node in graph["nodes"]:
        if node["kind"] == "dict":
            for name, part in node["items"]:
                if name == field:
                    keys[str(part["ref"])] = None
    assert keys
    changed = safetensors.load(tensors)
    for key in keys:
        changed[key][0] = value
    with pytest.raises(CorruptFileError, match="tree"):
        decode(graph, safetensors.save(changed))


def test_trees_must_fit_their_estimator(small):
    graph, tensors, _ = encode(FOREST.fit(*small))
    graph = copy.deepcopy(graph)
    for node in graph["nodes"]:
        for pair in node.get("state", []):
            if pair[0] == "n_features_in_" and "Forest" in node["name"]:
                pair[1] = 2
    with pytest.raises(CorruptFileError, match="width"):
        decode(graph, tensors)


# Writing


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file(step, tmp_path, monkeypatch):
    path = skinvert.save(skinvert.ReGene(n_combine=2), tmp_path / "file")
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space"):
            skinvert.save(skinvert.ReGene(n_combine=3), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert skinvert.load(path).n_combine == 2


def test_everything_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    skinvert.save(skinvert.ReGene(), tmp_path / "file")
    assert order == ["fsync", "replace", "fsync"]


def test_sets_have_one_order():
    (node,) = (node for node in encode({"b", "a", "c"})[0]["nodes"] if node["kind"] == "set")
    assert node["items"] == ["a", "b", "c"]


# Devices


def fitted_elsewhere(small):
    """As a GPU would have fitted it; nothing here can hold its tensors, so only the name is."""
    regene = FITTED["regene"]().fit(*small)
    expected = regene.generate(LABELS)
    regene.device_ = torch.device("cuda", 5)
    return regene, expected


def test_a_missing_device_becomes_the_cpu(small, tmp_path):
    regene, expected = fitted_elsewhere(small)
    path = skinvert.save(regene, tmp_path / "elsewhere")
    again = skinvert.load(path)
    assert again.device_ == torch.device("cpu")
    np.testing.assert_array_equal(again.generate(LABELS), expected)
    assert again.encoder_.classifier is again.classifier_
    assert skinvert.load(path, device="cpu").device_ == torch.device("cpu")
    with pytest.raises(ValueError, match="device"):
        skinvert.load(path, device="cuda:5")


@pytest.mark.parametrize("library", [pickle, joblib], ids=lambda library: library.__name__)
def test_pickles_work_too(library, small, tmp_path):
    regene, expected = fitted_elsewhere(small)
    path = tmp_path / "pickled"
    with open(path, "wb") as stream:
        library.dump(regene, stream)
    with open(path, "rb") as stream:
        again = library.load(stream)
    assert again.device_ == torch.device("cpu")
    np.testing.assert_array_equal(again.generate(LABELS), expected)
    assert again.encoder_.classifier is again.classifier_


# Earlier releases


@pytest.mark.parametrize("path", sorted(RELEASES.glob("*.skinvert")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_files_of_every_release_load(path):
    assert path.stat().st_size < 100_000
    estimator = skinvert.load(path)
    expected = np.load(path.with_suffix(".npy"), allow_pickle=False)
    np.testing.assert_allclose(estimator.generate(LABELS), expected, atol=1e-3)


def test_this_release_is_among_them():
    assert list(RELEASES.glob(f"*-{skinvert.__version__}.skinvert"))

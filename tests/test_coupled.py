"""CoupledDreamer: what it excites, what a seed guarantees, what is never touched, and bad input."""

import copy
import pickle
import types

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skinvert import Target
from skinvert.coupled import CoupledDreamer
from skinvert.models.ensembles import ClassifierEnsemble

# A few steps are too few for some classes.
pytestmark = pytest.mark.filterwarnings("ignore:rows .* never made the class")

# Rows of 4 in shards of 32: a request of 38 takes two shards, the last one short.
N_ROWS, BATCH = 38, 4
SETTINGS = {
    "untrained": {"generator": "untrained", "n_steps": 8, "width": 8},
    "running averages": {
        "generator": "untrained",
        "n_steps": 8,
        "width": 8,
        "statistics": "running",
        "noise_scale": 2.0,
    },
    "pretrained": {"generator": "pretrained", "n_epochs": 2, "n_steps": 90, "width": 8},
    "robust views": {"generator": "untrained", "n_steps": 4, "width": 8, "transforms": "robust"},
}


def make(net, settings="untrained", **arguments):
    arguments = {"batch_size": BATCH, "random_state": 0, "device": "cpu"} | arguments
    return CoupledDreamer(net, **(SETTINGS[settings] | arguments))


@pytest.fixture(scope="module", params=SETTINGS)
def settings(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(settings, trained_net, digits):
    return make(trained_net, settings).fit(*digits)


@pytest.fixture(scope="module")
def plain(trained_net, digits):
    return make(trained_net).fit(*digits)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).integers(10, size=N_ROWS)


@pytest.fixture(scope="module")
def images(fitted, y):
    return fitted.generate(y)


def changed(fitted, **arguments):
    return copy.copy(fitted).set_params(**arguments)


@parametrize_with_checks(
    [
        CoupledDreamer(n_epochs=2, device="cpu"),
        CoupledDreamer(generator="untrained", n_steps=5, device="cpu"),
    ]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


# Laws


def test_images_are_float32_in_the_range_of_the_data(images, digits):
    X, _ = digits
    assert images.shape == (N_ROWS, 64)
    assert images.dtype == np.float32
    assert images.min() >= X.min()
    assert images.max() <= X.max()
    assert len(np.unique(images, axis=0)) == N_ROWS, "every row is an image of its own"


@pytest.mark.parametrize("n_rows", [1, BATCH, 33])
def test_the_first_images_are_the_images_of_the_first_labels(n_rows, fitted, images, y):
    np.testing.assert_array_equal(fitted.generate(y[:n_rows]), images[:n_rows])


def test_the_same_seed_gives_the_same_bits(settings, fitted, images, y, digits, trained_net):
    again = make(trained_net, settings).fit(*digits)
    np.testing.assert_array_equal(again.generate(y[:5]), images[:5])
    assert not np.array_equal(fitted.generate(y[:5], random_state=1), images[:5])


def test_the_order_of_the_request_hardly_matters(fitted, images, y):
    order = np.argsort(y, kind="stable")
    np.testing.assert_allclose(fitted.generate(y[order]), images[order], atol=5e-3)


def test_threads_give_the_same_bits(fitted, images, y):
    with parallel_config(backend="threading"):
        np.testing.assert_array_equal(fitted.generate(y, n_jobs=2), images)
    threads = torch.get_num_threads()
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            np.testing.assert_array_equal(fitted.generate(y[:5]), images[:5])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],
    ids=["deepcopy", "pickle"],
)
def test_copies_generate_the_same_bits(copied, fitted, images, y):
    np.testing.assert_array_equal(copied(fitted).generate(y[:5]), images[:5])


def test_a_file_holds_the_same_bits(fitted, images, y, tmp_path):
    np.testing.assert_array_equal(fitted.generate(y, out=tmp_path / "images.npy"), images)


def test_global_states_stay_and_the_module_too(
    settings, net, digits, global_rng_untouched, module_untouched
):
    X, y = digits
    with global_rng_untouched(), module_untouched(net):
        dreamer = make(net, settings).fit(X, y)
        dreamer.generate(y[:5])
        dreamer.sample(3)
        dreamer.score(X[:20], y[:20])


# What is excited


@pytest.mark.parametrize("generator", ["untrained", "pretrained"])
def test_classes_are_excited(generator, trained_net, digits):
    dreamer = make(trained_net, generator, n_steps=150, batch_size=10).fit(*digits)
    made, info = dreamer.generate(np.arange(10), return_info=True)
    with torch.no_grad():
        logits = trained_net(torch.from_numpy(made).reshape(-1, 1, 8, 8)).numpy()
    first = -info.history["target_evidence"][:, 0]
    assert (info.activation > first).all()
    assert (logits.argmax(1) == np.arange(10)).mean() >= 0.8
    assert set(info.terms) == {"target_evidence", "other_evidence", "regularization"}
    assert (info.status == "completed").all()


def test_both_classes_of_a_mixture_are_excited(trained_net, digits):
    dreamer = make(trained_net, n_steps=150, batch_size=5).fit(*digits)
    pairs = [(0, 1), (2, 7), (3, 5), (4, 9), (6, 8)]
    weights = np.zeros((5, 10))
    for row, pair in enumerate(pairs):
        weights[row, list(pair)] = 1
    made = dreamer.generate(weights=weights)
    with torch.no_grad():
        logits = trained_net(torch.from_numpy(made).reshape(-1, 1, 8, 8)).numpy()
    found = [set(np.argsort(-row)[:2].tolist()) for row in logits]
    assert np.mean([set(pair) == top for pair, top in zip(pairs, found, strict=True)]) >= 0.6


def test_filters_neurons_and_groups_are_excited(plain, net, digits):
    dreamer = changed(plain, n_steps=200, batch_size=1)
    real = torch.from_numpy(digits[0]).reshape(-1, 1, 8, 8)
    for target in (
        Target([2], layer="1"),
        Target([{2: 3.0, 5: 1.0}], layer="1"),
        Target([4], layer="1", position=(3, 3)),
    ):
        made, info = dreamer.generate(target=target, return_info=True)
        weights = torch.from_numpy(target.matrix(8))
        with torch.no_grad():
            maps = net[:2](torch.cat([torch.from_numpy(made).reshape(-1, 1, 8, 8), real]))
        maps = maps.mean((2, 3)) if target.position is None else maps[:, :, 3, 3]
        reached = (maps * weights).sum(1)
        assert reached[0] > reached[1:].max()
        assert info.activation[0] > 0


def test_dead_neurons_are_reported(digits):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))
    with torch.no_grad():
        net[0].weight.abs_()
        net[0].bias.copy_(torch.tensor([0.0, -1e6]))
    dreamer = make(net).fit(*digits)
    with pytest.warns(UserWarning, match=r"rows \[1\] never made the channel of '1'"):
        _, info = dreamer.generate(target=Target([0, 1], layer="1"), return_info=True)
    assert info.status.tolist() == ["completed", "inactive"]


def test_log_probabilities_and_one_output_have_a_zero_too(digits):
    X, y = digits
    softmax = nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=1))
    assert make(softmax).fit(X, y)._centred
    single = make(nn.Linear(64, 1), n_steps=100).fit(X[y < 2], y[y < 2])
    made = single.generate([0, 1, 0, 1])
    with torch.no_grad():
        answers = single.classifier_(torch.from_numpy(made)).argmax(1).tolist()
    assert answers == [0, 1, 0, 1]


# Generators of the user


def test_a_module_takes_the_decoders_place(trained_net, digits):
    decoder = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    before = copy.deepcopy(decoder.state_dict())
    dreamer = make(trained_net, generator=decoder, n_steps=30).fit(*digits)
    assert dreamer.generate([1, 2]).shape == (2, 64)
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())
    assert all(weights.requires_grad for weights in decoder.parameters())


def test_an_estimator_with_a_decoder_takes_its_place(trained_net, digits):
    decoder = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    latents = np.random.default_rng(0).normal(5.0, 2.0, size=(100, 6)).astype(np.float32)
    other = types.SimpleNamespace(decoder_=decoder, latents_=latents)
    dreamer = make(trained_net, generator=other, n_steps=1, init_scale=0.0, noise_scale=0.0)
    made = dreamer.set_params(learning_rate=1e-9).fit(*digits).generate([1])
    with torch.no_grad():
        expected = decoder(torch.from_numpy(latents.mean(0, keepdims=True)))
    np.testing.assert_allclose(made, expected.flatten(1).numpy(), atol=1e-5)


def test_an_ensemble_is_a_classifier(trained_net, digits):
    dreamer = make(ClassifierEnsemble([trained_net, trained_net])).fit(*digits)
    alone = make(trained_net).fit(*digits)
    np.testing.assert_allclose(dreamer.generate([3]), alone.generate([3]), atol=2e-3)


def test_networks_without_batchnorm_and_rows_that_are_no_images():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    for generator in ("untrained", "pretrained"):
        dreamer = make(pipeline, generator=generator, n_epochs=5, n_steps=60).fit(X, y)
        made = dreamer.generate([0, 1, 2])
        assert dreamer.classifier_(torch.from_numpy(made)).argmax(1).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_vgg16_at_224_pixels():
    vgg16 = pytest.importorskip("torchvision.models").vgg16(weights=None)
    X = np.random.default_rng(0).random((2, 3, 224, 224), dtype=np.float32)
    dreamer = make(vgg16, batch_size=1, n_steps=1).fit(X, [0, 1])
    assert dreamer.generate([668]).shape == (1, 3, 224, 224)


def test_layouts_come_back(trained_net, digits):
    X, y = digits
    assert make(trained_net).fit(X.reshape(-1, 8, 8), y).generate([1]).shape == (1, 8, 8)


def test_clones_keep_their_parameters(plain):
    assert clone(plain).get_params()["width"] == 8


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"generator": "trained"}, TypeError, "'untrained', 'pretrained', a torch module"),
        (
            {"generator": nn.Sequential(nn.Linear(6, 9), nn.Unflatten(1, (1, 3, 3)))},
            ValueError,
            r"shape \(1, 3, 3\)",
        ),
        ({"generator": nn.Unflatten(1, (1, 8, 8))}, ValueError, "set n_latents"),
        ({"generator": nn.Linear(6, 64), "n_latents": 5}, ValueError, "does not take latents"),
        ({"width": 2}, ValueError, "width"),
        ({"statistics": "none"}, ValueError, "statistics"),
        ({"n_steps": 0}, ValueError, "n_steps"),
        ({"clip": (1.0, 0.0)}, ValueError, "clip must be"),
    ],
)
def test_bad_parameters(arguments, error, words, trained_net, digits):
    with pytest.raises(error, match=words):
        make(trained_net, **arguments).fit(*digits)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"target": Target([0], layer="3x")}, "near names are"),
        ({"target": Target([8], layer="1")}, "has 8 units"),
        ({"target": Target([0], layer="1", position=(9, 9))}, "does not lie in layer"),
        ({"weights": np.zeros((1, 10))}, "zero"),
        ({"y": [11]}, "11"),
    ],
)
def test_bad_requests(request_, words, plain):
    with pytest.raises(ValueError, match=words):
        plain.generate(**request_)

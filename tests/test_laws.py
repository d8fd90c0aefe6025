"""Laws of the public calls: what a seed guarantees, and what is never touched."""

import copy
import pickle

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from torch import nn

from skinvert import InputOptimizationGenerator, Target
from skinvert.inversion.objectives import CrossEntropy, TotalVariation

pytestmark = pytest.mark.filterwarnings("ignore:in .* of the rows one of")

# Rows of 4 in shards of 32: a request of 70 takes three shards, the last one short.
N_ROWS, BATCH = 70, 4
SETTINGS = {
    "defaults": {},
    "sampled": {
        "n_steps": 3,
        "learning_rate": 1e-3,
        "n_candidates": 64,
        "batch_size": BATCH,
    },
    "optimised": {
        "prior": "mean",
        "prior_weight": 0.05,
        "init": "noise",
        "n_steps": 6,
        "batch_size": BATCH,
    },
    "optimised, converging": {
        "prior": "mean",
        "prior_weight": 0.05,
        "init": "noise",
        "learning_rate": 0.1,
        "n_steps": 60,
        "tol": 0.02,
        "batch_size": BATCH,
    },
    "robust views": {
        "objective": CrossEntropy() + TotalVariation(0.1),
        "parameterization": "fourier",
        "transforms": "robust",
        "prior": None,
        "init": "noise",
        "n_steps": 3,
        "batch_size": BATCH,
    },
}


def make(net, settings, **arguments):
    return InputOptimizationGenerator(
        net, random_state=0, device="cpu", **(SETTINGS[settings] | arguments)
    )


@pytest.fixture(scope="module", params=SETTINGS)
def settings(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(settings, trained_net, digits):
    return make(trained_net, settings).fit(*digits)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).integers(10, size=N_ROWS)


@pytest.fixture(scope="module")
def images(fitted, y):
    return fitted.generate(y)


def test_images_are_float32_in_the_range_of_the_data(images, digits):
    X, _ = digits
    assert images.shape == (N_ROWS, 64)
    assert images.dtype == np.float32
    assert images.min() >= X.min()
    assert images.max() <= X.max()
    assert len(np.unique(images, axis=0)) == N_ROWS, "every row is an image of its own"


def test_the_same_seed_gives_the_same_bits(settings, fitted, images, y, digits, trained_net):
    np.testing.assert_array_equal(fitted.generate(y), images)
    again = make(trained_net, settings).fit(*digits)
    np.testing.assert_array_equal(again.generate(y), images)
    np.testing.assert_array_equal(fitted.generate(y, random_state=np.random.RandomState(0)), images)


def test_another_seed_gives_other_images(fitted, images, y):
    assert not np.array_equal(fitted.generate(y, random_state=1), images)


@pytest.mark.parametrize("n_rows", [1, 3, BATCH, 33, 69])
def test_the_first_images_are_the_images_of_the_first_labels(n_rows, fitted, images, y):
    np.testing.assert_array_equal(fitted.generate(y[:n_rows]), images[:n_rows])


def test_the_order_of_the_request_hardly_matters(settings, fitted, images, y):
    if "converging" in settings:
        pytest.skip("rounding may move a row's last step, whatever the tolerance")
    # A stable sort keeps the order of equal labels, and with it their seeds.
    order = np.argsort(y, kind="stable")
    np.testing.assert_allclose(fitted.generate(y[order]), images[order], atol=2e-3)


@pytest.mark.parametrize("arguments", [{}, {"transforms": "robust", "n_steps": 0}])
def test_a_row_does_not_know_who_drew_its_candidates_before(arguments, trained_net, digits):
    # First occurrences of different labels share their seed, and with it the draws of the prior.
    generator = make(trained_net, "sampled", **arguments).fit(*digits)
    together = generator.generate([2, 7, 1])
    alone = np.concatenate([generator.generate([label]) for label in (2, 7, 1)])
    np.testing.assert_allclose(together, alone, atol=2e-3)


def test_refills_really_happened(settings, fitted, y):
    if "converging" not in settings:
        pytest.skip("rows of this setting all take the same steps")
    _, info = fitted.generate(y, return_info=True)
    assert len(set(info.n_steps.tolist())) > 3
    assert (info.status == "converged").any()
    assert info.n_sample_steps < 60 * N_ROWS


def test_threads_of_joblib_give_the_same_bits(fitted, images, y):
    with parallel_config(backend="threading"):
        np.testing.assert_array_equal(fitted.generate(y, n_jobs=2), images)


@pytest.mark.slow
def test_processes_of_joblib_give_the_same_bits(fitted, images, y):
    with parallel_config(backend="loky"):
        np.testing.assert_array_equal(fitted.generate(y, n_jobs=2), images)


def test_the_number_of_torch_threads_gives_the_same_bits(fitted, images, y):
    threads = torch.get_num_threads()
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            np.testing.assert_array_equal(fitted.generate(y[:6]), images[:6])
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(threads)


def test_a_file_holds_the_same_bits(fitted, images, y, tmp_path):
    stored = fitted.generate(y, out=tmp_path / "images.npy")
    np.testing.assert_array_equal(stored, images)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],
    ids=["deepcopy", "pickle"],
)
def test_copies_generate_the_same_bits(copied, fitted, images, y):
    np.testing.assert_array_equal(copied(fitted).generate(y), images)


def test_clones_learn_the_same(fitted, images, y, digits):
    np.testing.assert_array_equal(clone(fitted).fit(*digits).generate(y), images)


def test_generating_changes_nothing(fitted, images, y):
    before = pickle.dumps({k: v for k, v in vars(fitted).items() if isinstance(v, np.ndarray)})
    fitted.generate(y[:3], random_state=5)
    after = pickle.dumps({k: v for k, v in vars(fitted).items() if isinstance(v, np.ndarray)})
    assert before == after
    np.testing.assert_array_equal(fitted.generate(y), images)


def test_global_states_stay_and_the_module_too(
    settings, net, digits, global_rng_untouched, module_untouched
):
    # `net` compares the module before and after.
    X, y = digits
    with global_rng_untouched(), module_untouched(net):
        generator = make(net, settings).fit(X, y)
        generator.generate(y[:5])
        generator.sample(3)
        generator.score(X[:100], y[:100])


@pytest.mark.parametrize("settings", ["sampled", "optimised"])
def test_global_states_stay_without_a_seed(settings, net, digits, global_rng_untouched):
    X, y = digits
    with global_rng_untouched():
        generator = make(net, settings).set_params(random_state=None).fit(X, y)
        first, second = generator.generate(y[:5]), generator.generate(y[:5])
        generator.sample(3)
    assert not np.array_equal(first, second)


def test_the_default_classifier_keeps_global_states(digits, global_rng_untouched):
    X, y = digits[0][:200], digits[1][:200]
    with global_rng_untouched():
        generator = InputOptimizationGenerator(random_state=0, device="cpu").fit(X, y)
        generator.score(X, y)
    assert generator.history_["train_loss"][-1] < generator.history_["train_loss"][0]


def test_defaults_are_repeated_with_their_classifier(digits):
    X, y = digits[0][:200], digits[1][:200]
    first, again = (
        InputOptimizationGenerator(random_state=3, device="cpu").fit(X, y) for _ in range(2)
    )
    np.testing.assert_array_equal(first.generate(y[:20]), again.generate(y[:20]))
    np.testing.assert_array_equal(first.generate(y[:20])[:7], first.generate(y[:7]))
    assert first.score(X, y) == again.score(X, y)


def test_score_is_repeated_and_beats_chance(settings, fitted, digits):
    X, y = digits[0][:200], digits[1][:200]
    score = fitted.score(X, y)
    assert fitted.score(X, y) == score
    assert score > (0.85 if settings == "defaults" else 0.15)


# The prior never sees labels


class Swapped(nn.Module):
    """Outputs 3 and 8 of a classifier, exchanged."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images)[:, [0, 1, 2, 8, 4, 5, 6, 7, 3, 9]]


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [("defaults", {}), ("sampled", {"n_steps": 0}), ("optimised", {"objective": "logit"})],
)
def test_swapped_outputs_swap_the_classes(settings, arguments, trained_net, digits):
    plain = make(trained_net, settings, **arguments).fit(*digits)
    swapped = make(Swapped(trained_net), settings, **arguments).fit(*digits)
    asked, exchanged = [3] * 9 + [8] * 9, [8] * 9 + [3] * 9
    np.testing.assert_array_equal(swapped.generate(asked), plain.generate(exchanged))
    assert not np.array_equal(plain.generate(asked), plain.generate(exchanged))


@pytest.mark.parametrize("settings", ["defaults", "sampled"])
def test_a_constant_classifier_drops_the_judge_to_chance(settings, digits):
    X, y = digits
    constant = nn.Linear(64, 10)
    nn.init.zeros_(constant.weight)
    assert make(constant, settings).fit(X, y).score(X, y) < 0.25


def test_what_is_asked_for_is_what_the_classifier_sees(settings, fitted, images, y, net):
    if settings == "robust views":
        pytest.skip("three steps from noise are too few for views")
    with torch.no_grad():
        answers = net(torch.from_numpy(images).reshape(-1, 1, 8, 8))
    assert (answers.argmax(1).numpy() == y).mean() > 0.8


# Weights and targets


def test_weights_are_normalised(fitted):
    weights = np.random.default_rng(0).uniform(size=(5, 10))
    np.testing.assert_array_equal(
        fitted.generate(weights=weights), fitted.generate(weights=4 * weights)
    )


def test_one_class_is_a_mixture_of_one(settings, fitted, images, y):
    if "optimised" in settings or settings == "robust views":
        pytest.skip("optimised mixtures maximise the logits (section 5.4)")
    np.testing.assert_array_equal(fitted.generate(weights=np.eye(10)[y]), images)


def test_channels_of_a_layer_are_excited(settings, fitted, net):
    if not settings.startswith("optimised"):
        pytest.skip("draws and a few steps say little of a channel")
    target = Target([0, 1, 2, 3, 4, 5], layer="1")
    asked = fitted.generate(target=target)
    with torch.no_grad():
        maps = net[:2](torch.from_numpy(asked).reshape(-1, 1, 8, 8)).mean((2, 3)).numpy()
    # Each channel is excited most by the image that asks for it, but for chance.
    assert (maps.argmax(0)[:6] == np.arange(6)).mean() >= 0.5

"""The public calls: layouts, requests, files, failures, and the company of scikit-learn."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import nn

import skinvert
from skinvert import InputOptimizationGenerator, Target
from skinvert.inversion.loop import DivergenceError
from skinvert.inversion.objectives import CrossEntropy, Term, TotalVariation
from skinvert.inversion.transforms import GaussianNoise
from skinvert.shards import ShardStore

pytestmark = pytest.mark.filterwarnings("ignore:in .* of the rows one of")

NAMES = np.array(list("jihgfedcba"))
QUICK = {
    "prior": "mean",
    "prior_weight": 0.05,
    "init": "noise",
    "n_steps": 2,
    "batch_size": 4,
    "device": "cpu",
    "random_state": 0,
}


def make(classifier, **arguments):
    return InputOptimizationGenerator(classifier, **(QUICK | arguments))


@pytest.fixture(scope="module")
def quick(trained_net, digits):
    """Fitted; tests that change it make their own."""
    return make(trained_net).fit(*digits)


# Layouts


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8)])
def test_images_have_the_layout_of_the_data(shape, net, digits, quick):
    X, y = digits
    generator = make(net).fit(X.reshape(-1, *shape), y)
    images = generator.generate([3, 5, 7])
    assert images.shape == (3, *shape)
    assert generator.sample(4)[0].shape == (4, *shape)
    assert generator.image_shape_ == (1, 8, 8)
    assert generator.n_features_in_ == 64
    np.testing.assert_array_equal(images.reshape(3, -1), quick.generate([3, 5, 7]))
    # Rows may be scored in either layout.
    score = generator.score(X[:50].reshape(-1, *shape), y[:50])
    assert score == generator.score(X[:50], y[:50])


def test_colour_images_keep_their_channels():
    X = np.random.default_rng(0).uniform(size=(20, 3, 6, 5))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(48, 2))
    generator = make(net).fit(X, np.arange(20) % 2)
    assert generator.generate([1, 0]).shape == (2, 3, 6, 5)
    flat = make(net, image_shape=(3, 6, 5)).fit(X.reshape(20, -1), np.arange(20) % 2)
    np.testing.assert_array_equal(flat.generate([1, 0]), generator.generate([1, 0]).reshape(2, -1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_images_are_float32_whatever_the_data(dtype, digits):
    X, y = digits
    generator = make(FrozenEstimator(LogisticRegression().fit(X * 16, y)))
    images = generator.fit((X * 16).astype(dtype), y).generate([1, 2])
    assert images.dtype == np.float32


def test_frames_keep_their_names(net, digits):
    X, y = digits
    frame = pd.DataFrame(X, columns=[f"pixel {index}" for index in range(64)])
    generator = make(net).fit(frame, pd.Series(y))
    assert generator.feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(
        generator.generate(pd.Series([3, 4])), make(net).fit(X, y).generate([3, 4])
    )


def test_labels_may_be_strings(net, digits):
    X, y = digits
    generator = make(net, classes=NAMES).fit(X, NAMES[y])
    np.testing.assert_array_equal(generator.classes_, NAMES)
    np.testing.assert_array_equal(
        generator.generate(["j", "a"]), make(net).fit(X, y).generate([0, 9])
    )
    _, labels = generator.sample(20)
    assert set(labels) <= set(NAMES)


def test_rows_that_are_no_images_are_generated_too():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 7)), np.arange(60) % 3
    X[:, 0] += 3 * y
    generator = InputOptimizationGenerator(LogisticRegression(), random_state=0, device="cpu")
    images = generator.fit(X, y).generate([0, 1, 2] * 10)
    assert generator.image_shape_ is None
    assert images.shape == (30, 7)
    means = [images[c::3, 0].mean() for c in range(3)]
    assert means[0] < means[1] < means[2]


# Requests


@pytest.mark.parametrize(
    ("request_", "got"),
    [
        ({}, "none"),
        ({"y": [1], "weights": np.eye(10)}, r"\['y', 'weights'\]"),
        ({"y": [1], "target": Target([1])}, r"\['y', 'target'\]"),
    ],
)
def test_exactly_one_thing_is_asked_for(request_, got, quick):
    with pytest.raises(ValueError, match=f"exactly one of y, weights and target, got {got}"):
        quick.generate(**request_)


@pytest.mark.parametrize(
    ("y", "remedy"), [(3, r"\[3\]"), ([[1], [2]], "ravel"), (np.int64(3), "list")]
)
def test_scalars_and_columns_are_refused_with_the_remedy(y, remedy, quick):
    with pytest.raises(ValueError, match=remedy):
        quick.generate(y)


def test_unknown_labels_are_named(quick, digits):
    X, _ = digits
    with pytest.raises(ValueError, match=r"'42'.*known are \[0, 1.*classes="):
        quick.generate([1, 42])
    with pytest.raises(ValueError, match="42"):
        quick.score(X[:5], [1, 2, 3, 4, 42])


def test_targets_are_targets(quick):
    with pytest.raises(TypeError, match=r"skinvert\.Target, got list"):
        quick.generate(target=[1, 2])
    with pytest.raises(ValueError, match=r"no layer named 'conv'.*near names"):
        quick.generate(target=Target([0], layer="conv"))
    with pytest.raises(ValueError, match="unit 8, but layer '1' has 8 units"):
        quick.generate(target=Target([8], layer="1"))


def test_target_of_classes_is_what_labels_ask_for(quick):
    np.testing.assert_array_equal(quick.generate(target=Target([3, 8])), quick.generate([3, 8]))


def test_an_empty_request_has_no_images(quick):
    assert quick.generate([]).shape == (0, 64)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(y=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_any_labels_have_an_image_each(y, quick):
    images = quick.generate(y)
    assert images.shape == (len(y), 64)
    assert np.isfinite(images).all()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    weights=st.lists(st.lists(st.floats(0, 100), min_size=10, max_size=10), min_size=1, max_size=4)
)
def test_any_weights_have_an_image_or_an_error(weights, quick):
    if any(sum(row) == 0 for row in weights):
        with pytest.raises(ValueError, match="all zero"):
            quick.generate(weights=weights)
    else:
        images = quick.generate(weights=weights)
        assert images.shape == (len(weights), 64)
        assert np.isfinite(images).all()


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        (-np.eye(10), "non-negative"),
        (np.zeros((2, 10)), "all zero"),
        (np.ones((2, 9)), r"\(n, 10\)"),
        (np.full((1, 10), np.nan), "finite"),
    ],
)
def test_bad_weights_are_refused(weights, complaint, quick):
    with pytest.raises(ValueError, match=complaint):
        quick.generate(weights=weights)


def test_weights_of_a_frame_go_by_name(net, digits):
    X, y = digits
    generator = make(net, classes=NAMES).fit(X, NAMES[y])
    frame = pd.DataFrame({"a": [1.0, 0.0], "j": [3.0, 1.0]})
    matrix = np.zeros((2, 10))
    matrix[:, 0], matrix[:, 9] = frame["j"], frame["a"]
    np.testing.assert_array_equal(
        generator.generate(weights=frame), generator.generate(weights=matrix)
    )


# What comes beside the images


def test_info_speaks_of_every_row(quick):
    y = [1, 2, 1] * 15
    images, info = quick.generate(y, return_info=True)
    np.testing.assert_array_equal(images, quick.generate(y))
    for name in ("status", "n_steps", "seed", "batch_size"):
        assert len(info[name]) == len(y)
    assert (info.status == "completed").all()
    assert (info.n_steps == 2).all()
    assert info.terms.keys() == info.history.keys() == {"cross_entropy", "prior"}
    for name, history in info.history.items():
        assert history.shape == (len(y), 2)
        np.testing.assert_array_equal(history[:, -1], info.terms[name])
    # Shards of 32 and 13 rows: 8 and 4 batches of 4 slots, 2 steps each.
    assert info.n_sample_steps == (8 + 4) * 4 * 2


def test_sampled_rows_tell_their_effective_sample_size(net, digits):
    generator = InputOptimizationGenerator(net, n_candidates=16, random_state=0, device="cpu").fit(
        *digits
    )
    _, info = generator.generate(np.arange(10), return_info=True)
    sizes = info.effective_sample_size
    assert sizes.shape == (10,)
    assert ((sizes >= 1) & (sizes <= 16)).all()


def test_collapsed_resampling_is_warned_about(net, digits):
    generator = InputOptimizationGenerator(
        net, prior_weight=1e-4, n_candidates=16, random_state=0, device="cpu"
    ).fit(*digits)
    with pytest.warns(UserWarning, match="Raise prior_weight, or n_candidates"):
        generator.generate(np.arange(10))


def test_samples_have_the_labels_of_the_data(net, digits):
    X, y = digits
    kept = np.isin(y, [2, 5]) & ((y == 2) | (np.arange(len(y)) % 2 == 0))
    generator = make(net).fit(X[kept], y[kept])
    shares = np.bincount(y[kept], minlength=10) / kept.sum()
    np.testing.assert_allclose(generator.class_prior_, shares)
    images, labels = generator.sample(50)
    assert images.shape == (50, 64)
    assert set(labels) == {2, 5}
    again, labels_again = generator.sample(50)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(generator.sample(50, random_state=1)[1], labels)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3"])
def test_samples_are_counted(n_samples, quick):
    with pytest.raises(ValueError, match="n_samples must be an integer"):
        quick.sample(n_samples)


def test_missing_classes_can_be_generated(net, digits):
    X, y = digits
    generator = make(net).fit(X[y < 5], y[y < 5])
    assert generator.generate([9]).shape == (1, 64)
    assert generator.class_prior_[9] == 0


# Bad data and parameters, at fit


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda X, y: (np.where(np.arange(64) == 5, np.nan, X), y), "NaN"),
        (lambda X, y: (np.where(np.arange(64) == 5, np.inf, X), y), "infinity"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (X[:, :0], y), "0 feature"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X, np.eye(10)[y]), "1d array|multilabel|shape"),
        (lambda X, y: (X, X[:, 10]), "Unknown label type|continuous"),
        (lambda X, y: (X, np.where(y == 3, 42, y)), "'42'.*classes="),
        (lambda X, y: (X.reshape(-1, 8, 8, 1), y), "channels-last"),
        (lambda X, y: (np.full(X.shape, "blue"), y), "blue"),
    ],
    ids=[
        "NaN",
        "infinity",
        "no rows",
        "no features",
        "y longer than X",
        "multilabel",
        "continuous",
        "label outside the net",
        "channels-last",
        "strings",
    ],
)
def test_bad_data_are_refused(spoil, complaint, net, digits):
    with pytest.raises(ValueError, match=complaint):
        make(net).fit(*spoil(*digits))


def test_sparse_rows_are_refused(net, digits):
    X, y = digits
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        make(net).fit(sparse.csr_array(X), y)


def test_labels_are_required(net, digits):
    with pytest.raises(ValueError, match="requires y"):
        make(net).fit(digits[0], None)


def test_one_class_cannot_train_a_classifier(net, digits):
    X, y = digits
    assert make(net).fit(X[y == 1], y[y == 1]).generate([1]).shape == (1, 64)
    with pytest.raises(ValueError, match="one class"):
        make(None).fit(X[y == 1], y[y == 1])


class Numb(nn.Linear):
    def forward(self, rows):
        return super().forward(rows).detach()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"image_shape": (7, 8)}, "image_shape.*multiply out"),
        ({"image_shape": (3, 8, 8)}, "image_shape.*multiply out"),
        ({"classifier": nn.Conv2d(3, 2, 3)}, "channels"),
        ({"classifier": Numb(64, 10)}, "not differentiable"),
        ({"classifier": LogisticRegression().fit([[0], [1]], [0, 1])}, "FrozenEstimator"),
        ({"classes": ["a", "b"]}, "names 2 classes"),
        ({"device": "cuda:99"}, "device='cuda:99' cannot be used here"),
        ({"n_steps": -1}, "n_steps"),
        ({"n_steps": 2.5}, "n_steps"),
        ({"prior_weight": -0.1}, "prior_weight"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"batch_size": 0}, "batch_size"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"prior": "uniform"}, "prior"),
        ({"objective": "hinge"}, "objective"),
        ({"tol": -1.0}, "tol"),
        ({"noise_scale": -1.0}, "noise_scale"),
        ({"n_candidates": 0}, "n_candidates"),
        ({"clip": (1.0, 0.0)}, "clip|value_range"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_parameters_are_refused(arguments, complaint, net, digits):
    with pytest.raises(ValueError, match=complaint):
        make(**({"classifier": net} | arguments)).fit(*digits)


@pytest.mark.parametrize(
    ("later", "complaint"),
    [
        ({"n_steps": -5}, "n_steps"),
        ({"prior_weight": -1}, "prior_weight"),
        ({"objective": TotalVariation(-0.1)}, "'total_variation'.*non-negative"),
        ({"init": np.zeros((1, 7))}, "init holds images of shape"),
        ({"batch_size": "large"}, "batch_size"),
    ],
)
def test_parameters_of_generation_are_read_when_they_are_used(later, complaint, net, digits):
    generator = make(net).fit(*digits)
    generator.set_params(n_steps=4)
    _, info = generator.generate([1], return_info=True)
    assert info.n_steps.tolist() == [4]
    with pytest.raises(ValueError, match=complaint):
        generator.set_params(**later).generate([1])


@pytest.mark.parametrize("call", ["generate", "sample", "score"])
def test_nothing_is_generated_before_fit(call, net, digits):
    arguments = {"generate": ([1],), "sample": (), "score": digits}[call]
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(make(net), call)(*arguments)


def test_a_dead_start_is_diagnosed(digits):
    X, y = digits
    saturated = nn.Sequential(nn.Linear(64, 10), nn.Hardtanh(-1e-9, 1e-9))
    with torch.no_grad():
        saturated[0].weight.mul_(1e6)
        saturated[0].bias.fill_(1e9)
    with pytest.warns(UserWarning, match="do not depend on the first image.*normalize"):
        make(saturated).fit(X, y).generate([1])


@pytest.mark.parametrize("init", ["zeros", "mean", "noise", "images"])
def test_starts_are_what_was_asked_for(init, net, digits):
    X, y = digits
    given_ = X[:3] if init == "images" else init
    starts = make(net, init=given_, n_steps=0).fit(X, y).generate([1, 2, 3])
    if init == "noise":
        assert len(np.unique(starts, axis=0)) == 1, "common random numbers"
        return
    expected = {"zeros": np.zeros((1, 64)), "mean": X.mean(0)[None], "images": X[:3]}[init]
    np.testing.assert_allclose(starts, np.broadcast_to(expected, (3, 64)), atol=1e-6)


def test_fewer_given_images_than_rows_are_refused(net, digits):
    X, y = digits
    generator = make(net, init=X[:2]).fit(X, y)
    with pytest.raises(ValueError, match="init"):
        generator.generate([1, 2, 3])


@pytest.mark.parametrize("noisy", [False, True])
def test_views_may_be_random_where_images_are_drawn(noisy, net, digits):
    generator = InputOptimizationGenerator(
        net,
        transforms="robust",
        n_candidates=8,
        n_steps=2 if noisy else 0,
        learning_rate=1e-3,
        random_state=0,
        device="cpu",
    ).fit(*digits)
    assert np.isfinite(generator.generate([1, 2])).all()


def test_a_prior_is_needed_to_draw_from(net, digits):
    generator = InputOptimizationGenerator(net, prior=None, random_state=0, device="cpu")
    with pytest.raises(ValueError, match="prior"):
        generator.fit(*digits).generate([1])


def test_a_distance_is_no_density_to_draw_from(net, digits):
    generator = InputOptimizationGenerator(net, prior="mean", random_state=0, device="cpu")
    with pytest.raises(ValueError, match="prior"):
        generator.fit(*digits).generate([1])


# Out of memory, divergence, interruption

ROWS = np.arange(40) % 10


@pytest.mark.filterwarnings("ignore:out of memory")
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError("no more")]
)
def test_out_of_memory_halves_the_batch_and_goes_on(error, net, digits, monkeypatch):
    generator = make(net).fit(*digits)
    expected = generator.generate(ROWS)
    whole = InputOptimizationGenerator._generate_rows

    def cramped(self, target, seeds, rows, batch_size, *rest):
        if batch_size > 1:
            raise error
        return whole(self, target, seeds, rows, batch_size, *rest)

    monkeypatch.setattr(InputOptimizationGenerator, "_generate_rows", cramped)
    with pytest.warns(RuntimeWarning, match="batch_size=4: rows 0 to 31 go on with 2"):
        images, info = generator.generate(ROWS, return_info=True)
    np.testing.assert_allclose(images, expected, atol=1e-3)
    assert (info.batch_size == 1).all()
    assert generator.batch_size == 4


@pytest.mark.filterwarnings("ignore:out of memory")
def test_out_of_memory_at_one_row_is_raised(net, digits, monkeypatch):
    def cramped(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    generator = make(net).fit(*digits)
    monkeypatch.setattr(InputOptimizationGenerator, "_generate_rows", cramped)
    with pytest.raises((MemoryError, torch.OutOfMemoryError)):
        generator.generate(ROWS)


def test_other_errors_are_not_taken_for_memory(net, digits, monkeypatch):
    def broken(*_):
        raise RuntimeError("a shape does not fit")

    generator = make(net).fit(*digits)
    monkeypatch.setattr(InputOptimizationGenerator, "_generate_rows", broken)
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        generator.generate(ROWS)


class FailsOnSeven(Term):
    """No number for images of a seven."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, images, state):
        bad = state.weights[:, 7] > 0
        return torch.where(bad, torch.nan, 0.0) + 0 * images.flatten(1).sum(1)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_row_that_diverges_is_flagged_and_harms_no_other(n_jobs, net, digits):
    y = np.r_[np.arange(40) % 7, [7, 1, 2]]
    plain = make(net).fit(*digits)
    generator = make(net, objective=CrossEntropy() + FailsOnSeven()).fit(*digits)
    with (
        parallel_config(backend="threading"),
        pytest.warns(RuntimeWarning, match=r"rows \[40\] diverged.*'fails_on_seven'.*step 1"),
    ):
        images, info = generator.generate(y, n_jobs=n_jobs, return_info=True)
    others = np.arange(43) != 40
    np.testing.assert_array_equal(images[others], plain.generate(y)[others])
    assert np.isfinite(images).all()
    assert info.status[40] == "diverged"
    assert (info.status[others] == "completed").all()


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_what_never_works_is_an_error_that_keeps_what_was_found(n_jobs, net, digits):
    # The second shard, from row 32, asks for sevens alone.
    y = np.r_[np.arange(32) % 7, [7, 7]]
    plain = make(net).fit(*digits)
    generator = make(net, objective=CrossEntropy() + FailsOnSeven()).fit(*digits)
    with (
        parallel_config(backend="threading"),
        pytest.raises(DivergenceError, match=r"'fails_on_seven'.*step 1.*\[32, 33\]") as caught,
    ):
        generator.generate(y, n_jobs=n_jobs)
    error = caught.value
    assert (error.step, error.term, error.rows) == (1, "fails_on_seven", [32, 33])
    np.testing.assert_array_equal(error.images[:32], plain.generate(y[:32]))
    assert np.isnan(error.images[32:]).all()


def interrupted_after(n_shards, monkeypatch):
    """Writing stops, as if by the keyboard, after some shards."""
    write, written = ShardStore.write, []

    def flaky(self, rows, images):
        if len(written) == n_shards:
            raise KeyboardInterrupt
        written.append(rows)
        write(self, rows, images)

    monkeypatch.setattr(ShardStore, "write", flaky)


def test_an_interrupted_file_is_resumed(quick, tmp_path, monkeypatch):
    y = np.arange(70) % 10
    out = tmp_path / "images.npy"
    expected = quick.generate(y)
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            quick.generate(y, out=out)
    assert not out.exists()
    whole, computed = InputOptimizationGenerator._generate_rows, []

    def counted(self, target, seeds, rows, *rest):
        computed.append(rows)
        return whole(self, target, seeds, rows, *rest)

    monkeypatch.setattr(InputOptimizationGenerator, "_generate_rows", counted)
    stored = quick.generate(y, out=out)
    assert computed == [slice(64, 70)], "finished shards are not computed again"
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_array_equal(np.load(out), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_a_file_has_the_layout_of_the_data(net, digits, tmp_path):
    X, y = digits
    generator = make(net).fit(X.reshape(-1, 8, 8), y)
    stored = generator.generate([3, 4, 5], out=tmp_path / "images.npy")
    np.testing.assert_array_equal(stored, generator.generate([3, 4, 5]))
    assert stored.shape == (3, 8, 8)


@pytest.mark.parametrize(
    "change",
    [
        {"y": np.arange(70) % 9},
        {"random_state": 1},
        {"n_steps": 3},
        {"prior_weight": 0.06},
        {"objective": CrossEntropy(0.5)},
        {"objective": "logit"},
        {"init": np.zeros((1, 64))},
        {"init": np.ones((1, 64))},
        {"transforms": "robust"},
        {"transforms": []},
        {"prior": None},
        {"clip": (0.0, 0.5)},
        {"rows": 500},
        {"parameterization": "fourier"},
    ],
    ids=lambda change: str(change)[:30].replace("\n", ""),
)
def test_shards_of_another_request_are_refused(change, net, digits, tmp_path, monkeypatch):
    X, labels = digits
    change = dict(change)
    y = np.arange(70) % 10
    out = tmp_path / "images.npy"
    # Images given as init are the one thing that both sides may hold.
    given_ = {"init": np.full((1, 64), 0.25)} if "init" in change else {}
    # Views of none are no views: here a list replaces a list.
    if change.get("transforms") == []:
        given_ = {"transforms": [GaussianNoise(0.1)]}
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            make(net, **given_).fit(X, labels).generate(y, out=out)
    y, seed, n_rows = (
        change.pop("y", y),
        change.pop("random_state", None),
        change.pop("rows", len(X)),
    )
    other = make(net, **(given_ | change)).fit(X[:n_rows], labels[:n_rows])
    with pytest.raises(ValueError, match="another request"):
        other.generate(y, random_state=seed, out=out)


def test_records_are_not_kept_beside_a_file(quick, tmp_path):
    with pytest.raises(ValueError, match=r"return_info.*out="):
        quick.generate([1], out=tmp_path / "images.npy", return_info=True)


# With scikit-learn


def test_images_leave_a_pipeline_in_its_own_units(digits):
    X, y = digits
    generator = make(LogisticRegression(max_iter=50))
    pipeline = make_pipeline(MinMaxScaler((-1, 1)), generator).fit(X * 16, y)
    images = skinvert.generate(pipeline, [1, 2, 3])
    np.testing.assert_allclose(
        images, pipeline[:-1].inverse_transform(pipeline[-1].generate([1, 2, 3])), atol=1e-5
    )
    assert images.max() > 1.5
    again, info = skinvert.generate(pipeline, [1, 2, 3], return_info=True)
    np.testing.assert_array_equal(again, images)
    assert len(info.status) == 3


def test_a_grid_searches_the_weights_of_terms(net, digits):
    X, y = digits[0][:120], digits[1][:120]
    search = GridSearchCV(
        make(net, objective=CrossEntropy() + TotalVariation(0.1), batch_size=16, verbose=0),
        {"prior_weight": [0.05, 5.0], "objective__total_variation__weight": [0.0, 0.3]},
        cv=StratifiedKFold(2),
        error_score="raise",
        verbose=0,
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    np.testing.assert_array_equal(
        skinvert.generate(search, [4, 2]), search.best_estimator_.generate([4, 2])
    )
    best = search.best_params_["objective__total_variation__weight"]
    assert search.best_estimator_.objective["total_variation"].weight == best


def test_a_search_over_a_pipeline_generates(net, digits):
    X, y = digits[0][:120], digits[1][:120]
    pipeline = make_pipeline(MinMaxScaler(), make(net, batch_size=16))
    search = GridSearchCV(
        pipeline,
        {"inputoptimizationgenerator__prior_weight": [0.05, 1.0]},
        cv=StratifiedKFold(2),
        error_score="raise",
    ).fit(X, y)
    assert skinvert.generate(search, [1, 2]).shape == (2, 64)


def test_only_generators_generate(digits):
    with pytest.raises(TypeError, match="LogisticRegression has no generate"):
        skinvert.generate(LogisticRegression(), [1])


def test_generators_are_no_classifiers(quick):
    assert not hasattr(quick, "predict")
    assert quick.__sklearn_tags__().estimator_type is None
    assert quick.__sklearn_tags__().target_tags.required


def test_silence_is_the_default(quick, capfd):
    quick.generate([1, 2])
    assert capfd.readouterr() == ("", "")


def test_an_estimator_fitted_elsewhere_opens_on_the_cpu(quick):
    # As pickled on a machine with a GPU: the device is remembered, the weights travel on the CPU.
    twin = copy.deepcopy(quick)
    twin.device_ = torch.device("cuda")
    opened = pickle.loads(pickle.dumps(twin))
    if not torch.cuda.is_available():
        assert opened.device_.type == "cpu"
        np.testing.assert_array_equal(opened.generate([3]), quick.generate([3]))


def test_bytes_fed_to_a_network_are_warned_about(net, digits):
    X, y = digits
    with pytest.warns(UserWarning, match=r"values of X reach 255.*normalize"):
        make(net).fit(255 * X, y)


def test_a_series_runs_from_one_class_to_the_other(quick):
    series = quick.interpolate(3, 8, n_images=4)
    weights = np.zeros((4, 10))
    weights[:, 3], weights[:, 8] = [1, 2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3, 1]
    np.testing.assert_array_equal(series, quick.generate(weights=weights))
    with pytest.raises(ValueError, match="n_images"):
        quick.interpolate(3, 8, n_images=1)
    with pytest.raises(ValueError, match="not among"):
        quick.interpolate(3, 99)

"""InvertibleFlowClassifier: scikit-learn's checks, Bayes' rule, exactness, and bad input."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import skinvert
from skinvert import Target
from skinvert.inversion.transforms import RandomAffine
from skinvert.invertible import InvertibleFlowClassifier
from skinvert.models import resuming

SETTINGS = {
    "sliced": {"n_mixture": 4, "n_components": 30, "noise": 0.3},
    "sliced, patches": {"n_mixture": 2, "n_components": 20, "n_blocks": 2, "noise": 0.3},
    "coupling": {"architecture": "coupling", "hidden_size": 32, "max_epochs": 6},
    "square": {"architecture": "square", "max_epochs": 6},
    "square, ib": {"architecture": "square", "objective": "ib", "max_epochs": 6},
    "square, kl": {
        "architecture": "square",
        "objective": "kl",
        "max_epochs": 1,
        "max_condition": 1e9,
    },
    "paper": {
        "architecture": "square",
        "objective": "paper",
        "class_means": "label_line",
        "max_epochs": 1,
        "max_condition": 1e9,
    },
}
LIKELIHOODS = [name for name in SETTINGS if name not in ("paper", "square, kl")]


def make(name="sliced", **arguments):
    settings = SETTINGS[name] | {"random_state": 0, "device": "cpu"}
    return InvertibleFlowClassifier(**(settings | arguments))


@parametrize_with_checks(
    [
        InvertibleFlowClassifier(device="cpu"),
        InvertibleFlowClassifier("square", max_epochs=30, learning_rate=0.01, device="cpu"),
        InvertibleFlowClassifier(n_blocks=2, device="cpu"),
    ]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def held_out():
    X, y = load_digits(return_X_y=True)
    return (X[600:900] / 16).astype(np.float32), y[600:900]


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request):
    return request.param


@pytest.fixture(scope="module")
def every_fit(digits):
    return {name: make(name).fit(*digits) for name in SETTINGS}


@pytest.fixture(scope="module")
def fitted(setting, every_fit):
    return every_fit[setting]


@pytest.fixture(scope="module")
def sliced(every_fit):
    return every_fit["sliced"]


def clone_of(fitted):
    return pickle.loads(pickle.dumps(fitted))


# Classifying


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods_classify_digits(name, every_fit, held_out):
    assert every_fit[name].score(*held_out) > 0.8


def test_score_is_the_accuracy(sliced, held_out):
    X, y = held_out
    assert sliced.score(X, y) == np.mean(sliced.predict(X) == y)


def test_probabilities_are_bayes_rule_on_the_likelihoods(fitted, held_out):
    X = held_out[0][:50]
    with torch.no_grad():
        x = torch.from_numpy(X).double()
        v, log_det = fitted.network_.preprocessing(x)
        densities = (fitted.network_.log_likelihoods(v) + log_det[:, None]).numpy()
    joint = densities + np.log(fitted.class_prior_)
    evidence = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(
        fitted.predict_proba(X), np.exp(joint - evidence[:, None]), atol=1e-9
    )
    np.testing.assert_allclose(fitted.score_samples(X), evidence)


def test_a_scale_of_the_data_moves_the_density_by_its_jacobian(digits, held_out):
    X, y = digits
    plain, scaled = make().fit(X, y), make().fit(4 * X, y)
    rows = held_out[0][:20]
    expected = plain.score_samples(rows) - 64 * np.log(4)
    np.testing.assert_allclose(scaled.score_samples(4 * rows), expected, rtol=1e-4)
    np.testing.assert_allclose(scaled.bits_per_dim(4 * rows), plain.bits_per_dim(rows), rtol=1e-4)


def test_bits_per_dim_count_every_jacobian(sliced, held_out):
    X = held_out[0]
    bits = sliced.bits_per_dim(X)
    # log2(17) bits would send each value as it is.
    assert bits.shape == (len(X),)
    assert 1.0 < bits.mean() < np.log2(17)
    np.testing.assert_array_equal(bits, sliced.bits_per_dim(X))
    smoothed = -(sliced.score_samples(X) / 64 + np.log(1 / 16)) / np.log(2)
    assert bits.mean() == pytest.approx(smoothed.mean(), abs=0.5)


def test_a_logit_changes_the_units_and_not_the_accounts(digits, held_out):
    flow = make(logit=0.1, noise=0.1).fit(*digits)
    X, y = held_out
    assert flow.score(X, y) > 0.85
    assert 1.0 < flow.bits_per_dim(X).mean() < np.log2(17)
    np.testing.assert_allclose(flow.reconstruct(X), X, atol=1e-6)


# There and back


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_latents_go_back_to_their_images(name, every_fit, held_out):
    flow, X = every_fit[name], held_out[0]
    error = np.abs(flow.inverse_transform(flow.transform(X)) - X).max()
    assert error < (1e-9 if "square" in name or name == "coupling" else 1e-6)


def test_latents_lie_around_their_class(sliced, held_out):
    X, _ = held_out
    noise = sliced.transform(X) - sliced.class_means_[sliced.predict(X)]
    assert np.abs(noise).mean() < 3


def test_pipelines_go_both_ways(digits):
    X, y = digits
    pipeline = make_pipeline(StandardScaler(), make("square")).fit(X, y)
    back = pipeline.inverse_transform(pipeline.transform(X[:20]))
    np.testing.assert_allclose(back, X[:20], atol=1e-6)
    assert skinvert.generate(pipeline, [1, 2]).shape == (2, 64)


def test_reconstruct_keeps_the_layout(digits):
    X, y = digits
    flow = make("square", max_epochs=1).fit(X.reshape(-1, 8, 8), y)
    assert flow.reconstruct(X[:3].reshape(-1, 8, 8)).shape == (3, 8, 8)
    assert flow.generate([1]).shape == (1, 8, 8)


def test_interpolations_end_at_their_images(fitted, setting, held_out):
    if setting in ("paper", "square, kl"):
        pytest.skip("a collapsed inverse ends nowhere")
    X = held_out[0]
    series = fitted.interpolate(X[0], X[1], 5)
    assert series.shape == (5, 64)
    np.testing.assert_allclose(series[[0, -1]], X[:2], atol=1e-5)


# Generating


def test_the_first_images_are_those_of_the_first_labels(fitted):
    # Batches of 4, in shards of 32.
    y = np.random.default_rng(0).choice([2, 7], size=35)
    images = fitted.set_params(batch_size=4).generate(y)
    fitted.set_params(batch_size="auto")
    assert images.dtype == np.float32
    again = clone_of(fitted).set_params(batch_size=4)
    for n in (1, 6, 33):
        np.testing.assert_array_equal(again.generate(y[:n]), images[:n])


def test_one_class_is_a_mixture_of_one(fitted):
    np.testing.assert_array_equal(
        fitted.generate(weights=np.eye(10)[[3, 5]]), fitted.generate([3, 5])
    )


@pytest.mark.parametrize("name", ["sliced", "coupling"])
def test_generated_images_are_of_their_class(name, every_fit):
    X, y = load_digits(return_X_y=True)
    asked = np.tile(np.arange(10), 5)
    images = every_fit[name].generate(asked)
    assert SVC().fit(X[600:] / 16, y[600:]).score(images, asked) > 0.85
    assert 0 <= images.min() < images.max() <= 1


def test_copies_generate_the_same_bits(fitted):
    y = [3, 1, 4, 1, 5]
    images = fitted.generate(y)
    np.testing.assert_array_equal(clone_of(fitted).generate(y), images)
    assert not np.array_equal(fitted.generate(y, random_state=7), images)


def test_clones_learn_the_same(setting, fitted, digits, global_rng_untouched):
    with global_rng_untouched():
        again = clone(fitted).fit(*digits)
        images = again.generate([1, 2, 3])
    np.testing.assert_array_equal(images, fitted.generate([1, 2, 3]))


def test_mixtures_lie_between_their_classes(sliced):
    ends = sliced.set_params(denoise=False, clip=None).generate([3, 8])
    middle = sliced.generate(weights=[[0.5 if k in (3, 8) else 0.0 for k in range(10)]])
    sliced.set_params(denoise=True, clip="auto")
    np.testing.assert_allclose(middle[0], ends.mean(0), atol=1e-5)


def test_less_temperature_is_less_variety(digits):
    y = np.zeros(60, dtype=int)
    flow = make().fit(*digits)
    warm = flow.generate(y).std(0).mean()
    assert flow.set_params(temperature=0.3).generate(y).std(0).mean() < 0.7 * warm


def test_denoised_images_are_likelier_and_smoother(digits):
    flow = make(clip=None).fit(*digits)
    y = np.repeat([1, 7], 20)
    clean = flow.generate(y)
    noisy = flow.set_params(denoise=False).generate(y)
    assert flow.score_samples(clean).mean() > flow.score_samples(noisy).mean()
    # Corners are white in every digit; what is left there is noise.
    assert clean[:, 0].std() < 0.2 * noisy[:, 0].std()


def test_samples_follow_the_prior(sliced):
    X, y = sliced.sample(20)
    assert X.shape == (20, 64)
    assert set(y) <= set(range(10))


def test_targets_inside_a_network_are_refused(sliced):
    with pytest.raises(ValueError, match="weights="):
        sliced.generate(target=Target([1]))


# Spreads of the classes


def test_a_fitted_spread_beats_the_sphere(digits, held_out):
    settings = {"max_epochs": 6, "augmentation": None}
    sphere = make("square", class_covariances="identity", **settings).fit(*digits)
    fitted = make("square", **settings).fit(*digits)
    X, y = held_out
    assert fitted.score(X, y) > sphere.score(X, y)
    assert fitted.score_samples(X).mean() > sphere.score_samples(X).mean()


def test_spreads_change_neither_the_map_nor_its_training(digits, held_out):
    settings = {"max_epochs": 2, "class_means": "random"}
    sphere = make("square", class_covariances="identity", **settings).fit(*digits)
    fitted = make("square", **settings).fit(*digits)
    X = held_out[0][:20]
    np.testing.assert_array_equal(sphere.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(sphere.class_means_, fitted.class_means_)


def test_samples_have_the_spread_of_their_class(every_fit):
    flow = clone_of(every_fit["square"]).set_params(denoise=False, clip=None)
    spreads, column = flow.network_.spreads, 3
    z = flow.transform(flow.generate(np.full(400, 3)))
    own = spreads(torch.from_numpy(z), column)[0]
    assert float(own.std()) == pytest.approx(1, abs=0.02)
    assert float(own.mean(0).abs().max()) < 0.3


# Training


def test_ten_epochs_and_more_are_as_many_at_once(digits):
    X, y = digits
    settings = {"max_epochs": 4, "cooldown": 0.0}
    whole = make("coupling", **settings).fit(X, y)
    parts = make("coupling", **settings, warm_start=True).set_params(max_epochs=1).fit(X, y)
    parts = pickle.loads(pickle.dumps(parts)).set_params(max_epochs=4).fit(X, y)
    np.testing.assert_array_equal(parts.generate([1, 2]), whole.generate([1, 2]))
    np.testing.assert_array_equal(parts.history_["train_loss"], whole.history_["train_loss"])


def test_a_warm_start_never_goes_back(digits):
    flow = make("square", warm_start=True, max_epochs=2).fit(*digits)
    with pytest.raises(ValueError, match="2"):
        flow.set_params(max_epochs=1).fit(*digits)
    X, y = digits
    with pytest.raises(ValueError, match="classes of the first fit"):
        flow.set_params(max_epochs=3).fit(X[y < 5], y[y < 5])


@pytest.mark.parametrize("arguments", [{"max_epochs": 4}, {"patience": 1, "learning_rate": 0.05}])
def test_training_goes_on_from_a_checkpoint(arguments, digits, tmp_path, monkeypatch):
    settings = {"max_epochs": 12, "augmentation": None} | arguments
    whole = make("coupling", **settings).fit(*digits)
    stored, path = resuming.Resume.on_epoch_end, tmp_path / "flow.pt"

    def stop(self, net, **rest):
        stored(self, net, **rest)
        if len(net.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resuming.Resume, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            make("coupling", checkpoint=path, **settings).fit(*digits)
    resumed = make("coupling", checkpoint=path, **settings).fit(*digits)
    np.testing.assert_array_equal(resumed.history_["train_loss"], whole.history_["train_loss"])
    np.testing.assert_array_equal(resumed.generate([1, 2]), whole.generate([1, 2]))
    pickle.dumps(resumed)


def test_a_checkpoint_of_another_training_is_overwritten(digits, tmp_path):
    path = tmp_path / "flow.pt"
    make("coupling", max_epochs=2, noise=0.1, checkpoint=path).fit(*digits)
    before = path.read_bytes()
    other = make("coupling", max_epochs=2, noise=0.2, checkpoint=path).fit(*digits)
    plain = make("coupling", max_epochs=2, noise=0.2).fit(*digits)
    assert path.read_bytes() != before
    np.testing.assert_array_equal(other.generate([1]), plain.generate([1]))


def test_patience_keeps_the_best_epoch(digits):
    flow = make("coupling", max_epochs=40, learning_rate=0.01, patience=2).fit(*digits)
    losses = flow.history_["valid_loss"]
    assert len(losses) < 40
    assert len(losses) == losses.argmin() + 3


@pytest.mark.filterwarnings("ignore:the linear layer")
def test_a_broken_loss_names_its_block_and_keeps_the_last_good_weights(digits):
    flow = make("paper", learning_rate=1e18, max_epochs=3)
    with pytest.warns(RuntimeWarning, match=r"not finite in epoch 1; broken is block \d"):
        flow.fit(*digits)
    assert all(bool(torch.isfinite(value).all()) for value in flow.network_.state_dict().values())
    assert np.isfinite(flow.transform(digits[0][:5])).all()


def test_a_condition_worse_than_asked_for_is_told_with_its_block(digits):
    with pytest.warns(RuntimeWarning, match="block [0-3] has condition number"):
        make("paper", max_condition=2.0).fit(*digits)


def test_the_paper_sees_pixels_as_they_are(every_fit, digits):
    preprocessing = every_fit["paper"].network_.preprocessing
    x = torch.from_numpy(digits[0][:5]).double()
    torch.testing.assert_close(preprocessing(x)[0], x)
    assert every_fit["paper"].network_.noise == 0


# Diagnosis


def test_what_collapses_and_what_does_not(digits, held_out):
    collapsed = make("paper", max_epochs=60).fit(*digits).diagnose(*held_out)
    sound = make("square").fit(*digits).diagnose(*held_out)
    assert sound.round_trip_error < 1e-9
    assert sound.round_trip_error_float32 < 1e-4
    assert sound.perturbation_gain < 5e-3
    assert collapsed.perturbation_gain > 100 * sound.perturbation_gain
    assert max(collapsed.condition_numbers) > 10 * max(sound.condition_numbers)
    assert np.nanmean(collapsed.ks_distance) > 2 * np.nanmean(sound.ks_distance)


def test_the_report_of_a_good_flow(sliced, held_out):
    report = sliced.diagnose(*held_out)
    assert report.residual_std == pytest.approx(1, abs=0.3)
    assert report.ks_pass_rate > 0.8
    assert report.bits_per_dim == pytest.approx(sliced.bits_per_dim(held_out[0]).mean())
    assert report.log_likelihood == pytest.approx(sliced.score_samples(held_out[0]).mean())
    assert sliced.diagnose(held_out[0]).ks_distance.shape == (10,)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "paper"}, "takes objective='mle' alone"),
        ({"warm_start": True}, "no epochs"),
        ({"architecture": "coupling", "objective": "kl"}, "belongs to"),
        ({"architecture": "square", "n_blocks": 0}, "at least 1"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"negative_slope": 0.0}, "negative_slope"),
        ({"logit": 0.6}, "logit"),
    ],
)
def test_bad_parameters_are_refused(arguments, message, digits):
    with pytest.raises(ValueError, match=message):
        InvertibleFlowClassifier(**arguments).fit(*digits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"temperature": 0.0}, "temperature"), ({"clip": (1, 0)}, "low <= high")],
)
def test_parameters_of_generation_are_checked_when_they_are_used(arguments, message, sliced):
    changed = clone_of(sliced).set_params(**arguments)
    with pytest.raises(ValueError, match=message):
        changed.generate([1])


def test_constant_columns_need_noise_or_cells(digits):
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    rows[:, 2] = 1.0
    with pytest.raises(ValueError, match="column 2"):
        make(noise=0.0).fit(rows, y)
    assert make(noise=0.1).fit(rows, y).predict(rows).shape == (60,)
    # The border of the digits is constant, but its values are quantised.
    assert make(noise=0.0).fit(*digits).score(*digits) > 0.8
    with pytest.raises(ValueError, match="constant"):
        make(noise=0.0, dequantize=False).fit(*digits)


def test_cells_need_a_grid():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="no common grid"):
        make(dequantize=True).fit(rows, np.arange(30) % 2)


def test_bits_need_a_grid(sliced, digits):
    X, y = digits
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="off the grid"):
        sliced.bits_per_dim(X[:5] + 0.03)
    measured = make().fit(X + 0.01 * rng.normal(size=X.shape), y)
    with pytest.raises(ValueError, match="quantised"):
        measured.bits_per_dim(X[:5])


def test_nan_is_refused(sliced, digits):
    X, y = digits[0].copy(), digits[1]
    X[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        make().fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        sliced.transform(X)
    with pytest.raises(ValueError, match="NaN"):
        sliced.inverse_transform(X)


@pytest.mark.parametrize("shape", [(3, 63), (64,), (2, 8, 8)])
def test_latents_of_another_width_are_refused(shape, sliced):
    with pytest.raises(ValueError, match=r"expected \(n, 64\)"):
        sliced.inverse_transform(np.zeros(shape))


def test_unknown_labels_are_refused(sliced, held_out):
    with pytest.raises(ValueError, match="among the classifier's classes"):
        sliced.generate([11])
    with pytest.raises(ValueError, match="did not see"):
        sliced.diagnose(held_out[0][:2], [1, 77])


def test_views_need_images():
    rows = np.random.default_rng(0).normal(size=(30, 5))
    with pytest.raises(ValueError, match="augmentation needs images"):
        make(augmentation=[RandomAffine(degrees=5)]).fit(rows, np.arange(30) % 2)


def test_a_series_has_two_ends(sliced, held_out):
    with pytest.raises(ValueError, match="at least 2"):
        sliced.interpolate(*held_out[0][:2], 1)


def test_words_are_labels_too(digits):
    X, y = digits
    names = np.array(["nought", "one", "two"])
    few = y < 3
    flow = make().fit(X[few], names[y[few]])
    assert flow.predict(flow.generate(["two", "one"])).tolist() == ["two", "one"]

"""ReGene: the lemma it stands on, the checks it makes, what a seed guarantees, and bad input."""

import copy
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import skinvert
from skinvert import Target
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet
from skinvert.regene import ExhaustionError, ReGene

# Rows of 4 in shards of 32: a request of 70 takes three shards, the last one short.
N_ROWS, BATCH = 70, 4
SAMPLERS = ["convex", "convex_matched", "gmm", "flow"]


def make(net, **arguments):
    settings = {"n_epochs": 12, "decoder_width": 16, "batch_size": BATCH, "threshold": 0.5}
    settings |= {"random_state": 0, "device": "cpu"}
    return ReGene(net, **(settings | arguments))


@pytest.fixture(scope="module")
def fitted(trained_net, digits):
    """Fitted on 600 rows; its generation parameters may be set by tests that copy it."""
    return make(trained_net).fit(*digits)


@pytest.fixture(scope="module", params=SAMPLERS)
def generator(request, fitted):
    return copy.copy(fitted).set_params(sampler=request.param)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).integers(10, size=N_ROWS)


@pytest.fixture(scope="module")
def images(generator, y):
    return generator.generate(y)


def changed(fitted, **arguments):
    return copy.copy(fitted).set_params(**arguments)


@parametrize_with_checks([ReGene(n_epochs=2, threshold=None, device="cpu")])
def test_sklearn_contract(estimator, check):
    check(estimator)


# Latents and their checks


def test_latents_are_those_of_the_classifier(fitted, trained_net, digits):
    X, _ = digits
    with torch.no_grad():
        expected = trained_net[:-1](torch.from_numpy(X).reshape(-1, 1, 8, 8)).numpy()
    np.testing.assert_allclose(fitted.transform(X), expected, atol=1e-5)
    np.testing.assert_allclose(fitted.latents_, expected, atol=1e-5)
    assert list(fitted.get_feature_names_out()[:2]) == ["regene0", "regene1"]


@pytest.mark.parametrize("n_combine", [2, 3, 5])
@pytest.mark.parametrize("ratios", ["uniform", "dirichlet"])
def test_lemma_1(fitted, digits, n_combine, ratios):
    # Latents that the head gives their class keep it in every convex combination, and no others
    # are combined.
    _, y = digits
    spoilt = copy.deepcopy(fitted)
    spoilt.head_.bias.data[3] -= 5.0
    spoilt._sampler = None
    spoilt.set_params(n_combine=n_combine, ratios=ratios, threshold=None)
    _, info = spoilt.generate(np.repeat(np.arange(10), 30), return_info=True)
    assert (info.n_latent_trials == 1).all()
    said = spoilt.head_(torch.from_numpy(spoilt.latents_)).argmax(1).numpy()
    assert (said != y).any(), "there were others"


def test_accepted_latents_are_of_their_class(generator, y):
    _, info = generator.generate(y, return_info=True)
    said = generator.head_(torch.from_numpy(info.latents)).argmax(1).numpy()
    np.testing.assert_array_equal(said, y)


def test_accepted_images_pass_the_threshold(generator, y, net):
    strict = changed(generator, threshold=0.9)
    images, info = strict.generate(y, return_info=True)
    with torch.no_grad():
        logits = net(torch.from_numpy(images).reshape(-1, 1, 8, 8))
    confidence = logits.softmax(1).numpy()[np.arange(N_ROWS), y]
    np.testing.assert_allclose(confidence, info.confidence, atol=1e-4)
    assert (info.confidence >= 0.9).all()
    assert (info.n_image_trials >= 1).all()
    assert (info.n_latent_trials >= info.n_image_trials).all()


def test_thresholds_are_mean_confidences_of_held_out_rows(trained_net, digits):
    X, y = digits
    generator = make(trained_net, n_epochs=1, validation_fraction=0.5).fit(X, y)
    with torch.no_grad():
        logits = trained_net(torch.from_numpy(X).reshape(-1, 1, 8, 8))
    confidence = logits.softmax(1).numpy()[np.arange(len(y)), y]
    overall = generator.mean_confidence_
    assert all(
        confidence[y == c].min() <= overall[c] <= confidence[y == c].max() for c in range(10)
    )
    few = make(trained_net, n_epochs=1, validation_fraction=0.1).fit(X, y)
    assert len(set(few.mean_confidence_)) == 1, "six rows of a class share the mean of all"
    none = make(trained_net, n_epochs=1, validation_fraction=0.0).fit(X, y)
    for c in range(10):
        assert none.mean_confidence_[c] == pytest.approx(confidence[y == c].mean(), abs=1e-5)


def test_without_checks_the_first_draw_counts(fitted, y):
    _, info = changed(fitted, threshold=None, max_trials=1).generate(y[:20], return_info=True)
    assert (info.n_image_trials == 1).all()


def test_images_are_decoded_from_their_sources(fitted, digits, y):
    images, info = fitted.generate(y, return_info=True)
    X, labels = digits
    assert (labels[info.sources] == y[:, None]).all()
    for row in (0, 17, 69):
        again = fitted.combine(X[info.sources[row]], info.ratios[row])
        np.testing.assert_allclose(again[0], images[row], atol=1e-4)
    np.testing.assert_allclose(fitted.inverse_transform(info.latents), images, atol=1e-5)


# Public calls


def test_images_are_float32_in_the_range_of_the_data(images, digits):
    X, _ = digits
    assert images.shape == (N_ROWS, 64)
    assert images.dtype == np.float32
    assert images.min() >= X.min()
    assert images.max() <= X.max()
    assert len(np.unique(images, axis=0)) == N_ROWS


def test_the_same_seed_gives_the_same_bits(generator, images, y, digits, trained_net):
    np.testing.assert_array_equal(generator.generate(y), images)
    again = make(trained_net, sampler=generator.sampler).fit(*digits)
    np.testing.assert_array_equal(again.generate(y), images)
    assert not np.array_equal(generator.generate(y, random_state=1), images)


@pytest.mark.parametrize("n_rows", [1, 3, 33, 69])
def test_the_first_images_are_the_images_of_the_first_labels(n_rows, generator, images, y):
    np.testing.assert_array_equal(generator.generate(y[:n_rows]), images[:n_rows])


def test_first_images_do_not_know_later_failures(fitted, y):
    # The threshold is high, so that rows come back for more trials.
    strict = changed(fitted, threshold=0.97)
    images, info = strict.generate(y, return_info=True)
    assert (info.n_image_trials > 1).any()
    for n_rows in (1, 10, 31, 50):
        np.testing.assert_array_equal(strict.generate(y[:n_rows]), images[:n_rows])


def test_workers_files_and_copies_give_the_same_bits(generator, images, y, tmp_path):
    with parallel_config(backend="threading"):
        np.testing.assert_array_equal(generator.generate(y, n_jobs=2), images)
    stored = generator.generate(y, out=tmp_path / "images.npy")
    np.testing.assert_array_equal(stored, images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(generator)).generate(y), images)


def test_clones_learn_the_same(generator, images, y, digits):
    np.testing.assert_array_equal(clone(generator).fit(*digits).generate(y), images)


def test_parameters_of_generation_can_be_set_after_fit(fitted, images, y):
    other = changed(fitted, sampler=GaussianMixture(2, covariance_type="diag"), n_combine=4)
    assert other.generate(y).shape == images.shape


def test_global_states_and_the_module_stay(net, digits, global_rng_untouched, module_untouched):
    X, y = digits
    with global_rng_untouched(), module_untouched(net):
        generator = make(net, n_epochs=2, random_state=None).fit(X, y)
        generator.set_params(threshold=None)
        first, second = generator.generate(y[:5]), generator.generate(y[:5])
        generator.sample(3)
        generator.reconstruct(X[:3])
    assert not np.array_equal(first, second)


def test_score_beats_chance_and_is_repeated(generator, digits):
    X, y = digits[0][:200], digits[1][:200]
    score = generator.score(X, y)
    assert generator.score(X, y) == score
    assert score > 0.5


def test_mixtures_lie_between_classes(generator, images, y):
    np.testing.assert_array_equal(generator.generate(weights=np.eye(10)[y]), images)
    weights = np.array([[1, 3] + [0] * 8, [1, 0] + [0] * 8, [0, 1] + [0] * 8])
    _, info = generator.generate(weights=weights, return_info=True)
    between, first, second = info.latents
    if info.n_latent_trials.max() == 1:
        # The same numbers draw both ends, so that a strip changes smoothly.
        np.testing.assert_allclose(between, 0.25 * first + 0.75 * second, atol=1e-4)
    assert info.n_image_trials[0] == 1, "what lies between classes is not checked"


def test_reconstructions_are_near(fitted, digits):
    X, _ = digits
    error = np.abs(fitted.reconstruct(X) - X).mean()
    assert error < 0.6 * np.abs(X.mean(0) - X).mean()
    assert 0 < fitted.reconstruction_error_ < 2 * error


def test_combinations_of_one_image_are_its_reconstruction(fitted, digits):
    X, _ = digits
    ends = fitted.combine(X[:2], [[1, 0], [0, 1]])
    np.testing.assert_allclose(ends, fitted.reconstruct(X[:2]), atol=1e-5)
    half = fitted.combine(X[:2])
    np.testing.assert_allclose(half, fitted.interpolate(X[0], X[1], [0.5]), atol=1e-5)
    way = fitted.interpolate(X[0], X[1])
    assert way.shape == (9, 64)
    np.testing.assert_allclose(way[4], half[0], atol=1e-5)


@pytest.mark.parametrize("parents", ["latents", "images"])
def test_generations_come_from_each_other(parents, fitted):
    y = np.repeat([1, 4, 7], 12)
    found = fitted.generations(y, 3, parents=parents)
    assert [images.shape for images in found] == [(36, 64)] * 3
    np.testing.assert_array_equal(found[0], fitted.generations(y, 1, parents=parents)[0])
    # Every generation averages the one before, so that it spreads less.
    spreads = [np.mean([images[y == c].std(0).mean() for c in (1, 4, 7)]) for images in found]
    assert spreads[0] > spreads[1] > spreads[2]


def test_images_keep_their_layout(digits, trained_net):
    X, y = digits
    generator = make(trained_net, n_epochs=1, threshold=None).fit(X.reshape(-1, 8, 8), y)
    cubes = X[:2].reshape(2, 8, 8)
    assert generator.generate(y[:3]).shape == (3, 8, 8)
    assert generator.reconstruct(cubes).shape == (2, 8, 8)
    assert generator.interpolate(*cubes, ratios=4).shape == (4, 8, 8)


# Classifiers and layers


def test_the_default_network_is_trained_without_the_held_out_rows(digits):
    X, y = digits[0][:200], digits[1][:200]
    generator = ReGene(n_epochs=2, random_state=0, device="cpu").fit(X, y)
    history = generator.history_
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert len(history["decoder_loss"]) == 2
    assert generator.encoder_.n_latents == 128


def test_any_classifier_will_do(digits):
    X, y = digits
    net = TrainingNet(
        ConvClassifier, module__image_shape=(1, 8, 8), module__n_classes=10, max_epochs=3
    )
    forest = RandomForestClassifier(n_estimators=20, random_state=0)
    for classifier in (net, FrozenEstimator(forest.fit(X, y))):
        generator = make(classifier, n_epochs=2, threshold=None, max_trials=1000).fit(X, y)
        assert generator.generate(y[:5]).shape == (5, 64)


@pytest.mark.parametrize("layer", ["2", ["3", "penultimate"]])
def test_other_layers_have_a_head_that_was_learned(layer, trained_net, digits):
    X, y = digits
    generator = make(trained_net, layer=layer, n_epochs=3, threshold=None).fit(X, y)
    said = generator.head_(torch.from_numpy(generator.latents_)).argmax(1).numpy()
    with torch.no_grad():
        expected = trained_net(torch.from_numpy(X).reshape(-1, 1, 8, 8)).argmax(1).numpy()
    assert (said == expected).mean() > 0.95
    assert generator.generate(y[:5]).shape == (5, 64)


def test_latents_can_be_stored_in_half(trained_net, digits):
    X, y = digits
    generator = make(trained_net, latent_dtype="float16", n_epochs=1, threshold=None).fit(X, y)
    assert generator.latents_.nbytes == 2 * len(X) * 128
    assert generator.transform(X[:2]).dtype == np.float32
    assert generator.generate(y[:3]).dtype == np.float32


@pytest.mark.filterwarnings("ignore:.*collapsed")
def test_rows_on_a_disk_are_not_copied(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.random((12_000, 256), dtype=np.float32))
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 10))
    y = net(torch.from_numpy(np.array(X))).argmax(1).numpy()
    generator = make(net, n_epochs=1, decoder_width=4, threshold=None, latent_dtype="float16")
    tracemalloc.start()
    try:
        generator.fit(X, y)
        assert tracemalloc.get_traced_memory()[1] < 0.7 * X.nbytes
    finally:
        tracemalloc.stop()
    assert generator.latents_.nbytes == 2 * 12_000 * 16, "n times the latent, and no more"


def test_labels_are_the_users(digits):
    X, y = digits
    names = np.array([f"class {digit}" for digit in y])
    generator = ReGene(
        LogisticRegression(max_iter=100), n_epochs=2, threshold=None, random_state=0
    ).fit(X, names)
    assert generator.generate(["class 3"]).shape == (1, 64)
    with pytest.raises(ValueError, match="not among"):
        generator.generate(["class 11"])


def test_plain_rows_work_the_same():
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    generator = ReGene(random_state=0, device="cpu", sampler="convex_matched", threshold=0.5)
    generator.fit(X_train, y_train)
    assert generator.image_shape_ is None
    assert generator.score(X_test, y_test) > 0.85
    made = generator.generate(np.zeros(200, dtype=int))
    spread = X_train[y_train == 0].std(0)
    off = np.abs(made.mean(0) - X_train[y_train == 0].mean(0)) / spread
    assert off.max() < 1, "every feature in its own unit"


def test_a_pipeline_carries_it(digits):
    X, y = digits
    through = make_pipeline(
        make(LogisticRegression(max_iter=50), n_epochs=1), LogisticRegression(max_iter=500)
    )
    assert through.fit(X, y).score(X, y) > 0.9
    scaled = make_pipeline(
        StandardScaler(), make(LogisticRegression(max_iter=50), n_epochs=3, threshold=None)
    ).fit(X, y)
    assert skinvert.generate(scaled, [1, 2]).shape == (2, 64)


def test_frames_give_frames(fitted, digits):
    X, _ = digits
    latents = copy.copy(fitted).set_output(transform="pandas").transform(X[:3])
    assert isinstance(latents, pd.DataFrame)
    assert latents.columns[0] == "regene0"


def test_the_paper_loss_leaves_the_classifier_out(trained_net, digits):
    generator = make(trained_net, loss="paper", n_epochs=3, adversarial_weight=0.1).fit(*digits)
    assert set(generator.history_) == {"decoder_loss", "mae", "ssim"}
    assert np.isnan(generator.history_["ssim"][-1]), "the last third is MAE alone"


def test_a_critic_is_asked_where_it_has_a_weight(trained_net, digits):
    generator = make(trained_net, n_epochs=3, adversarial_weight=0.01, threshold=None).fit(*digits)
    assert np.isfinite(generator.history_["adversarial"]).all()
    assert generator.generate([1]).shape == (1, 64)


def test_training_goes_on_from_a_checkpoint(trained_net, digits, tmp_path, monkeypatch):
    from skinvert.models import resuming

    whole = make(trained_net, n_epochs=4).fit(*digits)
    stored = resuming.Resume.on_epoch_end

    def stop(self, net, **arguments):
        stored(self, net, **arguments)
        if len(net.history) == 2:
            raise KeyboardInterrupt

    path = tmp_path / "decoder.pt"
    with monkeypatch.context() as patched:
        patched.setattr(resuming.Resume, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            make(trained_net, n_epochs=4, checkpoint=path).fit(*digits)
    resumed = make(trained_net, n_epochs=4, checkpoint=path).fit(*digits)
    for name, value in whole.decoder_.state_dict().items():
        assert torch.equal(value, resumed.decoder_.state_dict()[name])
    np.testing.assert_array_equal(whole.generate([1, 2, 3]), resumed.generate([1, 2, 3]))


# Bad input


def test_exhaustion_says_what_was_found(fitted, y):
    hopeless = changed(fitted, threshold=0.97, max_trials=1)
    with pytest.raises(ExhaustionError, match="sure enough in max_trials=1") as raised:
        hopeless.generate(y)
    error = pickle.loads(pickle.dumps(raised.value))
    found = np.isfinite(error.images).all(1)
    assert 0 < found.sum() < N_ROWS
    assert not found[error.rows].any()
    complete = changed(fitted, threshold=0.97).generate(y)
    np.testing.assert_array_equal(error.images[found], complete[found])


def test_latents_that_never_pass_end_too(fitted):
    lost = copy.deepcopy(fitted)
    lost.head_.bias.data[3] = -1e6
    with pytest.raises(ExhaustionError, match="last layer gives their class"):
        lost.generate([3])


def test_small_classes_are_named(fitted, trained_net, digits):
    X, y = digits
    few = np.r_[np.flatnonzero(y != 5)[:100], np.flatnonzero(y == 5)[:1]]
    generator = make(trained_net, n_epochs=1, threshold=None).fit(X[few], y[few])
    with pytest.raises(ValueError, match="class 5 has 1 rows"):
        generator.generate([1, 5])
    absent = make(trained_net, n_epochs=1).fit(X[y < 9], y[y < 9])
    with pytest.raises(ValueError, match="class 9 has 0 rows"):
        absent.generate([9])


@pytest.mark.parametrize(
    ("ratios", "message"),
    [([0.5, 0.4], "sum to one"), ([2.0, -1.0], "non-negative"), ([1.0], "expected \\(2,\\)")],
)
def test_bad_ratios_are_refused(ratios, message, fitted, digits):
    with pytest.raises(ValueError, match=message):
        changed(fitted, ratios=ratios).generate([1])
    with pytest.raises(ValueError, match=message):
        fitted.combine(digits[0][:2], ratios)


def test_shares_beyond_the_ends_are_refused(fitted, digits):
    with pytest.raises(ValueError, match="non-negative"):
        fitted.interpolate(*digits[0][:2], ratios=[1.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv9"}, "no layer named 'conv9'"),
        ({"decoder": nn.Linear(128, 65)}, r"\(65,\).*\(1, 8, 8\)"),
        ({"decoder": nn.Linear(99, 64)}, r"latents of shape \(n, 128\)"),
        ({"decoder": "vgg"}, "28, 32, 64 or 128"),
        ({"clip": (0.0, 0.5)}, "widen clip"),
        ({"clip": (1.0, 0.0)}, "must be 'auto' or"),
        ({"schedule": [1, 2]}, "list of Phase"),
        ({"n_combine": 1}, "n_combine"),
        ({"loss": "gan"}, "loss"),
        ({"threshold": 1.5}, "threshold"),
    ],
)
def test_bad_parameters_are_refused(arguments, message, trained_net, digits):
    with pytest.raises(ValueError, match=message):
        make(trained_net, **arguments).fit(*digits)


def test_a_sigmoid_decoder_wants_zero_to_one(trained_net, digits):
    X, y = digits
    decoder = nn.Sequential(nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)), nn.Sigmoid())
    generator = make(trained_net, decoder=decoder, n_epochs=2, threshold=None).fit(X, y)
    assert generator.generate([1]).max() <= 1
    with pytest.raises(ValueError, match="ends in a sigmoid"):
        make(trained_net, decoder=decoder).fit(16 * X, y)


@pytest.mark.filterwarnings("ignore:.*collapsed")
def test_losses_that_are_not_finite_stop(digits):
    X, y = digits

    class Explosive(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 64)

        def forward(self, latents):
            answer = self.layer(latents)
            return answer / 0 if self.training else answer

    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    generator = make(net, decoder=nn.Sequential(Explosive(), nn.Unflatten(1, (1, 8, 8))))
    with pytest.raises(FloatingPointError, match="in epoch 1"):
        generator.fit(X, y)


def test_targets_are_for_others(fitted):
    with pytest.raises(ValueError, match="InputOptimizationGenerator"):
        fitted.generate(target=Target([1], layer="1"))


def test_latents_of_another_length_are_refused(fitted):
    with pytest.raises(ValueError, match="have 128"):
        fitted.inverse_transform(np.zeros((2, 5)))


@pytest.mark.parametrize(
    "arguments", [{"parents": "cousins"}, {"n_generations": 0}, {"n_generations": 1.5}]
)
def test_generations_are_counted_and_named(arguments, fitted):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        fitted.generations([1, 1], **arguments)


def test_collapsed_latents_are_warned_of(digits):
    X, y = digits

    class Collapsed(nn.Module):
        """A classifier whose latents are one-hot classes, with a breath of the image."""

        def __init__(self, trained):
            super().__init__()
            self.trained, self.last = trained, nn.Linear(10, 10)
            self.last.weight.data, self.last.bias.data = torch.eye(10), torch.zeros(10)

        def forward(self, images):
            return self.last((20 * self.trained(images)).softmax(1))

    trained = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    regression = LogisticRegression(max_iter=300).fit(X, y)
    trained[1].weight.data = torch.from_numpy(regression.coef_).float()
    trained[1].bias.data = torch.from_numpy(regression.intercept_).float()
    with pytest.warns(UserWarning, match="they have collapsed"):
        make(Collapsed(trained), n_epochs=1).fit(X, y)

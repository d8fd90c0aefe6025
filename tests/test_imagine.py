"""ImagineSynthesizer: eq. 5 and its controls, what a seed guarantees, and bad input."""

import copy
import pickle

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.frozen import FrozenEstimator
from torch import nn

from skinvert import Target
from skinvert.imagine import ImagineSynthesizer
from skinvert.inversion.attribution import gaussian_blob, grad_cam
from skinvert.run import _state_of
from skinvert.shards import fingerprint

# Rows of 4 in shards of 32: a request of 37 takes two shards, the last one short.
N_ROWS, BATCH = 37, 4


def make(net, **arguments):
    settings = {"n_steps": (4, 3), "critic_interval": 2, "batch_size": BATCH}
    settings |= {"random_state": 0, "device": "cpu"}
    return ImagineSynthesizer(net, **(settings | arguments))


@pytest.fixture(scope="module")
def wide_net():
    """A convolutional network for 12 x 12 pixels, untrained; larger than a critic's patch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 10),
        ).eval()


@pytest.fixture(scope="module")
def pictures(digits):
    """Digits in the middle of 12 x 12 pixels, rows (60, 144), and their labels."""
    X, y = digits
    return np.pad(X[:60].reshape(-1, 8, 8), ((0, 0), (2, 2), (2, 2))).reshape(60, -1), y[:60]


@pytest.fixture(scope="module")
def fitted(wide_net, pictures):
    return make(wide_net).fit(*pictures)


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).integers(10, size=N_ROWS)


@pytest.fixture(scope="module")
def images(fitted, y):
    return fitted.generate(y)


@pytest.fixture(scope="module")
def small(trained_net, digits):
    """On the trained network of 8 x 8 pixels, which are too few for a critic."""
    return make(trained_net, n_steps=(60, 0), batch_size=8).fit(digits[0][:200], digits[1][:200])


# What a seed guarantees


def test_images_are_float32_in_the_range_of_the_data(images, pictures):
    assert images.shape == (N_ROWS, 144)
    assert images.dtype == np.float32
    assert pictures[0].min() <= images.min()
    assert images.max() <= pictures[0].max()
    assert len(np.unique(images, axis=0)) == N_ROWS


@pytest.mark.parametrize("n_rows", [1, BATCH, 33])
def test_the_first_images_are_the_images_of_the_first_labels(n_rows, fitted, images, y):
    np.testing.assert_array_equal(fitted.generate(y[:n_rows]), images[:n_rows])


def test_the_same_seed_gives_the_same_bits(fitted, images, y, wide_net, pictures):
    np.testing.assert_array_equal(make(wide_net).fit(*pictures).generate(y[:8]), images[:8])
    assert not np.array_equal(fitted.generate(y[:8], random_state=1), images[:8])


def test_a_row_does_not_know_its_neighbours(fitted, pictures):
    X, _ = pictures
    first = fitted.vary(X[:4], y=[0, 1, 2, 3])
    other = fitted.vary(np.concatenate([X[:1], X[20:23]]), y=[0, 7, 8, 9])
    np.testing.assert_array_equal(first[0], other[0])


def test_threads_of_joblib_give_the_same_bits(fitted, images, y):
    with parallel_config(backend="threading"):
        np.testing.assert_array_equal(fitted.generate(y, n_jobs=2), images)


def test_a_file_holds_the_same_bits(fitted, images, y, tmp_path):
    np.testing.assert_array_equal(fitted.generate(y, out=tmp_path / "images.npy"), images)


def test_a_file_of_other_references_is_told_apart(fitted, wide_net, pictures):
    X, labels = pictures
    other = make(wide_net).fit(np.roll(X, 1, axis=0), np.roll(labels, 1))
    assert _fingerprint(other) != _fingerprint(fitted)
    assert _fingerprint(make(wide_net).fit(X, labels)) == _fingerprint(fitted)


def _fingerprint(synthesizer):
    """What `generate` compares before it goes on with shards that it finds on disk."""
    return fingerprint(*_state_of(synthesizer))


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],
    ids=["deepcopy", "pickle"],
)
def test_copies_generate_the_same_bits(copied, fitted, images, y):
    np.testing.assert_array_equal(copied(fitted).generate(y[:5]), images[:5])


def test_global_states_stay_and_the_module_too(
    wide_net, pictures, global_rng_untouched, module_untouched
):
    X, y = pictures
    with global_rng_untouched(), module_untouched(wide_net):
        synthesizer = make(wide_net).fit(X, y)
        synthesizer.generate([1, 2])
        synthesizer.vary(X[:2], position=gaussian_blob((12, 12), (3, 3), 2.0))
        synthesizer.counterfactual(X[:1], [(synthesizer.classify(X[:1])[0] + 1) % 10])
        assert not any(m._forward_hooks for m in synthesizer.classifier_.modules())


def test_clones_learn_the_same(fitted, images, y, pictures):
    np.testing.assert_array_equal(clone(fitted).fit(*pictures).generate(y[:5]), images[:5])


# What comes out


def test_statistics_come_near_the_references(small, digits, net):
    X = digits[0][300:304]
    varied = small.vary(X)

    def gap(rows):
        images = torch.from_numpy(rows).reshape(-1, 1, 8, 8)
        maps = [net[: k + 1](images) for k in (2, 3)]
        return [m.mean((2, 3)) for m in maps] + [m.std((2, 3), correction=0) for m in maps]

    with torch.no_grad():
        start = gap(np.random.default_rng(0).uniform(size=X.shape).astype(np.float32))
        for asked, found, far in zip(gap(X), gap(varied), start, strict=True):
            assert (asked - found).norm() < 0.3 * (asked - far).norm()


def test_variations_keep_the_class_and_are_no_copies(small, digits, net):
    X, y = digits[0][300:310], digits[1][300:310]
    varied = small.vary(X, n_variations=2, y=y)
    with torch.no_grad():
        said = net(torch.from_numpy(varied).reshape(-1, 1, 8, 8)).argmax(1).numpy()
    assert (said == np.repeat(y, 2)).mean() >= 0.9
    nearest = np.linalg.norm(varied - np.repeat(X, 2, axis=0), axis=1).min()
    assert nearest > 0.5
    assert np.linalg.norm(varied[::2] - varied[1::2], axis=1).min() > 0.3


def test_generate_varies_a_reference_of_the_label(small, y, digits):
    images, info = small.generate(y, return_info=True)
    np.testing.assert_array_equal(digits[1][:200][info.references], y)
    assert len(images) == len(info.references)
    assert set(info.terms) == {"cross_entropy", "tv", "l2", "feature"}


def test_the_critic_learns_in_the_second_stage_alone(fitted):
    _, info = fitted.generate([0, 1], return_info=True)
    patch, critic = info.history["patch"], info.history["critic"]
    assert np.isnan(patch[:, :4]).all()
    assert np.isfinite(patch[:, 4:]).all()
    np.testing.assert_array_equal(np.isfinite(critic[0]), [False] * 4 + [True, False, True])


def test_weights_ask_for_mixtures(fitted):
    weights = np.zeros((2, 10))
    weights[:, 3], weights[:, 5] = 0.7, 0.3
    _, info = fitted.generate(weights=weights, return_info=True)
    np.testing.assert_array_equal(fitted._reference_columns[info.references], [3, 3])


def test_without_labels_the_classifier_names_them(wide_net, pictures):
    X, _ = pictures
    synthesizer = make(wide_net).fit(X)
    with torch.no_grad():
        said = wide_net(torch.from_numpy(X).reshape(-1, 1, 12, 12)).argmax(1).numpy()
    np.testing.assert_array_equal(synthesizer._reference_columns, said)
    np.testing.assert_array_equal(synthesizer.classify(X), said)


@pytest.fixture(scope="module")
def sheets(digits):
    """Digits anywhere on 16 x 16 pixels, images (1797, 1, 16, 16), and their labels."""
    X, y = digits
    places = np.random.default_rng(0).integers(9, size=(len(X), 2))
    made = np.zeros((len(X), 1, 16, 16), dtype=np.float32)
    for sheet, digit, (top, left) in zip(made, X.reshape(-1, 8, 8), places, strict=True):
        sheet[0, top : top + 8, left : left + 8] = digit
    return made, y


@pytest.fixture(scope="module")
def net_of_sheets(sheets):
    """A network that knows digits wherever they stand."""
    images, labels = (torch.from_numpy(part) for part in sheets)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(8):
            for rows in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                noisy = images[rows] + 0.1 * torch.randn_like(images[rows])
                nn.functional.cross_entropy(net(noisy), labels[rows]).backward()
                optimizer.step()
    return net.eval()


def test_position_moves_attribution_and_ink(net_of_sheets, sheets):
    X, y = sheets[0][300:306], sheets[1][300:306]
    made = make(net_of_sheets, n_steps=(60, 0), batch_size=6).fit(X, y)

    def columns_of_mass(images):
        maps = net_of_sheets[:6](torch.from_numpy(images)).requires_grad_()
        scores = net_of_sheets[6:](maps)[torch.arange(len(y)), torch.from_numpy(y)]
        found = grad_cam(scores, maps).detach().numpy()
        return [
            (mass.sum(-2) * np.linspace(0, 1, mass.shape[-1])).sum(-1) / mass.sum((-2, -1))
            for mass in (found, images[:, 0] ** 2)
        ]

    blobs = [gaussian_blob((16, 16), (8, column), 2.0) for column in (4, 11)]
    left, right = (columns_of_mass(made.vary(X, y=y, position=blob)) for blob in blobs)
    for one, other in zip(left, right, strict=True):
        assert (one + 0.2 < other).all()


def test_shape_and_style_come_from_other_pictures(small, digits):
    X, other = digits[0][300:302], digits[0][310:311]
    plain, shaped = small.vary(X), small.vary(X, shape=other)
    assert not np.array_equal(plain, shaped)
    styled = small.vary(X, style=other)
    near = np.linalg.norm(styled - X, axis=1), np.linalg.norm(plain - X, axis=1)
    assert (near[0] < near[1]).all(), "style starts from the picture itself"


def test_style_of_another_size_is_resized(small, digits):
    X, style = digits[0][300:301], digits[0][310].reshape(1, 8, 8)
    large = np.kron(style, np.ones((1, 3, 3), np.float32))
    wide = np.pad(large, ((0, 0), (0, 0), (5, 5)))
    np.testing.assert_allclose(small.vary(X, style=large), small.vary(X, style=wide), atol=1e-6)


# Counterfactuals


def test_counterfactuals_change_their_region_alone(small, digits):
    X = digits[0][300:306]
    wanted = (small.classify(X) + 1) % 10
    answers = small.counterfactual(X, wanted, share=0.3)
    assert len(answers) == 6
    outside = ~answers.regions.reshape(6, -1)
    np.testing.assert_array_equal(answers.images[outside], X[outside])
    assert answers.regions.mean((1, 2)).max() <= 0.3
    assert (answers.changed <= 0.3).all()
    np.testing.assert_array_equal(answers.classes[:, 1], wanted)
    np.testing.assert_array_equal(small._reference_columns[answers.references], wanted)
    assert (answers.new_probabilities[:, 1] > answers.probabilities[:, 1]).all()


def test_counterfactuals_flip_the_class_they_were_asked_for(small, digits):
    X = digits[0][300:310]
    wanted = small.classifier_(torch.from_numpy(X)).argsort(1)[:, -2].numpy()
    answers = small.counterfactual(X, wanted, share=0.3)
    assert (small.classify(answers.images) == wanted).mean() >= 0.8


# Classifiers


def test_layers_are_chosen_by_depth(fitted, small):
    assert fitted.layers_ == ["2", "3", "5", "6"]
    assert small.location_layer_ == "3"


def test_the_default_classifier_works_on_images_and_rows(digits):
    X, y = digits[0][:150], digits[1][:150]
    images = ImagineSynthesizer(n_steps=(3, 0), random_state=0, device="cpu").fit(X, y)
    assert images.generate([1, 2]).shape == (2, 64)
    rows = ImagineSynthesizer(n_steps=(3, 0), random_state=0, device="cpu").fit(X[:, :13], y)
    assert rows.generate([1, 2]).shape == (2, 13)


def test_named_dense_layers_will_do(digits):
    net = nn.Sequential(nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10)).eval()
    synthesizer = make(net, layers=["1"]).fit(*digits)
    assert synthesizer.generate([4]).shape == (1, 64)


def test_pictures_keep_the_layout_that_fit_saw(wide_net, pictures):
    X, y = pictures
    synthesizer = make(wide_net).fit(X.reshape(-1, 1, 12, 12), y)
    assert synthesizer.vary(X[:1].reshape(1, 1, 12, 12), 2).shape == (2, 1, 12, 12)
    assert synthesizer.vary(np.ones((1, 1, 30, 24), np.float32)).shape == (1, 1, 12, 12)


# Bad input


class Deep(nn.Sequential):
    """Three channels, and pooling that 16 pixels do not survive."""

    def __init__(self):
        layers = [nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)]
        for _ in range(2):
            layers += [nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        self.eval()


def test_references_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="16 x 16 pixels, smaller than the network takes"):
        make(Deep()).fit(np.random.default_rng(0).uniform(size=(2, 3, 16, 16)))


def test_grey_pictures_for_a_colour_net_are_refused():
    with pytest.raises(ValueError, match=r"np\.repeat\(X\[:, None\], 3, axis=1\)"):
        make(Deep()).fit(np.random.default_rng(0).uniform(size=(2, 32, 32)))


def test_grey_style_for_a_colour_net_is_refused():
    synthesizer = make(Deep()).fit(np.random.default_rng(0).uniform(size=(2, 3, 32, 32)))
    with pytest.raises(ValueError, match=r"style has pictures of 1 channel.*np\.repeat\(style"):
        synthesizer.vary(np.zeros((1, 3, 32, 32)), style=np.zeros((1, 40, 40)))


@pytest.mark.parametrize(
    "classifier", [nn.Linear(64, 10), FrozenEstimator(LinearDiscriminantAnalysis())]
)
def test_networks_without_maps_are_refused(classifier, digits):
    X, y = digits
    if isinstance(classifier, FrozenEstimator):
        classifier.estimator.fit(X, y)
    with pytest.raises(ValueError, match="no layer with maps"):
        make(classifier).fit(X, y)


def test_unknown_layers_are_refused(wide_net, pictures):
    with pytest.raises(ValueError, match="no layer named 'conv9'"):
        make(wide_net, layers=["conv9"]).fit(*pictures)
    with pytest.raises(ValueError, match="no layer named 'conv9'"):
        make(wide_net, location_layer="conv9").fit(*pictures)


@pytest.mark.parametrize("call", ["generate", "vary", "counterfactual", "fit"])
def test_labels_that_the_net_does_not_know_are_refused(call, fitted, pictures, wide_net):
    X, y = pictures
    calls = {
        "generate": lambda: fitted.generate([11]),
        "vary": lambda: fitted.vary(X[:1], y=[11]),
        "counterfactual": lambda: fitted.counterfactual(X[:1], [11]),
        "fit": lambda: make(wide_net).fit(X, y + 10),
    }
    with pytest.raises(ValueError, match="not among the classifier's classes"):
        calls[call]()


def test_labels_without_a_reference_are_refused(wide_net, pictures):
    X, y = pictures
    few = make(wide_net).fit(X[y < 5], y[y < 5])
    for call in (lambda: few.generate([7]), lambda: few.counterfactual(X[:1], [7])):
        with pytest.raises(ValueError, match="no reference of class 7"):
            call()


def test_a_class_that_is_given_already_is_no_question(fitted, pictures):
    X = pictures[0][:1]
    with pytest.raises(ValueError, match=r"row 0 of X .* already"):
        fitted.counterfactual(X, fitted.classify(X))


def test_targets_are_refused(fitted):
    with pytest.raises(ValueError, match="got target="):
        fitted.generate(target=Target([0], layer="0"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_variations": 0}, "n_variations must be"),
        ({"shape": np.zeros((1, 144)), "style": np.zeros((1, 144))}, "one of them at a time"),
        ({"shape": np.zeros((3, 144))}, "shape holds 3 pictures for 2 of X"),
        ({"style": np.zeros((2, 140))}, "style must hold rows of 144 values"),
        ({"style": np.full((1, 144), np.nan)}, "not finite"),
        ({"position": np.zeros((12, 12))}, "not zero everywhere"),
        ({"position": -np.ones((12, 12))}, "not negative"),
        ({"position": np.ones(12)}, r"one map \(H, W\)"),
        ({"position": np.ones((3, 12, 12))}, "got shape"),
        ({"y": [1]}, "1 labels for 2 pictures"),
    ],
)
def test_controls_that_do_not_fit_are_refused(arguments, message, fitted, pictures):
    with pytest.raises(ValueError, match=message):
        fitted.vary(pictures[0][:2], **arguments)


@pytest.mark.parametrize("n_steps", [(5,), (1, 2, 3), (-1, 4), (2.5, 1)])
def test_steps_come_in_two_stages(n_steps, wide_net, pictures):
    with pytest.raises(ValueError, match="n_steps must be"):
        make(wide_net, n_steps=n_steps).fit(*pictures).generate([1])


@pytest.mark.parametrize("share", [0, 1, -0.5, "some"])
def test_shares_lie_between_none_and_all(share, fitted, pictures):
    with pytest.raises(ValueError, match="share must lie between"):
        fitted.counterfactual(pictures[0][:1], [1], share=share)

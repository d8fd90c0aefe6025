"""DeepInversion: no data needed, every row its own, the best of the last stage."""

import copy
import pickle

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from skinvert import DeepInversion, Target
from skinvert.inversion.objectives import CrossEntropy, TotalVariation
from skinvert.inversion.resolution import at_resolution
from skinvert.inversion.transforms import RandomAffine

BATCH, N_ROWS = 4, 37  # two shards of 32 rows, the last batch short
FAST = {"n_steps": 5, "batch_size": BATCH, "random_state": 0, "device": "cpu"}


class Small(nn.Sequential):
    """Any image of 8 pixels; adaptive pooling takes other sizes, too."""

    def __init__(self, norm=nn.BatchNorm2d, pooled=True):
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10)]
        if not pooled:
            head = [nn.Flatten(), nn.Linear(256, 10)]
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1),
            norm(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            norm(16),
            nn.ReLU(),
            *head,
        )


def trained(X, y, **arguments):
    """A network that has learned the digits for a moment, with running statistics of them."""
    torch.manual_seed(0)
    net, X, y = Small(**arguments), torch.from_numpy(X).reshape(-1, 1, 8, 8), torch.from_numpy(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def data(digits):
    X, y = digits
    return (X[:500] / X.max()).astype(np.float32), y[:500]


@pytest.fixture(scope="module")
def batch_normed(data):
    return trained(*data)


@pytest.fixture
def own_net(batch_normed):
    return copy.deepcopy(batch_normed)


def fitted(net, **settings):
    return DeepInversion(net, image_shape=(8, 8), **(FAST | settings)).fit()


@pytest.fixture(scope="module")
def y():
    return np.random.default_rng(0).integers(10, size=N_ROWS)


SETTINGS = {
    "defaults": {},
    "stages": {"n_steps": (3, 4)},
    "all terms": {"tv_weight": 0.1, "l2_weight": 0.1, "standardize": False, "objective": "logit"},
    "views": {"transforms": "robust", "parameterization": "fourier"},
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_laws_without_any_data(settings, own_net, y, global_rng_untouched, module_untouched):
    with global_rng_untouched(), module_untouched(own_net):
        generator = fitted(own_net, **SETTINGS[settings])
        images, info = generator.generate(y, return_info=True)
    assert images.shape == (N_ROWS, 8, 8)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert len(np.unique(images, axis=0)) == N_ROWS
    assert set(info.status) == {"completed"}
    n_stages = len(generator._n_steps())
    assert info.best_step.shape == info.best_value.shape == (N_ROWS, n_stages)
    for n_rows in (1, 6, 33):
        np.testing.assert_array_equal(generator.generate(y[:n_rows]), images[:n_rows])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(generator)).generate(y), images)
    np.testing.assert_array_equal(clone(generator).fit().generate(y), images)


def test_every_backend_gives_the_same_bits(own_net, y):
    generator = fitted(own_net)
    images = generator.generate(y)
    with parallel_config(backend="threading", n_jobs=2):
        np.testing.assert_array_equal(generator.generate(y, n_jobs=2), images)


def test_hooks_are_gone(own_net):
    generator = fitted(own_net)
    generator.generate([1, 2])
    for module in [*own_net.modules(), *generator.classifier_.modules()]:
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_the_classifier_agrees_and_the_statistics_come_nearer(own_net):
    y = np.arange(10)
    with_statistics = fitted(own_net, n_steps=120, transforms=None)
    without = clone(with_statistics).set_params(statistics_weight=0.0).fit()
    distances = []
    for generator in (with_statistics, without):
        images = torch.from_numpy(generator.generate(y))[:, None]
        with torch.no_grad():
            assert (own_net(images).argmax(1).numpy() == y).mean() >= 0.9
            maps = own_net[0](images)
        off = maps.mean((2, 3)) - own_net[1].running_mean
        distances.append(float((off / own_net[1].running_var.sqrt()).norm(dim=1).mean()))
    assert distances[0] < 0.5 * distances[1]


def test_rows_are_the_best_that_they_were(own_net):
    generator = fitted(own_net, n_steps=(6, 30), transforms=None)
    images, info = generator.generate([3, 4, 5], return_info=True)
    total = sum(info.history.values())
    for stage, steps in enumerate((slice(0, 6), slice(6, 36))):
        np.testing.assert_allclose(total[:, steps].min(1), info.best_value[:, stage], rtol=1e-5)
        np.testing.assert_array_equal(total[:, steps].argmin(1), info.best_step[:, stage])
    # Asked again without a step, the last stage's best scores what it is said to have scored.
    again = clone(generator).set_params(init=images, n_steps=1).fit()
    _, scored = again.generate([3, 4, 5], return_info=True)
    np.testing.assert_allclose(scored.best_value[:, 0], info.best_value[:, 1], rtol=1e-4)


def test_the_low_resolution_stage_never_wins(own_net):
    # At half the resolution the objective is another one; were it the smaller, it must not count.
    generator = fitted(own_net, n_steps=(40, 1), transforms=None)
    _, info = generator.generate([3, 4], return_info=True)
    assert info.best_step[:, 1].tolist() == [0, 0]
    np.testing.assert_allclose(info.best_value[:, 1], sum(info.history.values())[:, -1], rtol=1e-6)


@pytest.mark.parametrize("pooled", [True, False])
def test_a_network_of_one_size_sees_small_images_enlarged(pooled, data):
    net = trained(*data, pooled=pooled)
    generator = fitted(net, n_steps=(2, 2))
    classifier, resize = at_resolution(generator.classifier_, (1, 8, 8), 2)
    seen = resize(torch.arange(64.0).reshape(1, 1, 8, 8))
    assert seen.shape == ((1, 1, 4, 4) if pooled else (1, 1, 8, 8))
    assert classifier(seen).shape == (1, 10)
    assert generator.generate([1]).shape == (1, 8, 8)


def test_groups_of_rows_keep_the_laws(own_net, y):
    generator = fitted(own_net, group_size=6, batch_size=12)
    images = generator.generate(y[:36])
    for n_rows in (6, 12, 30):
        np.testing.assert_array_equal(generator.generate(y[:n_rows]), images[:n_rows])
    # Nor does an incomplete group disturb the complete ones before it.
    np.testing.assert_array_equal(generator.generate(y)[:36], images)


def test_rows_of_a_group_know_of_each_other(own_net):
    generator = fitted(own_net, group_size=2, batch_size=2)
    assert not np.array_equal(generator.generate([1, 2])[0], generator.generate([1, 3])[0])
    alone = generator.set_params(group_size=1)
    np.testing.assert_array_equal(alone.generate([1, 2])[0], alone.generate([1, 3])[0])


def test_batches_hold_whole_groups(own_net):
    generator = fitted(own_net, group_size=3)
    with pytest.raises(ValueError, match="no multiple of group_size=3"):
        generator.generate([1])
    assert generator.set_params(batch_size="auto")._resolved_batch_size() % 3 == 0


@pytest.mark.parametrize("norm", [nn.Identity, lambda width: nn.GroupNorm(2, width)])
def test_networks_that_remember_nothing_are_measured(norm, data):
    net = trained(*data, norm=norm)
    generator = DeepInversion(net, image_shape=(1, 8, 8), **FAST).fit(*data)
    assert generator.generate(data[1][:3]).shape == (3, 64)
    maps = net[0](torch.from_numpy(data[0]).reshape(-1, 1, 8, 8)).detach()
    torch.testing.assert_close(generator.statistics_["0"][0], maps.mean((0, 2, 3)))
    with pytest.raises(ValueError, match=r"keep no statistics.*fit\(X, y\)"):
        DeepInversion(net, image_shape=(1, 8, 8), **FAST).fit()
    assert fitted(net, statistics_weight=0.0).generate([1]).shape == (1, 8, 8)


def test_a_student_that_agrees_is_competed_with(own_net, data, module_untouched):
    student = trained(*data, pooled=False)
    generator = fitted(own_net, student=student, competition_weight=5.0, n_steps=60)
    y = np.arange(10)
    with module_untouched(student):
        competed, info = generator.generate(y, return_info=True)
    assert (info.terms["competition"] <= 5.0 + 1e-5).all()

    def disagreement(images):
        with torch.no_grad():
            seen = torch.from_numpy(images)[:, None]
            ours, theirs = (net(seen).softmax(1) for net in (own_net, student))
        return float((ours - theirs).abs().sum(1).mean())

    plain = generator.set_params(student=None).generate(y)
    assert disagreement(competed) > disagreement(plain)


def test_a_student_of_other_classes_is_refused(own_net):
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match="tells 3 classes apart"):
        fitted(own_net, student=student).generate([1])
    with pytest.raises(TypeError, match="got LogisticRegression"):
        fitted(own_net, student=LogisticRegression()).generate([1])


def test_guided_images_come_nearer_to_their_reference(own_net, data):
    X, y = data
    settings = {"n_steps": 60, "transforms": None, "statistics_weight": 0.0}
    generator = fitted(own_net, reference=X[:4], **settings)
    guided = generator.generate(y[:4])
    np.testing.assert_array_equal(generator.generate(y[:2]), guided[:2])
    plain = clone(generator).set_params(reference=None).fit().generate(y[:4])

    def distance(images):
        with torch.no_grad():
            ours, theirs = (
                nn.Sequential(*list(own_net)[:3])(
                    torch.from_numpy(np.asarray(part)).reshape(-1, 1, 8, 8)
                )
                for part in (images, X[:4])
            )
        return float((ours.mean((2, 3)) - theirs.mean((2, 3))).norm(dim=1).mean())

    assert distance(guided) < 0.5 * distance(plain)


def test_rows_start_from_given_images(own_net, data):
    X, y = data
    generator = fitted(own_net, init=X[:3], n_steps=1)
    np.testing.assert_allclose(generator.generate(y[:3]).reshape(3, 64), X[:3], atol=1e-6)
    with pytest.raises(ValueError, match="init holds 3 images for a request of at least 4"):
        generator.generate(y[:4])
    with pytest.raises(ValueError, match="reference holds images of shape"):
        generator.set_params(reference=np.zeros((1, 9))).generate(y[:1])


def test_channels_and_mixtures_can_be_asked_for(own_net):
    generator = fitted(own_net)
    assert generator.generate(target=Target([0, 7], layer="4")).shape == (2, 8, 8)
    halves = np.full((1, 10), 0.1)
    assert generator.generate(weights=halves).shape == (1, 8, 8)


def test_terms_can_be_added_and_stages_have_views_of_their_own(own_net):
    views = [[RandomAffine(degrees=5)], []]
    generator = fitted(
        own_net, objective=CrossEntropy() + TotalVariation(0.1), transforms=views, n_steps=(2, 2)
    )
    _, info = generator.generate([1], return_info=True)
    assert set(info.terms) == {"cross_entropy", "total_variation", "statistics"}
    with pytest.raises(ValueError, match="transforms has 2 stages"):
        generator.set_params(n_steps=(1, 1, 1)).generate([1])


def test_labels_alone_tell_the_class_prior(own_net):
    generator = DeepInversion(own_net, image_shape=(8, 8), **FAST).fit(y=[1, 1, 4, 1])
    assert generator.class_prior_[[1, 4]].tolist() == [0.75, 0.25]
    assert set(generator.sample(5)[1]) <= {1, 4}


def test_without_data_a_trained_network_and_a_shape_are_needed(own_net):
    for generator in (DeepInversion(image_shape=(8, 8)), DeepInversion(own_net)):
        with pytest.raises(ValueError, match="without X a trained classifier"):
            generator.fit()
    forest = FrozenEstimator(LogisticRegression().fit(np.eye(3), [0, 1, 2]))
    with pytest.warns(UserWarning, match="no hidden layer"):
        generator = DeepInversion(forest, image_shape=(1, 1, 3), **FAST).fit()
    assert generator.generate([2]).shape == (1, 1, 1, 3)


@pytest.mark.parametrize("n_steps", [(), (3, 0), (1.5,)])
def test_bad_numbers_of_steps(n_steps, own_net):
    with pytest.raises(ValueError, match="n_steps must be a positive integer, or a tuple"):
        fitted(own_net, n_steps=n_steps).generate([1])


def test_more_stages_than_pixels_and_unknown_layers(own_net):
    with pytest.raises(ValueError, match="images are 8 x 8 pixels"):
        fitted(own_net, n_steps=(1,) * 5).generate([1])
    with pytest.raises(ValueError, match="no layer named 'nine'"):
        fitted(own_net, layers=["nine"])
    with pytest.raises(ValueError, match="not among the classifier's classes"):
        fitted(own_net).generate([11])


def test_defaults_draw_the_digits(data):
    X, y = data
    generator = DeepInversion(random_state=0, device="cpu", n_steps=60).fit(X, y)
    assert generator.score(X[:100], y[:100]) > 0.3

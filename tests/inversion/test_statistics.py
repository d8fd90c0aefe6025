"""Feature statistics: what they are, their slopes, and that recording leaves nothing behind."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from skinvert.inversion.matching import Competition, FeatureState, FeatureStatistics
from skinvert.inversion.statistics import (
    LayerStatistics,
    channel_moments,
    channel_statistics,
    image_statistics,
    measured_statistics,
    record_features,
    running_statistics,
    shared_copy,
    statistics_layers,
)
from skinvert.inversion.watching import WatchedClassifier
from skinvert.models.frozen import FrozenClassifier

SHAPES = [(4, 3, 5, 6), (4, 7, 3), (4, 3)]


def batch_normalised():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 5)
    )
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net.eval()


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)).eval()


def state_of(watched, images):
    return FeatureState(logits=None, weights=None, moments=watched(images)[2])


@pytest.fixture
def frozen():
    return FrozenClassifier(batch_normalised(), (2, 6, 6))


def test_moments_are_those_of_numpy():
    maps = np.random.default_rng(0).normal(3, 2, size=(4, 3, 5, 6))
    mean, variance = channel_moments(torch.from_numpy(maps))
    np.testing.assert_allclose(mean, maps.mean((2, 3)))
    np.testing.assert_allclose(variance, maps.var((2, 3)))
    np.testing.assert_allclose(channel_statistics(torch.from_numpy(maps))[1], maps.std((2, 3)))


def test_tokens_bear_their_channels_last():
    maps = torch.randn(4, 3, 5, 6)
    tokens = maps.flatten(2).transpose(1, 2)
    for there, here in zip(channel_moments(maps), channel_moments(tokens), strict=True):
        torch.testing.assert_close(here, there)


@given(st.integers(0, 2**31), st.sampled_from([(8, 2, 3, 3), (8, 4, 2), (8, 5)]))
def test_moments_of_a_group_are_those_of_its_rows_in_one(seed, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    mean, variance = channel_moments(features, group_size=4)
    axes = [0, *range(2, features.ndim)] if features.ndim != 3 else [0, 1]
    for group, rows in enumerate(features.split(4)):
        torch.testing.assert_close(mean[group], rows.mean(axes))
        torch.testing.assert_close(variance[group], rows.var(axes, correction=0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("group_size", [1, 2])
def test_both_derivatives_of_the_moments(shape, group_size):
    features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: channel_moments(x, group_size), features)
    assert torch.autograd.gradgradcheck(lambda x: channel_moments(x, group_size), features)


def test_derivatives_of_the_standard_deviation():
    features = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(channel_statistics, features)
    assert torch.autograd.gradgradcheck(channel_statistics, features)


def test_a_constant_channel_has_a_finite_slope():
    features = torch.full((1, 2, 3, 3), 5.0, requires_grad=True)
    mean, std = channel_statistics(features)
    (slope,) = torch.autograd.grad(std.sum(), features)
    assert mean.tolist() == [[5.0, 5.0]]
    assert (slope == 0).all()


def test_features_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"expected maps .* Choose another layer"):
        channel_moments(torch.zeros(2, 3, 4, 5, 6))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("group_size", [1, 3])
def test_slope_of_equation_3(standardize, group_size, assert_slope):
    net = batch_normalised().double()
    frozen = FrozenClassifier(net, (2, 6, 6))
    term = FeatureStatistics(
        statistics=LayerStatistics(running_statistics(net, ["1"])),
        first_layer_multiplier=10.0,
        standardize=standardize,
        group_size=group_size,
    )

    watched = WatchedClassifier(frozen, ["1"], group_size=group_size)

    def distance(images):
        return term(images, state_of(watched, images))

    assert_slope(distance, torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)))


def test_equation_3_as_it_is_printed(frozen):
    images = torch.randn(2, 2, 6, 6)
    term = FeatureStatistics(
        statistics=LayerStatistics(running_statistics(frozen.network, ["1"])), standardize=False
    )
    taken_in = frozen.network[0](images)
    norm = frozen.network[1]
    expected = (taken_in.mean((2, 3)) - norm.running_mean).norm(dim=1) + (
        taken_in.var((2, 3), correction=0) - norm.running_var
    ).norm(dim=1)
    state = state_of(WatchedClassifier(frozen, ["1"]), images)
    torch.testing.assert_close(term(images, state), expected, rtol=1e-5, atol=1e-5)


def test_the_statistics_of_the_data_itself_are_matched_exactly(frozen):
    # A batch normalisation that has seen one batch with momentum 1 remembers that batch.
    images = torch.randn(4, 2, 6, 6)
    norm = frozen.network[1]
    taken_in = frozen.network[0](images)
    norm.running_mean.copy_(taken_in.mean((0, 2, 3)))
    norm.running_var.copy_(taken_in.var((0, 2, 3), correction=0))
    term = FeatureStatistics(
        statistics=LayerStatistics(running_statistics(frozen.network, ["1"])), group_size=4
    )
    state = state_of(WatchedClassifier(frozen, ["1"], group_size=4), images)
    torch.testing.assert_close(term(images, state), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("error", [None, RuntimeError("inside")])
def test_hooks_are_gone_afterwards(frozen, error):
    try:
        with record_features(frozen.network, ["0", "1"]) as features:
            frozen.with_activations(torch.zeros(1, 2, 6, 6), ["0"])
            if error:
                raise error
    except RuntimeError:
        pass
    assert set(features) == {"0", "1"}
    for module in frozen.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_unknown_layers_are_named_with_near_ones(frozen):
    with (
        pytest.raises(ValueError, match="no layer named '7'"),
        record_features(frozen.network, ["7"]),
    ):
        pass


def test_a_shared_copy_has_the_same_tensors_and_hooks_of_its_own(frozen):
    copied = shared_copy(frozen)
    assert copied.network[0].weight is frozen.network[0].weight
    assert copied.network[1].running_mean is frozen.network[1].running_mean
    with record_features(copied.network, ["1"]) as features:
        frozen(torch.zeros(1, 2, 6, 6))
        assert features == {}


@pytest.mark.parametrize(("layers", "folds"), [(None, False), (["1", "2"], True), (["0"], False)])
def test_a_shared_copy_folds_where_nobody_asks(frozen, layers, folds):
    copied = shared_copy(frozen, layers)
    assert isinstance(copied.network[1], nn.BatchNorm2d) != folds
    images = torch.randn(2, 2, 6, 6)
    asked = layers or ["0", "1"]
    logits, found = copied.with_activations(images, asked)
    whole_logits, whole = frozen.with_activations(images, asked)
    torch.testing.assert_close(logits, whole_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    assert isinstance(frozen.network[1], nn.BatchNorm2d)


def test_threads_do_not_read_each_others_features(frozen):
    found = {}

    def look(value):
        copied = shared_copy(frozen)
        for _ in range(20):
            with record_features(copied.network, ["1"]) as features:
                copied.with_activations(torch.full((1, 2, 6, 6), value), ["1"])
            found.setdefault(value, []).append(float(features["1"].mean()))

    threads = [threading.Thread(target=look, args=(value,)) for value in (0.0, 1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found[0.0])) == len(set(found[1.0])) == 1
    assert found[0.0] != found[1.0]


def test_layers_that_stand_for_the_data():
    assert statistics_layers(batch_normalised()) == ["1"]
    assert statistics_layers(plain()) == ["0"]
    assert statistics_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))) == ["0"]
    assert statistics_layers(nn.Linear(2, 3)) == []
    # Without running statistics a batch normalisation remembers nothing.
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    assert statistics_layers(net) == ["0"]
    tokens = nn.TransformerEncoderLayer(8, 2, 8)
    assert statistics_layers(tokens) == ["norm1", "norm2"]


def test_measured_statistics_are_those_of_all_images_at_once():
    frozen = FrozenClassifier(plain(), (2, 6, 6))
    images = torch.randn(150, 2, 6, 6)
    maps = frozen.network[0](images)
    mean, variance = measured_statistics(frozen, images, ["0"])["0"]
    torch.testing.assert_close(mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(variance, maps.var((0, 2, 3), correction=0))


def test_a_layer_that_never_varies_has_a_finite_distance():
    constant = LayerStatistics({"0": (torch.zeros(3), torch.zeros(3))})
    moments = {"0": (torch.zeros(2, 3), torch.zeros(2, 3))}
    state = FeatureState(logits=None, weights=None, moments=moments)
    assert FeatureStatistics(statistics=constant)(None, state).isfinite().all()


def test_image_statistics_are_those_of_each_picture(frozen):
    images = torch.randn(3, 2, 6, 6)
    mean, std = image_statistics(frozen, images, ["2"])["2"]
    maps = frozen.network[:3](images)
    torch.testing.assert_close(mean, maps.mean((2, 3)))
    torch.testing.assert_close(std, maps.std((2, 3), correction=0))


def test_slope_of_the_competition(assert_slope):
    student = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()

    def compete(logits):
        return Competition()(
            None, FeatureState(logits=logits, weights=None, student_logits=student)
        )

    assert_slope(compete, torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))


@given(st.integers(0, 2**31))
def test_the_competition_is_symmetric_and_bounded(seed):
    ours, theirs = 5 * torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(seed)).double()
    state = FeatureState(logits=ours, weights=None, student_logits=theirs)
    swapped = FeatureState(logits=theirs, weights=None, student_logits=ours)
    values = Competition(temperature=1.0)(None, state)
    torch.testing.assert_close(values, Competition(temperature=1.0)(None, swapped))
    assert (values <= 1 + 1e-9).all()
    assert (values >= 1 - np.log(2) - 1e-9).all()


def test_the_competition_is_the_divergence_of_scipy():
    from scipy.spatial.distance import jensenshannon
    from scipy.special import softmax

    ours, theirs = np.random.default_rng(0).normal(size=(2, 5, 4))
    state = FeatureState(
        logits=torch.from_numpy(ours), weights=None, student_logits=torch.from_numpy(theirs)
    )
    expected = (
        1 - jensenshannon(softmax(ours / 3, axis=1), softmax(theirs / 3, axis=1), axis=1) ** 2
    )
    np.testing.assert_allclose(Competition()(None, state), expected)

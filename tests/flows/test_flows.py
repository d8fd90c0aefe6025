"""What holds of every flow, whatever its architecture: exact log-determinants, exact inverses."""

import numpy as np
import pytest
import torch

from skinvert.flows.bases import class_means, separated_means
from skinvert.flows.build import build_network
from skinvert.flows.coupling import ClassWhitening, CouplingFlow
from skinvert.flows.patches import tiling
from skinvert.flows.settings import FlowSettings
from skinvert.flows.square import SquareFlow

N_CLASSES, SHAPE, N_FEATURES = 3, (1, 4, 4), 16


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    columns = np.arange(150) % N_CLASSES
    mixing = rng.normal(size=(N_FEATURES, N_FEATURES)) / 4
    rows = rng.gamma(2.0, size=(150, N_FEATURES)) @ mixing + columns[:, None]
    return rows.astype(np.float32), columns


SETTINGS = {
    "square, free": {"architecture": "square", "bounded": False},
    "square, bounded": {"architecture": "square"},
    "square, no activations": {"architecture": "square", "activation": False},
    "square, logit": {"architecture": "square", "logit": 0.1},
    "coupling": {"architecture": "coupling"},
    "coupling, leading axes": {"architecture": "coupling", "n_components": 5},
    "sliced": {"architecture": "sliced"},
    "sliced, leading axes": {"architecture": "sliced", "n_components": 5},
    "sliced, patches": {"architecture": "sliced", "n_blocks": 3},
}


def settings_of(**arguments):
    defaults = {
        "objective": "mle",
        "kind_of_means": "learned",
        "n_blocks": 0 if arguments["architecture"] == "sliced" else 3,
        "activation": True,
        "negative_slope": 0.5,
        "bounded": True,
        "max_condition": 100.0,
        "fits_covariances": False,
        "n_components": 80,
        "n_mixture": 4,
        "hidden_size": 16,
        "noise": 0.1,
        "step": None,
        "logit": None,
        "cross_entropy_weight": 1.0,
        "image_shape": SHAPE,
        "n_classes": N_CLASSES,
        "seed": 0,
    }
    return FlowSettings(**(defaults | arguments))


@pytest.fixture(scope="module", params=SETTINGS)
def network(request, data):
    network = build_network(settings_of(**SETTINGS[request.param]), *data)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.flow.parameters():
        # Away from the start, which is the identity in parts.
        parameter.data += 0.1 * torch.randn(
            parameter.shape, generator=generator, dtype=parameter.dtype
        )
    return network.for_use()


def standard(network, data, n=12):
    return network.preprocessing(torch.from_numpy(data[0][:n]).double())[0]


def test_log_dets_are_those_of_autograd_jacobians(network, data):
    for column in range(N_CLASSES):
        v = standard(network, data, 4)
        _, log_det = network.flow(v, column)
        for row, value in zip(v, log_det, strict=True):
            jacobian = torch.autograd.functional.jacobian(
                lambda r, column=column: network.flow(r[None], column)[0][0], row
            )
            torch.testing.assert_close(
                value, torch.linalg.slogdet(jacobian)[1], rtol=1e-8, atol=1e-8
            )


def test_the_inverse_undoes_the_flow(network, data):
    v = standard(network, data, 60)
    for column in range(N_CLASSES):
        back = network.flow.inverse(network.flow(v, column)[0], column)
        assert float((back - v).abs().max()) < 1e-7


def test_log_densities_are_those_of_the_change_of_variables(network, data):
    v = standard(network, data)
    found = network.log_likelihoods(v)
    for column in range(N_CLASSES):
        z, log_det = network.flow(v, column)
        mean = torch.zeros(1) if network.flow.conditional else network.means[column]
        normal = torch.distributions.Normal(mean.double(), 1.0).log_prob(z).sum(1)
        torch.testing.assert_close(found[:, column], normal + log_det, rtol=1e-9, atol=1e-9)


def test_every_block_has_a_condition_number(network):
    numbers = network.flow.condition_numbers()
    assert len(numbers) >= 3
    assert min(numbers) >= 1


def test_broken_weights_are_found(network, data):
    flow = network.flow
    if not list(flow.parameters()) and not hasattr(flow, "first_broken_block"):
        pytest.skip("nothing is trained")
    v = standard(network, data)
    assert flow.first_broken_block(v, 0) is None
    weights = dict(flow.named_parameters())
    name = next(name for name in weights if ".2." in name or ".4." in name)
    before = weights[name].clone()
    weights[name].data[0] = float("nan")
    assert flow.first_broken_block(v, 0) == (3 if "couplings" in name else 2 - flow_offset(flow))
    weights[name].data.copy_(before)


def flow_offset(flow):
    """Layer 2 is the second block's where LeakyReLUs stand between, the third's otherwise."""
    return 1 if len(flow.layers) > len(flow.blocks()) else 0


def test_a_likelihood_integrates_to_one():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(60, 2)) * [1, 0.3], rng.gamma(1.5, size=(60, 2))])
    settings = settings_of(architecture="sliced", image_shape=None, n_classes=1, n_blocks=2)
    network = build_network(settings, rows, np.zeros(120, dtype=int)).for_use()
    axis = torch.linspace(-8, 12, 400).double()
    grid = torch.cartesian_prod(axis, axis)
    v, log_det = network.preprocessing(grid)
    density = (network.log_likelihoods(v)[:, 0] + log_det).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=0.02)


def test_gaussian_rows_get_their_gaussian():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(4000, 3)) @ rng.normal(size=(3, 3))
    settings = settings_of(
        architecture="sliced", image_shape=None, n_classes=1, n_mixture=1, noise=1e-3
    )
    network = build_network(settings, rows, np.zeros(4000, dtype=int)).for_use()
    v, log_det = network.preprocessing(torch.from_numpy(rows))
    found = network.log_likelihoods(v)[:, 0] + log_det
    normal = torch.distributions.MultivariateNormal(
        torch.from_numpy(rows.mean(0)), torch.from_numpy(np.cov(rows.T))
    )
    torch.testing.assert_close(found, normal.log_prob(torch.from_numpy(rows)), rtol=0, atol=0.02)


def test_separated_means_are_far_apart():
    for kind in ("label_line", "random", "learned"):
        for n_features in (1, 2, 50):
            distances = torch.pdist(separated_means(kind, 4, n_features))
            assert float(distances.min()) >= 999.9


def test_the_papers_means_are_twice_the_label():
    means = class_means("label_line", 10, 784)
    torch.testing.assert_close(means[4], torch.full((784,), 8.0))


def test_random_means_are_repeated():
    torch.testing.assert_close(class_means("random", 3, 4, 5), class_means("random", 3, 4, 5))


def test_one_feature_cannot_be_coupled():
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match="two features"):
        CouplingFlow(ClassWhitening(one, one, one[None]), 80)


@pytest.mark.parametrize(("shape", "side", "start"), [((3, 8, 6), 3, 1), ((1, 4, 4), 1, 0)])
def test_a_tiling_holds_every_feature_once(shape, side, start):
    patches = tiling(shape, side, start)
    features = torch.cat(patches)
    assert sorted(features.tolist()) == list(range(int(np.prod(shape))))
    assert max(len(patch) for patch in patches) == shape[0] * side**2


def test_the_papers_models_have_their_layers():
    assert len(SquareFlow(4).blocks()) == 4
    assert [len(block) for block in SquareFlow(4, n_blocks=1).blocks()] == [2]
    assert [len(block) for block in SquareFlow(4, activation=False).blocks()] == [1] * 4


def test_the_inverse_stretches_by_one_over_the_slope():
    flow = SquareFlow(3, n_blocks=1, negative_slope=0.01).double()
    with torch.no_grad():
        flow.layers[0].weight.copy_(torch.eye(3))
        flow.layers[0].bias.zero_()
    moved = flow.inverse(torch.full((1, 3), -1e-3).double())
    torch.testing.assert_close(moved, torch.full((1, 3), -0.1).double())

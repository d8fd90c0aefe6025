"""Our transforms against zuko's: the same values, the same log-determinants, the same densities."""

import numpy as np
import pytest
import torch

from skinvert.flows.coupling import AffineCoupling
from skinvert.flows.linear import SquareLinear
from skinvert.flows.preprocessing import log_normal
from skinvert.flows.square import SquareFlow
from skinvert.flows.transports import MixtureTransport, RationalQuadraticSplines

zuko = pytest.importorskip("zuko")

N_FEATURES = 6


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_splines_with_the_same_knots():
    theirs = zuko.transforms.MonotonicRQSTransform(
        draws(N_FEATURES, 8), draws(N_FEATURES, 8, seed=1), draws(N_FEATURES, 7, seed=2), bound=3.0
    )
    ours = RationalQuadraticSplines(theirs.horizontal, theirs.vertical)
    ours.ends = theirs.derivatives
    x = draws(50, N_FEATURES, seed=3).clamp(-2.9, 2.9)
    y, log_slopes = ours(x)
    torch.testing.assert_close(y, theirs(x))
    torch.testing.assert_close(log_slopes, theirs.log_abs_det_jacobian(x, y))
    torch.testing.assert_close(ours.inverse(y), theirs.inv(y))


def test_couplings_with_the_same_network():
    block = AffineCoupling(N_FEATURES, 2, 8, 2.0, 0.0, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        block.net[-1].weight.add_(0.3 * draws(*block.net[-1].weight.shape))
    onehot = torch.eye(2).double()[[0, 1, 1]]

    def affine(kept):
        log_scale, shift = block._scale_and_shift(kept, onehot)
        # zuko bounds its scale softly; this undoes it.
        bound = abs(np.log(1e-3))
        scale = log_scale / (1 - log_scale.abs() / bound)
        each = zuko.transforms.MonotonicAffineTransform(shift, scale, slope=1e-3)
        return zuko.transforms.DependentTransform(each, 1)

    mask = torch.arange(N_FEATURES) < block.n_kept
    theirs = zuko.transforms.CouplingTransform(affine, mask)
    x = draws(3, N_FEATURES)
    y, log_det = block(x, onehot)
    turned = x @ block.rotation
    torch.testing.assert_close(y, theirs(turned))
    torch.testing.assert_close(log_det, theirs.log_abs_det_jacobian(turned, y))
    torch.testing.assert_close(block.inverse(y, onehot), theirs.inv(y) @ block.rotation.T)


def test_square_layers_with_the_same_factors():
    theirs = zuko.transforms.LULinearTransform(
        draws(N_FEATURES, N_FEATURES) + 3 * torch.eye(N_FEATURES)
    )
    matrix = theirs(torch.eye(N_FEATURES).double())
    ours, x = SquareLinear(matrix), draws(4, N_FEATURES, seed=1)
    y, log_det = ours(x)
    torch.testing.assert_close(y, theirs(x))
    torch.testing.assert_close(log_det.expand(4), theirs.log_abs_det_jacobian(x, y))
    torch.testing.assert_close(ours.inverse(y), theirs.inv(y))


def test_a_square_network_without_activation_is_a_gaussian():
    flow = SquareFlow(N_FEATURES, n_blocks=3, activation=False).double()
    inverse = flow.inverse(torch.eye(N_FEATURES).double()) - flow.inverse(
        torch.zeros(1, N_FEATURES).double()
    )
    law = torch.distributions.MultivariateNormal(
        flow.inverse(torch.zeros(1, N_FEATURES).double())[0].detach(),
        (inverse.T @ inverse).detach(),
    )
    x = draws(5, N_FEATURES)
    z, log_det = flow(x)
    torch.testing.assert_close(log_normal(z) + log_det, law.log_prob(x))


def test_a_mixtures_transport_has_zukos_density():
    components = 3
    weights = torch.softmax(draws(components), 0)
    means = draws(components, 2, seed=1)
    factors = torch.linalg.cholesky(
        0.3 * torch.eye(2).double() + (root := draws(components, 2, 2, seed=2)) @ root.mT
    )
    law = zuko.distributions.Mixture(
        torch.distributions.MultivariateNormal(means, scale_tril=factors), weights.log()
    )
    x = draws(6, 2, seed=3)
    z, log_det = MixtureTransport(weights, means, factors)(x)
    torch.testing.assert_close(log_normal(z) + log_det, law.log_prob(x))

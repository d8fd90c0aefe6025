"""One network a row: each row is what its own network would make of it."""

import pytest
import torch
from torch import nn

from skinvert.inversion.randomness import RowNoise
from skinvert.models.coupled_networks import CoupledGenerator, DenseGenerator, table_latents
from skinvert.models.rowwise import RowwiseNetwork

SHAPE, WIDTH, N_ROWS = (3, 28, 28), 8, 3


def networks():
    return {
        "images": (CoupledGenerator(SHAPE, WIDTH), SHAPE, table_latents(SHAPE, WIDTH)),
        "images, dense start": (CoupledGenerator(SHAPE, WIDTH, 6), SHAPE, 6),
        "rows": (DenseGenerator(6, 13), (13,), 6),
    }


@pytest.fixture(params=networks())
def case(request):
    """A rowwise network, its template, parameters of three rows, and their latents."""
    template, shape, n_latents = networks()[request.param]
    rowwise = RowwiseNetwork(template, shape)
    noise = RowNoise(range(N_ROWS))
    params = rowwise.start(noise)
    # Scales and biases of their own, so that nothing is right by being one or zero.
    params = tuple(value + 0.1 * noise.uniform(*value.shape[1:]) for value in params)
    return rowwise, template, params, noise.normal(n_latents)


def own_network(template, rowwise, params, row):
    """The template with one row's weights and running statistics."""
    with torch.no_grad():
        for own, value in zip(template.parameters(), params, strict=False):
            own.copy_(value[row])
        kept = iter(params[rowwise.n_weights :])
        for layer in template.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.copy_(next(kept)[row])
                layer.running_var.copy_(next(kept)[row])
    return template


def test_rows_agree_with_networks_of_their_own(case):
    rowwise, template, params, latents = case
    together = rowwise(params, latents)
    for row in range(N_ROWS):
        alone = own_network(template, rowwise, params, row).train()(latents[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-4, rtol=1e-4)


def test_running_statistics_agree_with_batch_normalisation(case):
    rowwise, template, params, latents = case
    learned = tuple(value.clone() for value in params)
    rowwise(learned, latents, learn=True)
    shown = rowwise(learned, latents, own_statistics=False)
    for row in range(N_ROWS):
        alone = own_network(template, rowwise, params, row).train()
        alone(latents[row : row + 1])
        torch.testing.assert_close(
            shown[row], alone.eval()(latents[row : row + 1])[0], atol=1e-4, rtol=1e-4
        )


def test_gradients_know_no_neighbours(case):
    rowwise, _, params, latents = case

    def gradients(values):
        values = [value.clone().requires_grad_() for value in values]
        answers = rowwise(values, latents)
        return torch.autograd.grad(answers.square().sum(), values[: rowwise.n_weights])

    ours = gradients(params)
    strangers = [value.clone() for value in params]
    for value in strangers:
        value[1:] = value[1:] * 3 + 1
    for mine, beside in zip(ours, gradients(strangers), strict=True):
        assert torch.equal(mine[0], beside[0])


def test_starts_belong_to_their_seeds():
    rowwise = RowwiseNetwork(CoupledGenerator((1, 8, 8), 8), (1, 8, 8))
    together = rowwise.start(RowNoise([5, 6]))
    alone = rowwise.start(RowNoise([6]))
    assert all(torch.equal(both[1], one[0]) for both, one in zip(together, alone, strict=True))
    scales = rowwise.scales(together)
    assert scales.shape == (2, 1)
    assert scales is together[rowwise.scale_place]
    assert (scales == 1).all()


def test_layers_that_cannot_be_copied_are_named():
    with pytest.raises(TypeError, match="ConvTranspose2d has weights"):
        RowwiseNetwork(nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), (1, 3, 3))

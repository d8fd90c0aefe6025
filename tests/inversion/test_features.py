"""Activations are recorded while asked for, and no hook outlives the asking."""

import pytest
import torch
from torch import nn

from skinvert.inversion.features import check_layers, record_activations


@pytest.fixture
def stack():
    return nn.Sequential(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 2), nn.Tanh())
    )


def n_hooks(module):
    return sum(len(layer._forward_hooks) for layer in module.modules())


def test_outputs_of_the_named_layers_are_recorded(stack):
    rows = torch.randn(5, 3)
    with record_activations(stack, ["0.0", "0", "1.1"]) as activations:
        answer = stack(rows)
    assert list(activations) == ["0.0", "0", "1.1"]
    assert torch.equal(activations["0.0"], stack[0][0](rows))
    assert torch.equal(activations["0"], stack[0](rows))
    assert torch.equal(activations["1.1"], answer)


def test_the_latest_pass_counts(stack):
    with record_activations(stack, ["0"]) as activations:
        stack(torch.randn(5, 3))
        stack(rows := torch.randn(2, 3))
    assert torch.equal(activations["0"], stack[0](rows))


def test_gradients_reach_the_input(stack):
    rows = torch.randn(5, 3, requires_grad=True)
    with record_activations(stack, ["0.0"]) as activations:
        stack(rows)
    (slope,) = torch.autograd.grad(activations["0.0"].sum(), rows)
    torch.testing.assert_close(slope, stack[0][0].weight.sum(0).expand(5, 3))


def test_hooks_are_gone_afterwards(stack):
    with record_activations(stack, ["0", "1"]):
        assert n_hooks(stack) == 2
    assert n_hooks(stack) == 0


def test_hooks_are_gone_after_an_exception(stack):
    with pytest.raises(RuntimeError), record_activations(stack, ["0", "1"]):
        stack(torch.zeros(2, 99))
    assert n_hooks(stack) == 0


def test_hooks_are_gone_after_an_unknown_name(stack):
    with pytest.raises(ValueError, match=r"'2.0'"), record_activations(stack, ["0", "2.0"]):
        pass
    assert n_hooks(stack) == 0


def test_hooks_of_the_user_stay(stack):
    calls = []
    stack[0].register_forward_hook(lambda *_: calls.append(1))
    with record_activations(stack, ["0"]):
        stack(torch.zeros(1, 3))
    stack(torch.zeros(1, 3))
    assert len(calls) == 2
    assert n_hooks(stack) == 1


def test_unknown_layers_are_answered_with_near_names():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(2, 2)
            self.classifier = nn.Linear(2, 2)

    with pytest.raises(ValueError, match=r"no layer named 'feature'.*\['features'"):
        check_layers(Named(), ["classifier", "feature"])
    # With nothing near, some names that exist.
    with pytest.raises(ValueError, match=r"features.*classifier"):
        check_layers(Named(), ["☃"])
    check_layers(Named(), ["features", "classifier"])

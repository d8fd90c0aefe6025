"""Small data and small networks that the tests share, and the two promises they all may check."""

import contextlib
import random

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits
from torch import nn

# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def digits():
    """Rows (600, 64) in [0, 1] as float32, and labels 0 to 9."""
    X, y = load_digits(return_X_y=True)
    return (X[:600] / 16).astype(np.float32), y[:600]


@pytest.fixture(scope="session")
def trained_net(digits):
    """A convolutional network with batch normalisation, trained on images (n, 1, 8, 8)."""
    X, y = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        images, labels = torch.from_numpy(X).reshape(-1, 1, 8, 8), torch.from_numpy(y)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    net.zero_grad()
    return net.eval()


@pytest.fixture
def net(trained_net):
    """The trained network; a test that changed it would spoil its neighbours."""
    with module_untouched(trained_net):
        yield trained_net


def _portrait(module):
    """Everything of a module that a stranger could change."""
    hooks = [
        (name, len(getattr(layer, kind)))
        for name, layer in module.named_modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    ]
    return {
        "state": {key: value.clone() for key, value in module.state_dict().items()},
        "addresses": {key: value.data_ptr() for key, value in module.state_dict().items()},
        "training": {name: layer.training for name, layer in module.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in module.named_parameters()},
        "grads": {
            name: None if p.grad is None else p.grad.clone()
            for name, p in module.named_parameters()
        },
        "hooks": hooks,
    }


def _same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return a == b


@contextlib.contextmanager
def module_untouched(module):
    before = _portrait(module)
    yield
    after = _portrait(module)
    for part in before:
        assert _same(before[part], after[part]), f"the user's module changed: {part}"


@contextlib.contextmanager
def global_rng_untouched():
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    after = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0], "the global state of random moved"
    assert before[1][0] == after[1][0]
    assert np.array_equal(before[1][1], after[1][1]), "the global state of numpy moved"
    assert before[1][2:] == after[1][2:], "the global state of numpy moved"
    assert torch.equal(before[2], after[2]), "the global state of torch moved"


@pytest.fixture(name="module_untouched")
def module_untouched_fixture():
    """A context manager that fails where anything of a module changes."""
    return module_untouched


@pytest.fixture(name="global_rng_untouched")
def global_rng_untouched_fixture():
    """A context manager that fails where a global random state moves."""
    return global_rng_untouched


def slope_by_differences(function, at, step=1e-6):
    """Central differences of a scalar function of one float64 tensor."""
    slope = torch.zeros_like(at)
    for index in range(at.numel()):
        shift = torch.zeros_like(at).flatten()
        shift[index] = step
        shift = shift.reshape(at.shape)
        slope.view(-1)[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return slope


@pytest.fixture(scope="session")
def assert_slope():
    """Autograd's slope of ``function(at).sum()`` must be that of central differences."""

    def check(function, at, rtol=1e-5, atol=1e-6):
        at = at.double()
        variable = at.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(variable).sum(), variable)
        expected = slope_by_differences(lambda value: function(value).sum(), at)
        torch.testing.assert_close(slope, expected, rtol=rtol, atol=atol)

    return check

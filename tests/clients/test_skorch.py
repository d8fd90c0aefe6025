"""skorch nets in every state that a user can have them in."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler
from torch import nn

from skinvert import InputOptimizationGenerator


class Net(nn.Module):
    def __init__(self, n_hidden=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, n_hidden), nn.ReLU(), nn.Linear(n_hidden, 10)
        )

    def forward(self, images):
        return self.layers(images)


def make_net(module=Net, **arguments):
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=4,
        verbose=0,
        train_split=None,
        **arguments,
    )


def make_instance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def make_generator(classifier):
    return InputOptimizationGenerator(classifier, random_state=0, device="cpu")


UNFITTED = {
    "class": lambda: make_net(),
    "class with a parameter": lambda: make_net(module__n_hidden=8),
    "instance": lambda: make_net(make_instance()),
    "initialised": lambda: make_net().initialize(),
    "initialised instance": lambda: make_net(make_instance()).initialize(),
    "callbacks": lambda: make_net(
        callbacks=[
            ("stopping", EarlyStopping("train_loss", patience=2)),
            ("rate", LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1)),
        ]
    ),
    "validation": lambda: NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        verbose=0,
        callbacks=[EpochScoring("accuracy", name="accuracy")],
    ),
}


def weights_of(net):
    module = getattr(net, "module_", net.module)
    if isinstance(module, type):
        return {}
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.filterwarnings("ignore:in .* of the rows one of")
@pytest.mark.parametrize("state", UNFITTED)
def test_a_net_that_is_not_fitted_is_cloned_and_trained(state, digits):
    X, y = digits
    net = UNFITTED[state]()
    before = weights_of(net)
    generator = make_generator(net).fit(X, y)
    losses = generator.history_["train_loss"]
    assert losses[-1] < losses[0], "it was trained"
    assert generator.generate([3, 8]).shape == (2, 64)
    after = weights_of(net)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before), "not in place"
    again = make_generator(UNFITTED[state]()).fit(X, y)
    np.testing.assert_array_equal(again.generate([3, 8]), generator.generate([3, 8]))


def test_a_fitted_net_is_refused_until_it_is_frozen(digits):
    X, y = digits
    net = make_net().fit(X, y)
    with pytest.raises(ValueError, match="FrozenEstimator"):
        make_generator(net).fit(X, y)
    before = weights_of(net)
    generator = make_generator(FrozenEstimator(net)).fit(X, y)
    with torch.no_grad():
        expected = net.module_.eval()(torch.from_numpy(X[:50]))
        found = generator.classifier_(torch.from_numpy(X[:50]))
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(before[name], value) for name, value in weights_of(net).items())


def test_a_frozen_net_that_was_never_fitted_is_an_error(digits):
    with pytest.raises(ValueError, match="never fitted"):
        make_generator(FrozenEstimator(make_net())).fit(*digits)


def test_a_net_that_was_partially_fitted_counts_as_fitted(digits):
    net = make_net().partial_fit(*digits, epochs=1)
    with pytest.raises(ValueError, match="already fitted"):
        make_generator(net).fit(*digits)

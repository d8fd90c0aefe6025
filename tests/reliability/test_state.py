"""Nothing of the user's is changed, and nothing half-done stays, whenever a call is broken off."""

import contextlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from subjects import METHODS, data, make, network
from torch import nn

import skinvert
from skinvert.models.training import TrainingNet

pytestmark = pytest.mark.filterwarnings("ignore")

LIBRARY = str(Path(skinvert.__file__).parent)
N_POINTS = 10


class Injected(BaseException):
    """What goes wrong; an Exception might be taken for a network that can't be folded."""


@contextlib.contextmanager
def raised_at_call(number, error):
    """Raise in the library's so-manieth function call; yields a function that counts them.

    Generators and exits are left out: an exception inside of a clean-up is beyond any promise.
    """
    count = 0

    def profile(frame, event, _):
        nonlocal count
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(LIBRARY):
            return
        if code.co_flags & inspect.CO_GENERATOR or code.co_name in ("__exit__", "<module>"):
            return
        count += 1
        if count == number:
            raise error

    sys.setprofile(profile)
    try:
        yield lambda: count
    finally:
        sys.setprofile(None)


def session(estimator):
    """Every call that all methods answer; what it generated and its score."""
    X, y = data(n_rows=40)
    estimator.fit(X, y)
    return estimator.generate([0, 1, 2, 1, 0]), estimator.score(X[:20], y[:20])


@contextlib.contextmanager
def modes_untouched():
    before = torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()
    yield
    assert before == (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype())


@pytest.mark.parametrize("name", METHODS)
def test_nothing_moves_wherever_a_session_is_broken_off(
    name, module_untouched, global_rng_untouched
):
    net = network()
    net[0].weight.requires_grad_(False)
    net[4].train()
    net[4].weight.grad = torch.ones_like(net[4].weight)
    net[2].register_forward_hook(lambda *_: None)
    with global_rng_untouched(), modes_untouched(), module_untouched(net):
        images, score = session(make(name, net))
    with raised_at_call(0, None) as counted:
        session(make(name, net))
        n_calls = counted()
    for point in range(N_POINTS):
        for error in (Injected(), KeyboardInterrupt()):
            estimator = make(name, net)
            with (
                global_rng_untouched(),
                modes_untouched(),
                module_untouched(net),
                pytest.raises(type(error)),
                raised_at_call(int((point + 0.5) / N_POINTS * n_calls), error),
            ):
                session(estimator)
    # What was broken off last can be had again, as if nothing had been.
    again, same_score = session(estimator)
    np.testing.assert_array_equal(again, images)
    assert same_score == score


@pytest.mark.parametrize("name", METHODS)
def test_ctrl_c_in_training_leaves_an_estimator_that_says_so(name, monkeypatch):
    X, y = data(n_rows=40)
    steps = []

    def stop(self, *arguments, **rest):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return TrainingNet.epoch_of_skorch(self, *arguments, **rest)

    estimator = make(name)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingNet, "epoch_of_skorch", TrainingNet.run_single_epoch, raising=False)
        patch.setattr(TrainingNet, "run_single_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(X, y)
    with pytest.raises(NotFittedError, match=f"{name} was interrupted. Call fit again"):
        estimator.generate([1])
    assert not hasattr(estimator, "classes_")
    expected = make(name).fit(X, y).generate([1])
    np.testing.assert_array_equal(estimator.fit(X, y).generate([1]), expected)


class Stop(Callback):
    """Ends the training, as Ctrl-C does in a batch and as early stopping does after an epoch."""

    def __init__(self, moment):
        self.moment = moment

    def on_batch_end(self, net, **_):
        if self.moment == "batch" and len(net.history) == 2:
            raise KeyboardInterrupt

    def on_epoch_end(self, net, **_):
        if self.moment == "epoch" and len(net.history) == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["batch", "epoch"])
def test_ctrl_c_in_the_user_s_own_net_is_told_from_early_stopping(moment):
    net = NeuralNetClassifier(
        nn.Linear,
        module__in_features=64,
        module__out_features=3,
        criterion=nn.CrossEntropyLoss,
        train_split=None,
        verbose=0,
        max_epochs=4,
        callbacks=[("stop", Stop(moment))],
    )
    estimator = make("InputOptimizationGenerator", net)
    X, y = data(n_rows=40)
    if moment == "batch":
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(X, y)
        return
    assert len(estimator.fit(X, y).history_["train_loss"]) == 2


@pytest.mark.parametrize("name", METHODS)
def test_a_fit_that_raises_leaves_the_earlier_one(name):
    X, y = data(n_rows=40)
    estimator = make(name, network()).fit(X, y)
    images = estimator.generate([2, 0])
    with pytest.raises(ValueError, match=r"[Ss]amples"):
        estimator.fit(X, y[:-1])
    np.testing.assert_array_equal(estimator.generate([2, 0]), images)
    with raised_at_call(20, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    with pytest.raises(NotFittedError, match="interrupted"):
        estimator.score(X, y)


@pytest.mark.parametrize("name", METHODS)
def test_out_of_memory_is_recorded_for_every_method(name, monkeypatch):
    estimator = make(name, network()).fit(*data(n_rows=40))
    whole = type(estimator)._generate_rows

    def cramped(self, target, seeds, rows, batch_size, *rest):
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, target, seeds, rows, batch_size, *rest)

    monkeypatch.setattr(type(estimator), "_generate_rows", cramped)
    with pytest.warns(RuntimeWarning, match=r"out of memory.*go on with 2"):
        images, info = estimator.generate([0, 1, 2], return_info=True)
    assert (info.batch_size == 2).all()
    assert np.isfinite(images).all()

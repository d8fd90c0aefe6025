"""Training has the bits of its seed, keeps global states and honours weights."""

import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from skinvert.models.training import TrainingNet, local_seed, pinned_threads, resolve_device

N, N_FEATURES = 60, 6


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, N_FEATURES)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(np.int64)


class Dense(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(N_FEATURES, 8), nn.ReLU(), nn.Linear(8, 2))


def weights_of(net):
    return torch.cat([value.flatten() for value in net.module_.state_dict().values()])


def trained(data, seed=0, sample_weight=None, **arguments):
    arguments = {"max_epochs": 3, "lr": 0.01, "batch_size": 16} | arguments
    return TrainingNet(Dense, seed=seed, **arguments).fit(*data, sample_weight=sample_weight)


def test_the_same_seed_gives_the_same_bits(data):
    first = weights_of(trained(data))
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    assert torch.equal(weights_of(trained(data)), first)
    assert not torch.equal(weights_of(trained(data, seed=1)), first)


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_training_keeps_global_states(radius, data, global_rng_untouched):
    with global_rng_untouched():
        trained(data, adversarial_radius=radius)


def test_training_is_silent_and_lowers_the_loss(data, capsys):
    net = trained(data, max_epochs=20)
    assert capsys.readouterr().out == ""
    losses = net.history[:, "train_loss"]
    assert losses[-1] < losses[0]
    assert "valid_loss" not in net.history[0]


def test_rows_of_any_type_are_cast(data):
    X, y = data
    exact = weights_of(trained(data))
    # Read-only, column-major, wide: what scikit-learn hands on.
    wide = np.asfortranarray(X.astype(np.float64))
    wide.flags.writeable = False
    assert torch.equal(weights_of(trained((wide, y.astype(np.int32)))), exact)


def test_equal_weights_are_no_weights(data):
    torch.testing.assert_close(
        weights_of(trained(data, sample_weight=np.full(N, 2.5))),
        weights_of(trained(data)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_weight_of_zero_drops_the_row(data):
    X, y = data
    kept = np.random.default_rng(1).uniform(size=N) < 0.6
    whole_batch = {"batch_size": N, "max_epochs": 10}
    torch.testing.assert_close(
        weights_of(trained(data, sample_weight=kept.astype(float), **whole_batch)),
        weights_of(trained((X[kept], y[kept]), **whole_batch)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_batch_without_weight_changes_nothing(data):
    net = trained(data, sample_weight=np.zeros(N))
    assert weights_of(net).isfinite().all()


def attacked(data, radius, **arguments):
    X, y = (torch.from_numpy(part) for part in data)
    net = trained(data, max_epochs=30, adversarial_radius=radius, **arguments)
    worst = net._worst_rows(X, y)
    with torch.no_grad():
        before, after = (
            nn.functional.cross_entropy(net.module_(rows), y, reduction="none")
            for rows in (X, worst)
        )
    return worst - X, before, after


def test_the_attack_raises_the_loss_inside_its_ball(data):
    moves, before, after = attacked(data, radius=0.3)
    lengths = moves.norm(dim=1)
    assert lengths.max() <= 0.3 * (1 + 1e-5)
    # Steps are 2.5 radii together: a row with a slope reaches the sphere.
    assert lengths.median() > 0.29
    assert after.mean() > 1.1 * before.mean()
    assert (after >= before - 1e-3).float().mean() > 0.95


def test_the_attack_moves_each_image_alone(data):
    X, y = (torch.from_numpy(part) for part in data)
    net = trained(data, adversarial_radius=0.3)
    together = net._worst_rows(X, y)
    alone = torch.cat([net._worst_rows(X[i : i + 1], y[i : i + 1]) for i in range(10)])
    torch.testing.assert_close(alone, together[:10], rtol=1e-4, atol=1e-5)


def test_adversarial_training_resists_the_attack(data):
    X, y = (torch.from_numpy(part) for part in data)
    plain, robust = (
        trained(data, max_epochs=60, adversarial_radius=radius) for radius in (0.0, 0.5)
    )
    plain.set_params(adversarial_radius=0.5)

    def loss_under_attack(net):
        return nn.functional.cross_entropy(net.module_(net._worst_rows(X, y)), y).item()

    assert loss_under_attack(robust) < loss_under_attack(plain)


def test_nets_are_cloned_by_their_parameters():
    net = TrainingNet(Dense, seed=3, adversarial_radius=0.2, adversarial_steps=7, max_epochs=2)
    copied = clone(net).get_params()
    for name in ("seed", "adversarial_radius", "adversarial_steps", "max_epochs", "batch_size"):
        assert copied[name] == net.get_params()[name]


def test_local_seed_restores_after_an_exception(global_rng_untouched):
    def fails():
        with local_seed(0):
            random.random()
            np.random.rand()  # noqa: NPY002
            torch.rand(1)
            raise KeyError

    with global_rng_untouched(), pytest.raises(KeyError):
        fails()


def test_local_seed_gives_the_same_draws():
    def draws():
        with local_seed(5):
            return random.random(), np.random.rand(), float(torch.rand(1))  # noqa: NPY002

    assert draws() == draws()


def test_threads_are_put_back():
    def fails():
        with pinned_threads(1):
            assert torch.get_num_threads() == 1
            with pinned_threads(2):
                assert torch.get_num_threads() == 2
            assert torch.get_num_threads() == 1
            raise KeyError

    before = torch.get_num_threads()
    with pytest.raises(KeyError):
        fails()
    assert torch.get_num_threads() == before


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu") == resolve_device(torch.device("cpu"))
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "hpu", ""])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(ValueError, match=r"cannot be used here.*'auto', 'cpu'"):
        resolve_device(device)

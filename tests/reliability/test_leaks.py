"""Work leaves nothing behind, and threads see one estimator as one thread does."""

import copy
import pickle

import numpy as np
import pytest
import torch
from leaks import bytes_per_cycle, in_threads, n_hooks
from subjects import METHODS, data, make, network

from skinvert.models.frozen import FrozenClassifier

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_cycles_of_fit_and_generate_leave_no_memory(name):
    assert bytes_per_cycle(name, n_cycles=20, n_warm_up=10) < 50_000


@pytest.mark.parametrize("name", METHODS)
def test_no_hook_is_left(name):
    net = network()
    estimator = make(name, net).fit(*data(n_rows=40))
    estimator.generate([0, 1, 2])
    assert n_hooks(net) == 0
    owned = [value for value in vars(estimator).values() if isinstance(value, torch.nn.Module)]
    assert owned
    assert sum(n_hooks(module) for module in owned) == 0


@pytest.mark.parametrize("name", METHODS)
def test_eight_threads_on_one_estimator_give_the_serial_result(name):
    estimator = make(name, network()).fit(*data(n_rows=40))
    packed = pickle.dumps(estimator)
    expected = [pickle.loads(packed).generate([k % 3, 1], random_state=k) for k in range(8)]
    # Untouched so far: the first calls of all threads meet in what is made on demand.
    fresh = pickle.loads(packed)
    results = in_threads(lambda k: fresh.generate([k % 3, 1], random_state=k))
    np.testing.assert_array_equal(results, expected)


def test_threads_that_fold_a_network_at_once_do_not_meet():
    # A tracer that patches what all threads call would mix their networks up.
    rows = torch.from_numpy(data(n_rows=8)[0])
    net = network()
    expected = FrozenClassifier(copy.deepcopy(net), (1, 8, 8))(rows)
    for _ in range(5):
        frozen = [FrozenClassifier(copy.deepcopy(net), (1, 8, 8)) for _ in range(8)]
        for answer in in_threads(lambda k, frozen=frozen: frozen[k](rows)):
            assert torch.equal(answer, expected)

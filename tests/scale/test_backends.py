"""Wherever the shards run, the bits are the same, and a lost worker loses nothing that was done."""

import concurrent.futures
import functools
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skinvert import InputOptimizationGenerator
from skinvert.inversion.loop import Result
from skinvert.shards import ShardStore

cloudpickle = pytest.importorskip("cloudpickle", reason="workers cannot import this file")
cloudpickle.register_pickle_by_value(sys.modules[__name__])

Y = np.arange(300) % 10
SHARD = 64  # rows: eight batches


class Mortal(InputOptimizationGenerator):
    """Its process is killed, once for each file in a folder, at the shard that the file names."""

    def _generate_rows(self, target, seeds, rows, batch_size, callback):
        try:
            (Path(self.graves) / str(rows.start)).unlink()
        except FileNotFoundError:
            return super()._generate_rows(target, seeds, rows, batch_size, callback)
        if os.getpid() == self.parent:
            raise AssertionError("no worker was there to make this shard")
        os.kill(os.getpid(), signal.SIGKILL)


def make(kind, net, digits):
    generator = kind(
        net, prior="mean", prior_weight=0.01, init="noise", n_steps=3, batch_size=8, random_state=0
    )
    return generator.fit(*digits)


@pytest.fixture
def generator(net, digits):
    return make(InputOptimizationGenerator, net, digits)


@pytest.fixture
def mortal(net, digits, tmp_path):
    """A generator whose workers die at three shards, and the folder of those that still must."""
    mortal = make(Mortal, net, digits)
    graves = tmp_path / "graves"
    graves.mkdir()
    for first in (0, 2 * SHARD, 4 * SHARD):
        (graves / str(first)).touch()
    mortal.graves, mortal.parent = str(graves), os.getpid()
    return mortal, graves


def assert_same_bits(generator, tmp_path, expected=None):
    expected = generator.generate(Y) if expected is None else expected
    np.testing.assert_array_equal(generator.generate(Y, n_jobs=2), expected)
    stored = generator.generate(Y, n_jobs=2, out=tmp_path / "images.npy")
    np.testing.assert_array_equal(stored, expected)
    assert [path.name for path in tmp_path.glob("images*")] == ["images.npy"]
    return expected


def assert_survives(mortal, expected, tmp_path, death, most_calls, awaited=lambda: None):
    """Calls repeat until one succeeds; every grave is filled; nothing is twice or missing."""
    generator, graves = mortal
    out = tmp_path / "images.npy"
    notes = []
    for _ in range(most_calls):
        awaited()
        try:
            stored = generator.generate(Y, n_jobs=2, out=out)
            break
        except death as error:
            notes += error.__notes__
    assert all("the same call goes on" in note for note in notes)
    np.testing.assert_array_equal(stored, expected)
    assert not list(graves.iterdir())
    assert [path.name for path in tmp_path.glob("images*")] == ["images.npy"]


def search(net, digits, n_jobs):
    """cv_results_' scores of a search for the prior's weight."""
    X, y = digits
    estimator = InputOptimizationGenerator(
        net, prior="mean", init="noise", n_steps=3, batch_size=8, random_state=0
    )
    searching = GridSearchCV(
        estimator,
        {"prior_weight": [0.01, 1.0]},
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
        n_jobs=n_jobs,
        error_score="raise",
        refit=False,
    ).fit(X[:200], y[:200])
    found = searching.cv_results_
    return {name: found[name].tolist() for name in found if name.endswith("test_score")}


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_local_workers_give_the_same_bits(backend, generator, tmp_path):
    with parallel_config(backend):
        assert_same_bits(generator, tmp_path)


def test_a_context_alone_decides_how_many_work(generator, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "skinvert.run._work", lambda held, ticket, shard: asked.append(1) or (shard.rows, None)
    )
    with parallel_config("threading", n_jobs=2), pytest.raises(FileNotFoundError):
        generator.generate(Y, out=tmp_path / "images.npy")
    assert len(asked) == -(-len(Y) // SHARD)


@pytest.mark.slow
def test_killed_workers_leave_no_gap_and_no_duplicate(generator, mortal, tmp_path):
    expected = generator.generate(Y)
    with parallel_config("loky"):
        assert_survives(mortal, expected, tmp_path, TerminatedWorkerError, most_calls=4)


def test_a_shard_that_lies_there_is_not_made_again(generator, tmp_path, monkeypatch):
    # What a scheduler does that takes a finished worker's shard for a lost one.
    expected = generator.generate(Y)
    made, missing = [], ShardStore.has

    def noted(self, target, seeds, rows, *_):
        made.append(rows)
        return Result(images=expected[rows])

    monkeypatch.setattr(InputOptimizationGenerator, "_generate_rows", noted)
    asked = []

    def late(self, rows):
        # The parent sees nothing, the worker sees the second shard.
        asked.append(rows)
        if asked.count(rows) == 2 and rows.start == SHARD:
            self.write(rows, expected[rows])
        return missing(self, rows)

    monkeypatch.setattr(ShardStore, "has", late)
    stored = generator.generate(Y, out=tmp_path / "images.npy")
    assert [rows.start for rows in made] == [0, 2 * SHARD, 3 * SHARD, 4 * SHARD]
    np.testing.assert_array_equal(stored, expected)


def test_images_travel_where_workers_do_not_see_the_folder(generator, tmp_path, monkeypatch):
    expected = generator.generate(Y)
    monkeypatch.setattr(ShardStore, "is_here", lambda self: False)
    with parallel_config("threading"):
        stored = generator.generate(Y, n_jobs=2, out=tmp_path / "images.npy")
    np.testing.assert_array_equal(stored, expected)


def test_the_bar_counts_what_was_there_and_estimates_the_rest(generator, tmp_path, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, **settings):
            bars.append(settings | {"done": 0})

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, n):
            bars[-1]["done"] += n

    monkeypatch.setattr("skinvert.run.tqdm", Bar)
    whole = ShardStore.write

    def flaky(self, rows, images):
        if rows.start == 2 * SHARD:
            raise OSError("no space left on device")
        whole(self, rows, images)

    out = tmp_path / "images.npy"
    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "write", flaky)
        with pytest.raises(OSError, match="no space"):
            generator.generate(Y, out=out)
    with parallel_config("threading"):
        generator.generate(Y, out=out, n_jobs=2)
    # tqdm's estimate is that of `total - n` at the rate of what was done since `initial`.
    assert [(bar["total"], bar["initial"]) for bar in bars] == [(300, 0), (300, 2 * SHARD)]
    assert bars[1]["done"] == 300 - 2 * SHARD


@pytest.fixture(scope="module")
def dask_cluster():
    distributed = pytest.importorskip("distributed", reason="needs dask's distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_dask_gives_the_same_bits_and_scores_and_survives(
    dask_cluster, generator, mortal, net, digits, tmp_path
):
    alone = search(net, digits, None)
    expected = generator.generate(Y)
    with parallel_config("dask"):
        assert_same_bits(generator, tmp_path, expected)
    with parallel_config("dask", scatter=list(digits)):
        assert search(net, digits, 2) == alone
    (tmp_path / "images.npy").unlink()
    # Shards of a lost worker go to the next, unless the estimator was scattered to that one only.
    death = concurrent.futures.CancelledError
    with parallel_config("dask"):
        # One worker alone would be no better than the caller, who then does the work himself.
        back = functools.partial(dask_cluster.wait_for_workers, 2, timeout=60)
        assert_survives(mortal, expected, tmp_path, death, most_calls=4, awaited=back)


@pytest.fixture(scope="module")
def ray_machine():
    ray = pytest.importorskip("ray", reason="needs ray")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register_ray()
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_bits_and_scores_and_survives(
    ray_machine, generator, mortal, net, digits, tmp_path
):
    alone = search(net, digits, None)
    expected = generator.generate(Y)
    with parallel_config("ray"):
        assert_same_bits(generator, tmp_path, expected)
        assert search(net, digits, 2) == alone
        (tmp_path / "images.npy").unlink()
        death = ray_machine.exceptions.RayActorError
        assert_survives(mortal, expected, tmp_path, death, most_calls=4)

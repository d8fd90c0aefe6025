"""Processes that are killed at any moment, and what they leave.

Children are forked from a server that has imported the library and computed nothing.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from subjects import data, make

from skinvert import shards

IN_WRITE = ("half", "fsync", "replace")
N_ROWS_OF_A_FIT = 60


def fit(name, folder, n_images):
    """Fit with a checkpoint; the result is what was learned and what it generates."""
    estimator = make(name, checkpoint=folder / "fit.pt").fit(*data(n_rows=N_ROWS_OF_A_FIT))
    histories = [np.ravel(values) for values in estimator.history_.values()]
    return np.concatenate([estimator.generate([0, 1, 2]).ravel(), *histories])


def generate(name, folder, n_images):
    """Generate into a file with the estimator beside the folder."""
    estimator = pickle.loads((folder.parent / "estimator.pkl").read_bytes())
    return np.array(estimator.generate(np.arange(n_images) % 3, out=folder / "images.npy"))


TASKS = {"fit": fit, "generate": generate}


def store_estimator(name, folder):
    """What `generate` needs."""
    fitted = make(name).fit(*data(n_rows=N_ROWS_OF_A_FIT))
    (folder / "estimator.pkl").write_bytes(pickle.dumps(fitted))


def _child(task, name, folder, n_images, moment, step):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    folder = Path(folder)
    if task == "store":
        store_estimator(name, folder)
        return
    if moment is not None:
        threading.Thread(target=_die_after, args=(moment,), daemon=True).start()
    if step is not None:
        _die_inside_a_write(*step)
    result = TASKS[task](name, folder, n_images)
    np.save(folder / "result.npy", result)
    (folder / "seconds").write_text(str(time.process_time()))


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _die_after(seconds):
    # Of processor time: a busy machine moves nothing.
    while time.process_time() < seconds:
        time.sleep(0.002)
    _die()


def _die_inside_a_write(kind, number):
    """Kill this process at some write: with half of the content written, or before a step."""
    count = 0

    def is_due():
        nonlocal count
        count += 1
        return count == number

    if kind == "half":
        whole = shards._replacing.__exit__

        def half(self, *error):
            if is_due():
                self.stream.flush()
                os.truncate(self.unfinished, os.path.getsize(self.unfinished) // 2)
                _die()
            return whole(self, *error)

        shards._replacing.__exit__ = half
        return
    original = getattr(os, kind)

    def stepped(*arguments, **rest):
        if is_due():
            _die()
        return original(*arguments, **rest)

    setattr(os, kind, stepped)


def run(task, name, folder, n_images=0, moment=None, step=None):
    """Run a task in a child; its exit code: 0, or minus the signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["skinvert", "kills"])
    child = context.Process(target=_child, args=(task, name, str(folder), n_images, moment, step))
    child.start()
    child.join()
    return child.exitcode


def campaign(task, name, folder, *, n_kills, n_in_write, n_images=96, seed=0):
    """Kill a task again and again, let it go on each time, and compare with one left alone.

    Returns
    -------
    found : dict
        ``kills`` at random moments, ``kills_in_write``, ``different`` results, files ``left``
        beside the wanted ones, and ``failures`` of resumed runs.
    """
    rng = np.random.default_rng(seed)
    calm = folder / "calm"
    calm.mkdir()
    if task == "generate" and run("store", name, folder) != 0:
        raise RuntimeError(f"{name} was not fitted")
    if run(task, name, calm, n_images) != 0:
        raise RuntimeError(f"{task} of {name} failed without a kill")
    expected = np.load(calm / "result.npy")
    seconds = float((calm / "seconds").read_text())
    wanted = {path.name for path in calm.iterdir()}
    found = {"kills": 0, "kills_in_write": 0, "different": 0, "left": 0, "failures": 0}
    attempt = 0
    while found["kills"] < n_kills or found["kills_in_write"] < n_in_write:
        attempt += 1
        if attempt > 10 * (n_kills + n_in_write):
            raise RuntimeError("the children end before they are killed")
        stormy = folder / f"stormy-{attempt}"
        stormy.mkdir()
        for _ in range(4):
            moment = step = None
            if found["kills"] < n_kills:
                moment = rng.uniform(0, seconds)
            elif found["kills_in_write"] < n_in_write:
                step = IN_WRITE[found["kills_in_write"] % 3], int(rng.integers(1, 4))
            code = run(task, name, stormy, n_images, moment, step)
            if code == -signal.SIGKILL:
                found["kills" if step is None else "kills_in_write"] += 1
            elif code != 0:
                found["failures"] += 1
            if code == 0:
                break
        else:
            found["failures"] += run(task, name, stormy, n_images) != 0
        result = np.load(stormy / "result.npy")
        found["different"] += not np.array_equal(result, expected, equal_nan=True)
        found["left"] += len({path.name for path in stormy.iterdir()} - wanted)
    return found

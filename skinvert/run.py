"""One call of ``generate``: its shards, where they run, what goes wrong and what they leave."""

import pickle
import uuid
import warnings
from numbers import Real

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, wrap_non_picklable_objects
from joblib.parallel import get_active_backend
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from skinvert.inversion.loop import DivergenceError
from skinvert.layout import restore_layout
from skinvert.shards import ShardStore, fingerprint

__all__ = ["Run"]

_MOST_HALVINGS = 10
_OPENED: dict = {}  # the estimator that this worker process got last, by its ticket


class Run:
    """One call of ``generate``.

    Parameters
    ----------
    estimator : generator with ``_generate_rows``
    target : Target of length n
    seeds : ndarray of int of shape (n,)
    batch_size : int
    shards : list of slice
        Rows that run together, in order.
    """

    def __init__(self, estimator, target, seeds, batch_size, shards):
        self.estimator, self.target, self.seeds = estimator, target, seeds
        self.batch_size, self.shards = batch_size, shards

    def to_memory(self, n_jobs, return_info):
        """Images as an array, and with `return_info` a Bunch beside them."""
        images = np.zeros((len(self.target), self.estimator.n_features_in_), dtype=np.float32)
        infos = []
        for rows, outcome in self._outcomes(self.shards, n_jobs):
            if isinstance(outcome, DivergenceError):
                raise self._with_everything_found(outcome, rows, images)
            result, info = outcome
            images[rows] = result.reshape(len(result), -1)
            if return_info:
                infos.append(info)
        images = restore_layout(images, self.estimator._trailing_shape)
        return (images, self._joined(infos)) if return_info else images

    def to_file(self, out, n_jobs, return_info):
        """Images as a memory map of the file `out`; shards that are there already are kept.

        A worker writes its shards itself where it sees the folder: what is finished is safe at
        once, whatever happens to the other workers, and no image travels. Where it does not see
        it, images come back and are written here.
        """
        estimator = self.estimator
        if return_info:
            raise ValueError(
                "return_info=True keeps every row's record in memory; got out= too. "
                "Leave one of them out."
            )
        request = fingerprint(
            self.seeds, self.target.requests(), self.batch_size, *_state_of(estimator)
        )
        store = ShardStore(out, request)
        missing = [rows for rows in self.shards if not store.has(rows)]
        trailing_shape = estimator._trailing_shape or (estimator.n_features_in_,)
        try:
            for rows, outcome in self._outcomes(missing, n_jobs, store):
                if isinstance(outcome, DivergenceError):
                    raise self._with_everything_found(outcome, rows, None)
                if outcome is not None:
                    store.write(rows, outcome)
            return store.assemble(self.shards, trailing_shape)
        except Exception as error:
            error.add_note(f"Finished shards are kept in {store.folder}; the same call goes on.")
            raise

    def _outcomes(self, shards, n_jobs, store=None):
        """Yield the rows of each shard and what came of it, wherever it ran."""
        n_rows, n_missing = len(self.target), sum(rows.stop - rows.start for rows in shards)
        quiet = not self.estimator.verbose
        tasks = [
            _Shard(rows, self.target[rows], self.seeds[rows], self.batch_size, store)
            for rows in shards
        ]
        bar = tqdm(total=n_rows, initial=n_rows - n_missing, unit="image", disable=quiet, delay=1)
        with bar:
            if _n_workers(n_jobs) == 1:
                yield from ((task.rows, task.outcome(self.estimator, bar.update)) for task in tasks)
                return
            yield from self._from_workers(tasks, n_jobs, bar, in_order=store is None)

    def _from_workers(self, tasks, n_jobs, bar, in_order):
        backend, _ = get_active_backend()
        held, ticket = self.estimator, None
        if not getattr(backend, "supports_sharedmem", False):
            # Packed once, as an array: loky maps it, dask and ray scatter it, workers open it once.
            packed = pickle.dumps(wrap_non_picklable_objects(held, keep_wrapper=False))
            held, ticket = np.frombuffer(packed, np.uint8), uuid.uuid4().hex
        calls = (delayed(_work)(held, ticket, task) for task in tasks)
        if not backend.supports_return_generator:
            # Ray's gives everything at the end, and meanwhile a count.
            yield from _Counting(bar, tasks, n_jobs=n_jobs)(calls)
            return
        kind = "generator" if in_order else "generator_unordered"
        for rows, outcome in Parallel(n_jobs=n_jobs, return_as=kind)(calls):
            bar.update(rows.stop - rows.start)
            yield rows, outcome

    def _with_everything_found(self, error, rows, images):
        """The error in rows of the request, with all finished images on it, NaN elsewhere."""
        raised = DivergenceError(
            error.step, error.term, [row + rows.start for row in error.rows], error.result
        )
        raised.images = None
        if images is not None:
            found = np.full_like(images, np.nan)
            found[: rows.start] = images[: rows.start]
            if error.result.images is not None:
                done = error.result.status != "unfinished"
                found[rows][done] = error.result.images.reshape(len(done), -1)[done]
            raised.images = restore_layout(found, self.estimator._trailing_shape)
        return raised

    @staticmethod
    def _joined(infos):
        if not infos:
            return Bunch()
        joined = Bunch()
        for name, first in infos[0].items():
            values = [info[name] for info in infos]
            if isinstance(first, dict):
                joined[name] = {
                    term: np.concatenate([value[term] for value in values]) for term in first
                }
            else:
                joined[name] = sum(values) if np.ndim(first) == 0 else np.concatenate(values)
        return joined


class _Shard:
    """Rows that run together, with everything about them but the estimator.

    Parameters
    ----------
    rows : slice
        Of the request.
    target, seeds
        Those of these rows.
    batch_size : int
    store : ShardStore or None
        Where images are to be left.
    """

    def __init__(self, rows, target, seeds, batch_size, store):
        self.rows, self.target, self.seeds = rows, target, seeds
        self.batch_size, self.store = batch_size, store

    def outcome(self, estimator, progress=None):
        """Images and info, or with a store nothing once the images lie in it.

        Images alone are the answer where the store is out of this process's sight. A divergence is
        returned, so that workers can send it.
        """
        store = self.store if self.store is not None and self.store.is_here() else None
        # Schedulers repeat what a lost worker had finished.
        if store is not None and store.has(self.rows):
            return None
        try:
            result, batch_size = self._with_smaller_batches(estimator, progress)
        except DivergenceError as error:
            return error
        _warn_of_divergence(result.divergences, self.rows)
        if self.store is None:
            return result.images, self._info(result, batch_size)
        images = result.images.reshape(len(result.images), -1)
        if store is None:
            return images
        store.write(self.rows, images)
        return None

    def _info(self, result, batch_size):
        return Bunch(
            status=result.status,
            n_steps=result.n_steps,
            seed=self.seeds,
            batch_size=np.full(len(self.seeds), batch_size),
            terms=result.terms,
            history=result.history,
            n_sample_steps=result.n_sample_steps,
            **result.diagnostics,
        )

    def _with_smaller_batches(self, estimator, progress):
        rows, batch_size = self.rows, self.batch_size
        for _ in range(_MOST_HALVINGS):
            try:
                result = estimator._generate_rows(
                    self.target, self.seeds, rows, batch_size, progress
                )
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error) or batch_size == 1:
                    raise
            else:
                return result, batch_size
            # Outside the except block, whose traceback would keep the tensors alive.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            batch_size //= 2
            warnings.warn(
                f"out of memory with batch_size={2 * batch_size}: rows {rows.start} to "
                f"{rows.stop - 1} go on with {batch_size}, whose bits differ. Set batch_size="
                f"{batch_size} to have it from the start.",
                RuntimeWarning,
                stacklevel=2,
            )
        raise MemoryError(f"out of memory even with batch_size={batch_size}.")


class _Counting(Parallel):
    """joblib's Parallel that moves a bar of images by the shards that are done."""

    def __init__(self, bar, tasks, **kwargs):
        super().__init__(**kwargs)
        self._bar = bar
        self._ends = np.cumsum([len(task.seeds) for task in tasks]) + bar.n

    def print_progress(self):
        """What joblib calls at the end of each task."""
        self._bar.n = int(self._ends[self.n_completed_tasks - 1])
        self._bar.refresh()


def _n_workers(n_jobs):
    """As joblib counts them, but a call inside a worker that asks for none gets none."""
    if n_jobs is None and get_active_backend()[0].nesting_level:
        return 1
    return effective_n_jobs(n_jobs)


def _work(held, ticket, shard):
    """Rows of a shard and their outcome, in a worker."""
    estimator = held if ticket is None else _OPENED.get(ticket)
    if estimator is None:
        estimator = pickle.loads(held)
        _OPENED.clear()
        _OPENED[ticket] = estimator
    return shard.rows, shard.outcome(estimator)


def _warn_of_divergence(divergences, rows):
    """Say which rows were given up; their status says so too."""
    if not divergences:
        return
    step, term, _ = divergences[0]
    found = sorted(row + rows.start for _, _, row in divergences)
    warnings.warn(
        f"rows {found[:10]}{'' if len(found) <= 10 else f' and {len(found) - 10} more'} diverged: "
        f"term {term!r} was not finite at step {step}, nor after three returns to smaller steps. "
        "They show the last image at which it was, and info.status says 'diverged'. Lower "
        "learning_rate or the term's weight, or check the classifier's outputs.",
        RuntimeWarning,
        stacklevel=2,
    )


def _state_of(estimator):
    """Everything that an estimator's images depend on, for a fingerprint."""
    for name, value in sorted(estimator.get_params().items()):
        if name not in ("verbose", "checkpoint"):
            yield name
            yield from _faithful(value)
    for name, value in sorted(vars(estimator).items()):
        if isinstance(value, torch.nn.Module):
            for key, tensor in value.state_dict().items():
                yield f"{name}.{key}"
                yield tensor.detach().cpu().numpy()
        elif name == "acceleration_" or (isinstance(value, np.ndarray) and name.endswith("_")):
            yield name
            yield from _faithful(value)


def _faithful(value):
    """Parts that tell a parameter from any other; networks are told by their weights."""
    if isinstance(value, (list, tuple)) and not all(isinstance(entry, Real) for entry in value):
        for entry in value:
            yield from _faithful(entry)
    elif isinstance(value, np.ndarray):
        yield value if value.dtype != object else repr(value.tolist())
    elif hasattr(value, "to_numpy"):
        yield value.to_numpy()
    elif isinstance(value, (int, float, str, tuple, list, type(None))):
        yield value
    else:
        yield type(value).__qualname__
        if hasattr(value, "get_params") and not isinstance(value, type):
            for name, inner in sorted(value.get_params(deep=False).items()):
                yield name
                yield from _faithful(inner)


def _is_out_of_memory(error):
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "not enough memory" in str(error) or "out of memory" in str(error)

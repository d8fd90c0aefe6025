"""One call of ``generate``: its shards, where they run, what goes wrong and what they leave."""

import warnings
from numbers import Real

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from skinvert.inversion.loop import DivergenceError
from skinvert.layout import restore_layout
from skinvert.shards import ShardStore, fingerprint

__all__ = ["Run"]

_MOST_HALVINGS = 10


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
        for rows, result, info in self._results(self.shards, n_jobs, images):
            images[rows] = result.reshape(len(result), -1)
            if return_info:
                infos.append(info)
        images = restore_layout(images, self.estimator._trailing_shape)
        return (images, self._joined(infos)) if return_info else images

    def to_file(self, out, n_jobs, return_info):
        """Images as a memory map of the file `out`; shards that are there already are kept."""
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
        for rows, result, _ in self._results(missing, n_jobs, None):
            store.write(rows, result.reshape(len(result), -1))
        trailing_shape = estimator._trailing_shape or (estimator.n_features_in_,)
        return store.assemble(self.shards, trailing_shape)

    def _results(self, shards, n_jobs, images):
        """Yield (rows, images, info) of each shard, wherever it ran."""
        n_rows = sum(rows.stop - rows.start for rows in shards)
        bar = tqdm(total=n_rows, unit="image", disable=not self.estimator.verbose, delay=1)
        with bar:
            if n_jobs in (None, 1):
                outcomes = (self._shard(rows, bar.update) for rows in shards)
            else:
                parallel = Parallel(n_jobs=n_jobs, return_as="generator")
                outcomes = parallel(delayed(self._shard)(rows, None) for rows in shards)
            for rows, outcome in zip(shards, outcomes, strict=True):
                if isinstance(outcome, DivergenceError):
                    raise self._with_everything_found(outcome, rows, images)
                if n_jobs not in (None, 1):
                    bar.update(rows.stop - rows.start)
                result, info = outcome
                yield rows, result, info

    def _shard(self, rows, progress):
        """Images and info of one shard; a divergence is returned, so that workers can send it."""
        try:
            result, batch_size = self._with_smaller_batches(rows, progress)
        except DivergenceError as error:
            return error
        info = Bunch(
            status=result.status,
            n_steps=result.n_steps,
            seed=self.seeds[rows],
            batch_size=np.full(rows.stop - rows.start, batch_size),
            terms=result.terms,
            history=result.history,
            n_sample_steps=result.n_sample_steps,
            **result.diagnostics,
        )
        return result.images, info

    def _with_smaller_batches(self, rows, progress):
        batch_size = self.batch_size
        for _ in range(_MOST_HALVINGS):
            try:
                result = self.estimator._generate_rows(
                    self.target[rows], self.seeds[rows], rows, batch_size, progress
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


def _state_of(estimator):
    """Everything that an estimator's images depend on, for a fingerprint."""
    for name, value in sorted(estimator.get_params().items()):
        if name != "verbose":
            yield name
            yield from _faithful(value)
    for name, value in sorted(vars(estimator).items()):
        if isinstance(value, torch.nn.Module):
            for key, tensor in value.state_dict().items():
                yield f"{name}.{key}"
                yield tensor.detach().cpu().numpy()
        elif isinstance(value, np.ndarray) and name.endswith("_"):
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

"""Rejection sampling, row by row: draw a latent, check it, decode it, check the image (ReGene 6.2).

Each row draws from a stream of its own until it passes. First trials run in batches of one fixed
shape, later ones, which are few, in batches of another: a row's place depends on the rows before it
alone, so that on a CPU the first images of a request are those of a shorter request, bit for bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from skinvert.inversion.loop import DivergenceError, Result
from skinvert.inversion.randomness import RowNoise

__all__ = ["ExhaustionError", "Trials", "TrialsExhausted", "exhaustion", "in_batches"]


class ExhaustionError(RuntimeError):
    """Rows found no image that passes the checks in the trials they had.

    Attributes
    ----------
    images : ndarray of shape (n, n_features) or as `generate` lays images out, or None
        What was found until then; NaN elsewhere. None where ``out=`` was given, which keeps
        finished shards itself.
    rows : list of int
        Rows of the request that found none.
    """

    def __init__(self, message: Any, images: Any = None, rows: Any = ()) -> None:
        super().__init__(message)
        self.images, self.rows = images, list(rows)

    def __reduce__(self):
        return type(self), (str(self), self.images, self.rows)


class TrialsExhausted(DivergenceError):
    """Rows that did not pass a check in the trials they had; finished rows are in ``result``."""


@dataclass
class Trials:
    """How latents are drawn, checked and decoded.

    Parameters
    ----------
    draw : callable ``(noise, rows) -> ndarray (m, n_latents)``
        `rows` is an array of m indices, `noise` a RowNoise of m slots.
    check_latents : callable ``(latents, rows) -> bool ndarray (m,)``
    decode : callable ``Tensor (batch, n_latents) -> tuple of Tensor (batch, ...)``
        Images, and what the classifier says of them.
    check_images : callable ``(answers ndarray (m, ...), rows) -> bool ndarray (m,)``
    max_trials : int
        Most images that a row may decode, and most latents that it may draw for one of them.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.trials import Trials
    >>> trials = Trials(
    ...     draw=lambda noise, rows: noise.normal(2).numpy(),
    ...     check_latents=lambda latents, rows: latents[:, 0] > 0,
    ...     decode=lambda latents: (latents, latents[:, 1]),
    ...     check_images=lambda answers, rows: answers > 0,
    ...     max_trials=100)
    >>> bool((trials.run([3, 4, 5], batch_size=2).images > 0).all())
    True
    """

    draw: Callable
    check_latents: Callable
    decode: Callable
    check_images: Callable
    max_trials: int

    def run(self, seeds, *, batch_size, device="cpu", callback=None):
        """Try until every row has an image.

        Parameters
        ----------
        seeds : sequence of int, length n_rows
        batch_size : int
        device : torch.device or str, default="cpu"
        callback : callable ``n_rows -> None``, optional
            Told how many rows were finished.

        Returns
        -------
        result : Result
            With ``latents``, ``n_latent_trials`` and ``n_image_trials`` among its diagnostics.

        Raises
        ------
        TrialsExhausted
            If rows fail in all their trials.
        """
        record = _Record(len(seeds))
        noise = RowNoise(seeds)
        pending = np.arange(len(seeds))
        for trial in range(self.max_trials):
            latents = self._valid_latents(noise, pending, record)
            # Few rows come back; a full batch would be mostly padding.
            size = batch_size if trial == 0 else max(1, batch_size // 4)
            pending = self._decoded(latents, pending, size, device, record, callback)
            if not len(pending):
                return record.result
        raise TrialsExhausted(self.max_trials, "image", pending.tolist(), record.result)

    def _valid_latents(self, noise, pending, record):
        """Latents of the pending rows, drawn until each passes."""
        found, waiting = None, np.arange(len(pending))
        for _ in range(self.max_trials):
            rows = pending[waiting]
            latents = self.draw(_slots(noise, rows), rows)
            found = np.empty((len(pending), latents.shape[1])) if found is None else found
            found[waiting] = latents
            record.result.diagnostics["n_latent_trials"][rows] += 1
            waiting = waiting[~self.check_latents(latents, rows)]
            if not len(waiting):
                return found
        raise TrialsExhausted(self.max_trials, "latent", pending[waiting].tolist(), record.result)

    def _decoded(self, latents, pending, size, device, record, callback):
        """Decode and check the latents of pending rows; returns the rows that failed."""
        failed = []
        for first in range(0, len(pending), size):
            rows = pending[first : first + size]
            chosen = latents[first : first + size]
            images, answers = in_batches(self.decode, chosen, size, device)
            record.result.n_sample_steps += size
            passed = self.check_images(answers, rows)
            record.keep(rows, passed, images, chosen)
            failed.append(rows[~passed])
            if callback is not None:
                callback(int(passed.sum()))
        return np.concatenate(failed)


def exhaustion(error):
    """The user's error for one that a run of shards handed on.

    Parameters
    ----------
    error : DivergenceError
        As `TrialsExhausted` has it: ``term`` is the check, ``step`` the number of trials.

    Returns
    -------
    error : ExhaustionError
    """
    what = {
        "latent": "no latent that the last layer gives their class",
        "image": "no image of which the classifier is sure enough",
    }[error.term]
    return ExhaustionError(
        f"rows {error.rows[:10]} of the request found {what} in max_trials={error.step} trials. "
        "Lower threshold (or set None), raise max_trials, try sampler='convex', or train the "
        "decoder longer. What was found is in the attribute 'images' of this error.",
        error.images,
        error.rows,
    )


def in_batches(function, inputs, size, device="cpu"):
    """Answers of a function of tensors to many rows, in padded batches of one shape.

    Parameters
    ----------
    function : callable ``Tensor (size, ...) -> tuple of Tensor (size, ...)``
    inputs : ndarray of shape (n, ...)
        Read one batch at a time, as float32.
    size : int
    device : torch.device or str, default="cpu"

    Returns
    -------
    answers : tuple of ndarray (n, ...)

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.trials import in_batches
    >>> in_batches(lambda rows: (2 * rows,), np.ones((3, 1)), 2)[0].ravel().tolist()
    [2.0, 2.0, 2.0]
    """
    collected = []
    with torch.no_grad():
        for first in range(0, len(inputs), size):
            batch = np.asarray(inputs[first : first + size], dtype=np.float32)
            padded = np.zeros((size, *batch.shape[1:]), dtype=np.float32)
            padded[: len(batch)] = batch
            answers = function(torch.from_numpy(padded).to(device))
            collected.append([answer[: len(batch)].cpu().numpy() for answer in answers])
    return tuple(np.concatenate(parts) for parts in zip(*collected, strict=True))


def _slots(noise, rows):
    """The streams of some rows, each of which goes on where it ended."""
    view = RowNoise([], noise.device)
    view.generators = [noise.generators[row] for row in rows]
    return view


class _Record:
    """Collects what accepted rows leave behind."""

    def __init__(self, n_rows):
        self.result = Result(
            status=np.full(n_rows, "unfinished"),
            n_steps=np.zeros(n_rows, dtype=int),
            diagnostics={
                "n_latent_trials": np.zeros(n_rows, dtype=int),
                "n_image_trials": np.zeros(n_rows, dtype=int),
            },
        )

    def keep(self, rows, passed, images, latents):
        result, n_rows = self.result, len(self.result.status)
        if result.images is None:
            result.images = np.zeros((n_rows, *images.shape[1:]), dtype=np.float32)
            result.diagnostics["latents"] = np.zeros((n_rows, latents.shape[1]), np.float32)
        result.n_steps[rows] += 1
        result.diagnostics["n_image_trials"][rows] += 1
        result.images[rows[passed]] = images[passed]
        result.diagnostics["latents"][rows[passed]] = latents[passed]
        result.status[rows[passed]] = "completed"

"""Runs of the loop one after the other, each from the best that every row found in the one before.

Objectives of different stages don't compare, so that the best is looked for anew in each: what
comes out is the best of the last stage.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skinvert.inversion.loop import DivergenceError, Problem, Result, optimize

__all__ = ["WarmUpCosine", "optimize_in_stages", "steps_of_stages"]

# Multiplied with a stage's number and added to seeds: stages draw other views than the last.
_STRIDE = 0x5851F42D4C957F2D
_MOST = 2**63 - 1


@dataclass
class WarmUpCosine:
    """A learning rate that climbs linearly, then falls to zero along a cosine.

    Parameters
    ----------
    rate : float
        The largest.
    n_steps : int
        Length of a row's run.
    share : float, default=0.05
        First part of the run, over which the rate climbs, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.stages import WarmUpCosine
    >>> WarmUpCosine(1.0, n_steps=8, share=0.5)(torch.tensor([1, 4, 5, 7])).tolist()
    [0.25, 1.0, 1.0, 0.5]
    """

    rate: float
    n_steps: int
    share: float = 0.05

    def __call__(self, steps: Tensor) -> Tensor:
        """Rate (n_rows,) of each row's step, counted from 1."""
        n_climbing = self.share * self.n_steps
        taken = steps.double() - 1
        climb = (taken + 1) / max(n_climbing, 1)
        fallen = (taken - n_climbing) / max(self.n_steps - n_climbing, 1)
        fall = (1 + (math.pi * fallen.clamp(0, 1)).cos()) / 2
        return self.rate * climb.clamp(max=1) * fall


def steps_of_stages(n_steps: int | Sequence[int]) -> tuple[int, ...]:
    """Numbers of steps, one for each stage.

    Parameters
    ----------
    n_steps : int or sequence of int
        A number is one stage.

    Returns
    -------
    n_steps : tuple of int

    Raises
    ------
    ValueError
        For no stage at all, and stages of no step.

    Examples
    --------
    >>> from skinvert.inversion.stages import steps_of_stages
    >>> steps_of_stages(200), steps_of_stages([100, 50])
    ((200,), (100, 50))
    """
    stages = tuple(n_steps) if isinstance(n_steps, Sequence) else (n_steps,)
    if not stages or any(not isinstance(n, Integral) or n < 1 for n in stages):
        raise ValueError(
            f"n_steps must be a positive integer, or a tuple with one for each stage, got "
            f"{n_steps!r}."
        )
    return stages


@dataclass
class _Best:
    """The best that each row has been, and the problem that finds it."""

    problem: object
    n_rows: int
    params: tuple | None = None
    totals: torch.Tensor | None = None
    steps: torch.Tensor | None = None

    def objective(self, params, rows, steps, noise):
        values = self.problem.objective(params, rows, steps, noise)
        with torch.no_grad():
            self._compare(sum(values.values()), params, rows, steps)
        return values

    def _compare(self, total, params, rows, steps):
        if self.totals is None:
            self.totals = total.new_full((self.n_rows,), torch.inf)
            self.steps = torch.zeros(self.n_rows, dtype=torch.long, device=rows.device)
            self.params = tuple(p.new_zeros((self.n_rows, *p.shape[1:])) for p in params)
        better = total < self.totals[rows]
        changed = rows[better]
        self.totals[changed], self.steps[changed] = total[better], steps[better]
        for kept, now in zip(self.params, params, strict=True):
            kept[changed] = now[better]

    def render(self, batch_size):
        """Images of the best parameters, as ndarray (n_rows, ...)."""
        with torch.no_grad():
            parts = zip(*[part.split(batch_size) for part in self.params], strict=True)
            images = [self.problem.render(part).cpu().numpy() for part in parts]
        return np.concatenate(images)


def optimize_in_stages(
    problem_of_stage: Callable[[int, int], Problem],
    seeds: Sequence[int],
    *,
    n_steps: Sequence[int],
    batch_size: int,
    optimizer_of_stage: Callable[[int], Any],
    device: str | torch.device = "cpu",
    callback: Callable[[float], object] | None = None,
) -> Result:
    """Optimise all rows in every stage and return the best that each was in the last.

    Rows are completed to whole batches with rows that are made and dropped, so that every batch is
    full of distinct rows that take their steps together, as statistics of groups need it. Idle
    slots would have cost the same.

    Parameters
    ----------
    problem_of_stage : callable ``(stage, n_steps) -> Problem``
        All stages have parameters of one shape. Rows beyond ``len(seeds) - 1`` are asked for: they
        should be answered as the last row.
    seeds : sequence of int, length n_rows
        One seed a row; its noise comes from nowhere else.
    n_steps : sequence of int
        Of each stage.
    batch_size : int
        Number of slots, the fixed first dimension of every batch.
    optimizer_of_stage : callable ``n_steps -> optimizer``
        Makes each stage's update rule, as of `skinvert.inversion.loop.optimize`.
    device : torch.device or str, default="cpu"
        Where the batches lie.
    callback : callable ``(n_row_steps) -> None``, optional
        Told how many steps of real rows were taken.

    Returns
    -------
    result : Result
        ``n_steps``, ``history`` and ``terms`` are those of all stages; ``diagnostics`` has
        ``best_step`` and ``best_value`` of shape (n_rows, n_stages), the step, counted from 0, and
        the objective where each row was best.

    Raises
    ------
    DivergenceError
        If a term is not finite at the start of any row of a stage.
    ValueError
        If there is no stage.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.loop import Problem
    >>> from skinvert.inversion.optimizers import SGD
    >>> from skinvert.inversion.stages import optimize_in_stages
    >>> bowl = Problem(
    ...     start=lambda row, noise: (torch.full((1, 2), float(row)),),
    ...     objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
    ...     render=lambda params: params[0])
    >>> result = optimize_in_stages(lambda stage, n: bowl, range(3), n_steps=(2, 2), batch_size=2,
    ...                             optimizer_of_stage=lambda n: SGD(0.4))
    >>> result.images[2].round(decimals=4), result.diagnostics["best_step"][2].tolist()
    (array([0.08, 0.08], dtype=float32), [1, 1])
    """
    n_rows = len(seeds)
    n_padded = -(-n_rows // batch_size) * batch_size
    padded = [int(seed) for seed in seeds]
    padded += [(padded[-1] + 1 + extra) & _MOST for extra in range(n_padded - n_rows)]
    told = None if callback is None else _for_rows(callback, n_rows, n_padded)
    results, found = [], []
    best: _Best | None = None
    for stage, length in enumerate(n_steps):
        problem = problem_of_stage(stage, length)
        if best is not None:
            problem = replace(problem, start=_handed_on(best.params))
        best = _Best(problem, n_padded)
        try:
            results.append(
                optimize(
                    replace(problem, objective=best.objective),
                    [(seed + stage * _STRIDE) & _MOST for seed in padded],
                    batch_size=batch_size,
                    n_steps=length,
                    optimizer=optimizer_of_stage(length),
                    device=device,
                    callback=told,
                )
            )
        except DivergenceError as error:
            raise _of_all_stages(
                error, n_rows, n_steps[:stage], stage == len(n_steps) - 1
            ) from None
        found.append((best.steps, best.totals))
    if best is None:
        raise ValueError("n_steps must hold the steps of at least one stage, got none.")
    return _joined(results, found, best.render(batch_size), n_rows)


def _for_rows(callback, n_rows, n_padded):
    """The callback, told of the steps of real rows alone."""
    return lambda n: callback(n * n_rows / n_padded)


def _handed_on(params):
    """A start where each row was best; the noise goes on to its first view."""
    return lambda row, noise: tuple(part[row : row + 1] for part in params)


def _joined(results, found, images, n_rows):
    """One Result of all stages, without the rows that completed the batches."""
    names = list(dict.fromkeys(name for result in results for name in result.history))
    history = {}
    for name in names:
        parts = [
            result.history.get(name, np.full(next(iter(result.history.values())).shape, np.nan))
            for result in results
        ]
        history[name] = np.concatenate(parts, axis=1)[:n_rows].astype(np.float32)
    steps, totals = (
        torch.stack(part, dim=1)[:n_rows].cpu().numpy() for part in zip(*found, strict=True)
    )
    return Result(
        images=images[:n_rows],
        status=results[-1].status[:n_rows],
        n_steps=sum(result.n_steps for result in results)[:n_rows],
        terms={name: values[:n_rows] for name, values in results[-1].terms.items()},
        history=history,
        diagnostics={
            "best_step": steps,
            "best_value": totals,
            "n_rollbacks": sum(result.diagnostics["n_rollbacks"] for result in results)[:n_rows],
        },
        n_sample_steps=sum(result.n_sample_steps for result in results),
        divergences=[found for found in results[-1].divergences if found[2] < n_rows],
    )


def _of_all_stages(error, n_rows, n_steps, stage):
    """The error as the caller counts steps and rows, with what went through the last stage."""
    result = Result(status=np.full(n_rows, "unfinished"), n_steps=np.zeros(n_rows, dtype=int))
    if stage == len(n_steps) - 1 and error.result.images is not None:
        result.images, result.status = error.result.images[:n_rows], error.result.status[:n_rows]
        result.n_steps = error.result.n_steps[:n_rows]
    rows = [row for row in error.rows if row < n_rows]
    return DivergenceError(error.step + sum(n_steps[:stage]), error.term, rows, result)

"""THE loop: optimise the parameters of many rows, in slots of one batch of fixed shape.

Another batch shape gives other bits, and a hundred steps amplify them to visible differences; at
a fixed shape a row's result depends on its own seed and its slot alone. So the shape never changes:
slots are filled first in, first out, a converged row frees its slot for the next one, and the
slots that are left over idle.

What is trained beside an image, IMAGINE's patch critic, is a parameter of its row like the image
itself: it starts with the row, moves with it and leaves with it. All that this asks of the loop is
that every parameter may have an update rule of its own.

A row whose objective is no number goes back to where it was, and on with smaller steps
(`skinvert.inversion.rollback`); given up, it keeps its slot for as long as it would have run, so
that no other row changes a bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.rollback import Block, Rollback

__all__ = ["DivergenceError", "Problem", "Result", "optimize"]


def _stay(params: Any) -> None:
    """Parameters without a range are valid wherever they are.

    Parameters
    ----------
    params : tuple of Tensor of shape (n_slots, ...)
        Left as they are.
    """


@dataclass
class Problem:
    """What is optimised; each function works on a whole batch of slots but `start`.

    Parameters
    ----------
    start : callable ``(row, noise) -> tuple of Tensor (1, ...)``
        First parameters of one row. One row at a time, for a batch would change the bits.
    objective : callable ``(params, rows, steps, noise) -> dict of str to Tensor (n_slots,)``
        Weighted terms of each slot's row; minimised is their sum. `rows` and `steps`, counted
        from 0, are LongTensors.
    render : callable ``params -> Tensor (n_slots, ...)``
        What is kept of a finished row.
    project : callable ``params -> None``, optional
        Moves parameters back into their valid range, in place, after each step.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.loop import Problem
    >>> bowl = Problem(
    ...     start=lambda row, noise: (noise.normal(2),),
    ...     objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
    ...     render=lambda params: params[0])
    >>> bowl.objective((torch.ones(3, 2),), torch.arange(3), torch.zeros(3), None)
    {'square': tensor([2., 2., 2.])}
    """

    start: Callable
    objective: Callable
    render: Callable
    project: Callable = _stay


@dataclass
class Result:
    """What became of every row.

    Attributes
    ----------
    images : ndarray of shape (n_rows, ...)
    status : ndarray of str of shape (n_rows,)
        "converged", "completed" (all steps were taken), "diverged" (given up; the image is the
        last one at which the objective was finite) or "unfinished".
    n_steps : ndarray of int of shape (n_rows,)
    terms : dict of str to ndarray of shape (n_rows,)
        Final weighted value of every term.
    history : dict of str to ndarray of shape (n_rows, n_steps)
        Weighted values per step; NaN after a row's end, and where a step was taken back.
    diagnostics : dict of str to ndarray of shape (n_rows,)
        ``n_rollbacks``, how often a row was taken back, and what else the method knows of it.
    n_sample_steps : int
        Steps times slots that were computed, padded and idle slots included.
    divergences : list of tuple (step, term, row)
        Where rows were given up.
    """

    images: np.ndarray | None = None
    status: np.ndarray | None = None
    n_steps: np.ndarray | None = None
    terms: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)
    diagnostics: dict = field(default_factory=dict)
    n_sample_steps: int = 0
    divergences: list = field(default_factory=list)


class DivergenceError(FloatingPointError):
    """A term is NaN or infinite at the start of every row.

    Attributes
    ----------
    step : int
    term : str
    rows : list of int
    result : Result
        Everything that was finished until then.
    """

    def __init__(self, step: int, term: str, rows: list[int], result: Result) -> None:
        super().__init__(
            f"term {term!r} is not finite at step {step} in rows {rows[:10]}"
            f"{'' if len(rows) <= 10 else f' and {len(rows) - 10} more'}; lower learning_rate or "
            "the term's weight, or check the classifier's outputs. Finished rows are in "
            "the attribute 'result' of this error."
        )
        self.step, self.term, self.rows, self.result = step, term, rows, result

    def __reduce__(self):
        # An exception is rebuilt from its args, which hold the message alone.
        return type(self), (self.step, self.term, self.rows, self.result), self.__dict__


def optimize(
    problem: Problem,
    seeds: Sequence[int],
    *,
    batch_size: int,
    n_steps: int,
    optimizer: Any,
    tol: float | None = None,
    patience: int = 20,
    device: str | torch.device = "cpu",
    callback: Callable[[int], object] | None = None,
) -> Result:
    """Optimise all rows and return what became of them.

    Parameters
    ----------
    problem : Problem
        What is optimised.
    seeds : sequence of int, length n_rows
        One seed a row; its noise comes from nowhere else.
    batch_size : int
        Number of slots, the fixed first dimension of every batch.
    n_steps : int
        Most steps a row may take. Zero renders the start.
    optimizer : object of `skinvert.inversion.optimizers`, or a sequence of them
        A sequence holds one for each parameter.
    tol : float or None, default=None
        A row has converged when its objective has not fallen by more than `tol` in `patience`
        steps. None takes all steps.
    patience : int, default=20
        Steps without progress after which a row has converged; counts with a `tol` alone.
    device : torch.device or str, default="cpu"
        Where the batch lies.
    callback : callable ``(n_row_steps) -> None``, optional
        Told how many row-steps were settled, those saved by convergence included.

    Returns
    -------
    result : Result

    Raises
    ------
    DivergenceError
        If a term is not finite at the start of any row: there is nothing to go back to.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.loop import Problem, optimize
    >>> from skinvert.inversion.optimizers import SGD
    >>> bowl = Problem(
    ...     start=lambda row, noise: (torch.full((1, 2), float(row)),),
    ...     objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
    ...     render=lambda params: params[0])
    >>> result = optimize(bowl, range(3), batch_size=2, n_steps=50, optimizer=SGD(0.4), tol=1e-9)
    >>> result.images.round(4).tolist(), result.status.tolist()
    ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], ['converged', 'converged', 'converged'])
    """
    slots = _Slots(problem, seeds, batch_size, optimizer, device)
    record = _Record(len(seeds), n_steps)
    while slots.active.any():
        if n_steps == 0:
            finished = slots.active.copy()
            record.keep(finished, slots, problem, "completed")
        else:
            values = slots.step(problem)
            record.note(values, slots)
            stalled = slots.stalled(values, tol, patience)
            finished = slots.active & (stalled | (slots.steps >= n_steps) | slots.all_given_up())
            record.result.n_sample_steps += batch_size
            if callback is not None:
                callback(int(slots.active.sum()))
            if finished.any():
                given_up = slots.rollback.given_up | ~record.worked[slots.rows]
                record.keep(finished & given_up, slots, problem, "diverged")
                record.keep(finished & ~stalled & ~given_up, slots, problem, "completed")
                record.keep(finished & stalled & ~given_up, slots, problem, "converged")
                if callback is not None:
                    callback(int((n_steps - slots.steps[finished]).sum()))
        for slot in np.flatnonzero(finished):
            slots.admit(slot, problem)
    record.refuse_if_nothing_worked()
    return record.result


class _Slots:
    """The batch: parameters, optimiser state and noise of the rows at work."""

    def __init__(self, problem, seeds, batch_size, optimizer, device):
        self.seeds, self.n_waiting_from, self.device = seeds, 0, device
        self.active = np.zeros(batch_size, dtype=bool)
        self.rows = np.zeros(batch_size, dtype=np.int64)
        self.steps = np.zeros(batch_size, dtype=np.int64)
        self.best = np.full(batch_size, np.inf)
        self.n_stalled = np.zeros(batch_size, dtype=int)
        self.noise = RowNoise([0] * batch_size, device)
        self.params = self.buffers = self.state = None
        self.rollback = Rollback(batch_size)
        self.optimizer = optimizer
        for slot in range(batch_size):
            self.admit(slot, problem)

    def admit(self, slot, problem):
        """Give the slot to the next waiting row; without one it idles where it is."""
        row = self.n_waiting_from
        self.active[slot] = row < len(self.seeds)
        if not self.active[slot]:
            return
        self.n_waiting_from += 1
        self.noise.restart(slot, self.seeds[row])
        first = problem.start(row, self.noise.slot(slot))
        if self.params is None:
            self._allocate(first)
        with torch.no_grad():
            for parameter, value in zip(self.params, first, strict=True):
                parameter[slot] = value[0]
            for buffer in (buffer for buffers in self.buffers for buffer in buffers):
                buffer[slot] = 0
        self.rollback.admit(slot, self.state)
        self.rows[slot], self.steps[slot] = row, 0
        self.best[slot], self.n_stalled[slot] = np.inf, 0

    def _allocate(self, first):
        # Idle slots hold the first row's start: valid numbers that nobody reads.
        n_slots = len(self.active)
        values = [
            value.detach().to(self.device).expand(n_slots, *value.shape[1:]) for value in first
        ]
        each = isinstance(self.optimizer, (list, tuple))
        self.rules = self.optimizer if each else [self.optimizer] * len(values)
        self.distinct = {id(rule): rule for rule in self.rules}
        counts = [rule.n_buffers for rule in self.rules]
        remembered = [
            torch.zeros_like(value)
            for value, n_buffers in zip(values, counts, strict=True)
            for _ in range(n_buffers)
        ]
        # All that moves with a row: parameters, and what their rules remember.
        self.state = Block([*values, *remembered])
        parts = iter(self.state.parts)
        self.params = tuple(part.requires_grad_() for part in islice(parts, len(values)))
        self.buffers = [list(islice(parts, n_buffers)) for n_buffers in counts]

    def all_given_up(self):
        """Whether no slot is worth another step."""
        return bool(self.rollback.given_up[self.active].all())

    def step(self, problem):
        """One step of all slots; returns the terms as they were before it."""
        rows = torch.from_numpy(self.rows).to(self.device)
        steps = torch.tensor(self.steps, device=self.device)
        values = problem.objective(self.params, rows, steps, self.noise)
        total = sum(values.values())
        # Summed, never averaged: a row's gradient must not know how many neighbours it has.
        gradients = torch.autograd.grad(total.sum(), self.params, allow_unused=True)
        self.steps += 1
        updates = steps + 1
        with torch.no_grad():
            self.rollback.remember(self.state, total)
            factors = {key: rule.factors(updates) for key, rule in self.distinct.items()}
            for parameter, gradient, buffers, rule in zip(
                self.params, gradients, self.buffers, self.rules, strict=True
            ):
                if gradient is not None:
                    rule.update(parameter, gradient, buffers, factors[id(rule)], self.noise)
            problem.project(self.params)
            self.rollback.correct(self.state, len(self.params))
        return {name: value.detach().cpu().numpy() for name, value in values.items()}

    def stalled(self, values, tol, patience):
        """Which slots have not improved by more than `tol` in the last `patience` steps."""
        if tol is None:
            return np.zeros(len(self.active), dtype=bool)
        total = sum(value.astype(np.float64) for value in values.values())
        improved = total < self.best - tol
        self.best = np.where(improved, total, self.best)
        self.n_stalled = np.where(improved, 0, self.n_stalled + 1)
        return self.n_stalled >= patience


class _Record:
    """Collects what finished rows leave behind."""

    def __init__(self, n_rows, n_steps):
        self.n_rows, self.max_steps = n_rows, n_steps
        self.worked, self.complaints = np.zeros(n_rows, dtype=bool), {}
        self.result = Result(
            status=np.full(n_rows, "unfinished"),
            n_steps=np.zeros(n_rows, dtype=int),
            diagnostics={"n_rollbacks": np.zeros(n_rows, dtype=int)},
        )

    def note(self, values, slots):
        """Write down the terms of the step that was just taken."""
        for name in values:
            if name not in self.result.history:
                shape = (self.n_rows, self.max_steps)
                self.result.history[name] = np.full(shape, np.nan, dtype=np.float32)
                self.result.terms[name] = np.full(self.n_rows, np.nan, dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(sum(values.values()))
        noted = slots.active & finite & ~slots.rollback.given_up
        rows, steps = slots.rows[noted], slots.steps[noted]
        for name, value in values.items():
            self.result.history[name][rows, steps - 1] = value[noted]
            self.result.terms[name][rows] = value[noted]
        self.worked[rows] = True
        for slot in np.flatnonzero(slots.active & ~finite):
            # The first complaint names the term; later ones are its consequence.
            row, step = int(slots.rows[slot]), int(slots.steps[slot])
            bad = [name for name, value in values.items() if not np.isfinite(value[slot])]
            self.complaints.setdefault(row, (step, bad[0] if bad else "total", row))

    def keep(self, finished, slots, problem, status):
        """Render and store the rows of finished slots."""
        if not finished.any():
            return
        with torch.no_grad():
            images = problem.render(slots.params).detach().cpu().numpy()
        if self.result.images is None:
            self.result.images = np.zeros((self.n_rows, *images.shape[1:]), dtype=np.float32)
        rows = slots.rows[finished]
        self.result.images[rows] = images[finished]
        self.result.status[rows] = status
        self.result.n_steps[rows] = slots.steps[finished]
        self.result.diagnostics["n_rollbacks"][rows] = slots.rollback.counts[finished]
        if status == "diverged":
            unknown = "gradient"  # every value was finite where the row was
            self.result.divergences += [
                self.complaints.get(row, (int(step), unknown, row))
                for row, step in zip(rows.tolist(), slots.steps[finished], strict=True)
            ]

    def refuse_if_nothing_worked(self):
        """No row ever had an objective: that is no matter of a row."""
        if not self.result.divergences or self.worked.any():
            return
        step, term, _ = self.result.divergences[0]
        rows = sorted(row for _, _, row in self.result.divergences)
        self.result.status[:] = "unfinished"
        raise DivergenceError(step, term, rows, self.result)

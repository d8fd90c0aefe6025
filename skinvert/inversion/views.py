"""Which random views a run sees when, from what a user says of it."""

from collections.abc import Sequence
from typing import Any

from skinvert.inversion.transforms import robust_stages

__all__ = ["as_stages", "stages_of_run"]


def as_stages(transforms: str | Sequence[Any] | None) -> list[Any]:
    """Lists of transforms, one for each part of a run.

    Parameters
    ----------
    transforms : "robust", sequence of transforms, sequence of such sequences, or None

    Returns
    -------
    stages : list of sequences of transforms
        At least one, which may be empty.

    Examples
    --------
    >>> from skinvert.inversion.transforms import RandomHorizontalFlip
    >>> from skinvert.inversion.views import as_stages
    >>> as_stages(None), len(as_stages("robust")), len(as_stages([RandomHorizontalFlip()]))
    ([[]], 2, 1)
    """
    if isinstance(transforms, str):
        return robust_stages()
    listed = list(transforms or ())
    is_staged = bool(listed) and all(isinstance(part, (list, tuple)) for part in listed)
    return listed if is_staged else [listed]


def stages_of_run(stages: list[Any], n_steps: Sequence[int], run: int) -> list[Any]:
    """The part of the transforms that one of several runs sees.

    Parameters
    ----------
    stages : list of sequences of transforms
        They divide the steps of a single run. Of several runs each sees its own, or all the one.
    n_steps : sequence of int
        Of each run.
    run : int

    Returns
    -------
    stages : list of sequences of transforms

    Raises
    ------
    ValueError
        If there are several lists, and another number of them than of runs.

    Examples
    --------
    >>> from skinvert.inversion.views import stages_of_run
    >>> stages_of_run([["first"], ["second"]], (100, 50), 1)
    [['second']]
    """
    n_runs = len(n_steps)
    if n_runs == 1 or len(stages) == 1:
        return stages
    if len(stages) != n_runs:
        raise ValueError(
            f"transforms has {len(stages)} stages and n_steps={n_steps!r} has {n_runs}; "
            "give one list of transforms for all, or one for each stage."
        )
    return stages[run : run + 1]

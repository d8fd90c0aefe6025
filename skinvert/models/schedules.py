"""Schedules of a decoder's training, as data: those of ReGene's appendix, and a sharper one.

Section numbers are those of ReGene, Neurocomputing 471, 2022.
"""

from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "PAPER_SCHEDULES",
    "Phase",
    "SHARP_SCHEDULE",
    "default_schedule",
    "resolve_schedule",
    "scaled",
]

_ROWS_SHOWN = 80_000  # to a decoder, over all epochs


@dataclass(frozen=True)
class Phase:
    """Some epochs of a decoder's training, under weights and a learning rate of their own.

    Parameters
    ----------
    n_epochs : int
        Passes over the data.
    mae, ssim, perceptual : float, default=1.0
        Factors of λ1, λ2 and λ3.
    learning_rate : float, default=1e-3
        Of Adam.
    decay : bool, default=False
        Whether the learning rate falls to zero over the phase, along a cosine.

    Examples
    --------
    >>> from skinvert.models.schedules import Phase
    >>> Phase(200, perceptual=0.0).learning_rate
    0.001
    """

    n_epochs: int
    mae: float = 1.0
    ssim: float = 1.0
    perceptual: float = 1.0
    learning_rate: float = 1e-3
    decay: bool = False


PAPER_SCHEDULES = {
    "mnist": (
        Phase(200, perceptual=0.0),
        Phase(100, ssim=0.0, perceptual=0.0, learning_rate=1e-4),
    ),
    "cifar10": (
        Phase(100),
        Phase(100, ssim=0.0),
        Phase(100, ssim=0.0, perceptual=0.0, learning_rate=1e-4),
    ),
    "celeba": (
        Phase(300, learning_rate=5e-4),
        Phase(300, ssim=0.0, learning_rate=5e-4),
        Phase(100, ssim=0.0, perceptual=0.0, learning_rate=5e-4),
    ),
}
"""Sections A.1.1 to A.1.4; Fashion-MNIST is trained as MNIST."""

SHARP_SCHEDULE = (
    Phase(70, perceptual=0.0, learning_rate=2e-3),
    Phase(30, ssim=0.0, perceptual=0.0, learning_rate=1e-3, decay=True),
)
"""Structure first, then pixels, as in the paper, with larger steps that end small."""


def default_schedule(loss, n_channels):
    """The schedule of a loss: the paper's for grey or coloured images, or that of "sharp".

    Parameters
    ----------
    loss : {"paper", "sharp"}
    n_channels : int

    Returns
    -------
    schedule : tuple of Phase

    Examples
    --------
    >>> from skinvert.models.schedules import default_schedule
    >>> len(default_schedule("paper", 1)), len(default_schedule("paper", 3))
    (2, 3)
    """
    if loss == "sharp":
        return SHARP_SCHEDULE
    return PAPER_SCHEDULES["mnist" if n_channels == 1 else "cifar10"]


def resolve_schedule(schedule, n_epochs, loss, n_channels, n_rows):
    """The schedule that a decoder is trained by.

    Parameters
    ----------
    schedule : "auto" or sequence of Phase
        "auto" is `default_schedule`.
    n_epochs : int or "auto"
        What the schedule is stretched to. "auto" leaves a schedule of the user's as it is, and
        otherwise shows the decoder some 80,000 rows, in 10 to 100 epochs.
    loss : {"paper", "sharp"}
    n_channels, n_rows : int

    Returns
    -------
    schedule : tuple of Phase

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> from skinvert.models.schedules import Phase, resolve_schedule
    >>> resolve_schedule([Phase(7)], "auto", "sharp", 1, 1000)[0].n_epochs
    7
    """
    if isinstance(schedule, str):
        schedule = default_schedule(loss, n_channels)
    else:
        schedule = tuple(schedule)
        if not schedule or not all(isinstance(phase, Phase) for phase in schedule):
            raise ValueError(f"schedule must be 'auto' or a list of Phase, got {schedule!r}.")
        if n_epochs == "auto":
            return schedule
    if n_epochs == "auto":
        n_epochs = int(np.clip(_ROWS_SHOWN // n_rows, 10, 100))
    return scaled(schedule, n_epochs)


def scaled(schedule, n_epochs):
    """A schedule with its phases stretched or shrunk to so many epochs in all.

    Parameters
    ----------
    schedule : sequence of Phase
    n_epochs : int

    Returns
    -------
    schedule : tuple of Phase
        Phases that shrink to nothing are left out.

    Examples
    --------
    >>> from skinvert.models.schedules import PAPER_SCHEDULES, scaled
    >>> [phase.n_epochs for phase in scaled(PAPER_SCHEDULES["mnist"], 30)]
    [20, 10]
    """
    ends = np.cumsum([phase.n_epochs for phase in schedule])
    ends = np.round(ends * n_epochs / ends[-1]).astype(int)
    lengths = np.diff(ends, prepend=0)
    return tuple(
        replace(phase, n_epochs=int(length))
        for phase, length in zip(schedule, lengths, strict=True)
        if length
    )

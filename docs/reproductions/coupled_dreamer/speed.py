"""Ten targets in one ``generate`` against ten runs, and one step against bare torch.

``python docs/reproductions/coupled_dreamer/speed.py [--quick]``; on a quiet machine.
"""

import statistics
import time

import numpy as np
import torch
from _common import VARIANTS, Lab, arguments, write

from skinvert import Target
from skinvert.coupled import CoupledDreamer
from skinvert.inversion.randomness import RowNoise


def main():
    flags = arguments(__doc__, data=False)
    flags.data = "mnist"
    n_steps, n_rounds = (3, 1) if flags.quick else (50, 5)
    lab = Lab(flags, 0)
    rows = []
    for variant in VARIANTS:
        dreamer = lab.fit(CoupledDreamer(generator=variant)).set_params(n_steps=n_steps)
        together, alone = [], []
        for _ in range(n_rounds):  # in turns, so that a busy minute meets both
            together.append(seconds(generate_all, dreamer.set_params(batch_size=10)))
            alone.append(seconds(generate_each, dreamer.set_params(batch_size=1)))
        dreamer.set_params(batch_size=10)
        step, bare = step_against_bare(dreamer, n_steps, n_rounds)
        rows.append(
            [
                variant,
                f"{statistics.median(together) / statistics.median(alone):.2f}",
                f"{1000 * statistics.median(together) / (10 * n_steps):.2f}",
                f"{step / bare:.2f}",
            ]
        )
    write(
        "speed",
        "Ten targets at once, and one step",
        ["variant", "10 together ÷ 10 alone", "ms a step and image", "step ÷ bare"],
        rows,
        flags,
        [
            f"Medians of {n_rounds} rounds of {n_steps} steps at 28 × 28. Bare is forward and "
            "backward of generator and classifier on the same batch, without views, noise, "
            "optimiser or records; the step has all of them but views."
        ],
    )


def step_against_bare(dreamer, n_steps, n_rounds):
    """Seconds of a step of ``generate``, and of bare torch."""
    dreamer.set_params(transforms=None, n_snapshots=1)
    free, _ = dreamer._free(n_steps)
    loss = dreamer._bind(Target.of_columns(range(10)), n_steps)
    noise = RowNoise(range(10))
    params = [value.requires_grad_() for value in free.start(noise)]
    one_hot = torch.eye(10)

    def bare():
        for _ in range(n_steps):
            images = free.undisturbed(params)
            value = -(loss.classifier(images) * one_hot).sum()
            torch.autograd.grad(value, params, allow_unused=True)

    ours, theirs = [], []
    for _ in range(n_rounds):
        theirs.append(seconds(bare))
        ours.append(seconds(generate_all, dreamer))
    return statistics.median(ours), statistics.median(theirs)


def generate_all(dreamer):
    dreamer.generate(np.arange(10))


def generate_each(dreamer):
    for label in range(10):
        dreamer.generate([label])


def seconds(call, *arguments):
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

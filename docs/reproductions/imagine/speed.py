"""A step of either stage against a bare forward pass and input gradient of the frozen network.

``python docs/reproductions/imagine/speed.py [--quick] [--batch N]``, on EfficientNet-Lite0 at 224
pixels, with the largest memory that the process held.
"""

import resource

import numpy as np
import torch
from _common import PHOTOGRAPHS, Stopwatch, arguments, photographs, summary, synthesizer, write


def bare_seconds(classifier, images, n_steps):
    """Seconds of so many forward passes and input gradients, the network's norms folded."""
    with Stopwatch() as watch:
        for _ in range(n_steps):
            variable = images.clone().requires_grad_()
            torch.autograd.grad(classifier(variable).logsumexp(1).sum(), variable)
    return watch.cpu / n_steps


def stage_seconds(made, X, n_steps):
    """Seconds of a step, the first stage's or the second's."""
    made.set_params(n_steps=(0, 0))
    with Stopwatch() as nothing:
        made.vary(X)
    made.set_params(n_steps=n_steps)
    with Stopwatch() as watch:
        made.vary(X)
    return (watch.cpu - nothing.cpu) / sum(n_steps)


def main():
    flags = arguments(__doc__, batch={"type": int, "default": 8})
    n_steps, n_repeats = (10, 2) if flags.quick else (40, 5)
    names = [name for group in PHOTOGRAPHS.values() for name in group][: flags.batch]
    X = photographs(names)
    made = synthesizer(X, batch_size=len(X), parameterization="pixels", learning_rate=0.2)
    images = torch.from_numpy(X)
    bare_seconds(made.classifier_, images, 2)
    ratios = {"first stage": [], "with the critic": []}
    for _ in range(n_repeats):
        bare = bare_seconds(made.classifier_, images, n_steps)
        for stage, steps in zip(ratios, ((n_steps, 0), (0, n_steps)), strict=True):
            ratios[stage].append(stage_seconds(made, X, steps) / bare)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    write(
        flags,
        "speed",
        "A step against a bare forward pass and input gradient, EfficientNet-Lite0 at 224 pixels",
        ["stage", "batch", "ratio of processor seconds, run by run"],
        [[stage, len(X), summary(values, 2)] for stage, values in ratios.items()],
        notes=[
            f"Largest memory of the process: {memory:.2f} GiB.",
            f"The critic learns at every {made.critic_interval}th step, in windows of "
            f"{np.minimum(made.critic_window, X.shape[-1])} pixels.",
        ],
    )


if __name__ == "__main__":
    main()

"""skinvert, by the settings that the tables of input optimisation froze."""

import sys
from pathlib import Path

import numpy as np
from _rig import Rig

BENCHMARKS = Path(__file__).parents[1]
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "input_optimization")]


def on_mnist(rig):
    """Generator and training images: draws as it stands, or the paper's objective."""
    from quality import PAPER, zeros_and_noise

    X, y = (np.load(rig.request[name]) for name in ("X", "y"))
    if rig.options["method"] == "drawn":
        return {}, X, y
    starts = zeros_and_noise(len(rig.labels), rig.seed)
    return PAPER | {"init": starts, "n_steps": rig.n_passes or PAPER["n_steps"]}, X, y


def on_photographs(rig):
    from _imagenet import INPUT_OPTIMIZATION, photographs

    X = photographs()
    n_steps = rig.n_passes or INPUT_OPTIMIZATION["n_steps"]
    settings = INPUT_OPTIMIZATION | {"normalize": None, "n_steps": n_steps}
    return settings, X, np.zeros(len(X), dtype=int)


def generate(rig, settings, X, y):
    generator = InputOptimizationGenerator(
        rig.classifier,
        batch_size=rig.options["batch"],
        random_state=rig.seed,
        device="cpu",
        **settings,
    ).fit(X, y)
    return generator.generate(rig.labels).reshape(-1, *rig.shape)


if __name__ == "__main__":
    rig = Rig()
    from skinvert import InputOptimizationGenerator

    settings, X, y = on_photographs(rig) if rig.is_lite0 else on_mnist(rig)
    rig.run(lambda: generate(rig, settings, X, y))

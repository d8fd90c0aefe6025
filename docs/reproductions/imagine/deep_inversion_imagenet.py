"""DeepInversion of EfficientNet-Lite0 at 224 pixels, verified by Lite1, which never takes part.

``python docs/reproductions/imagine/deep_inversion_imagenet.py [--rival PYTHON]``: every tenth class
with settings that were chosen on classes that end in 5. ``--tune`` takes twelve of those,
``--quick`` two of them for a few steps; neither writes results. The packages that it needs, and
PYTHON, are told of in ``docs/benchmarks/_imagenet.py``; scikit-image besides.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _report import Stopwatch, summary, write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from _imagenet import (
    COVERED,
    INPUT_OPTIMIZATION,
    NORMALIZE,
    SIDE,
    Verifier,
    pretrained,
    rival,
    save_grid,
)
from _natural import (
    distance_of_halves,
    histogram_distance,
    spectrum_slope,
    statistics_distance,
)

from skinvert import DeepInversion, InputOptimizationGenerator
from skinvert.datasets import load_reference_images
from skinvert.inversion.objectives import CrossEntropy, Logit
from skinvert.inversion.parameterizations import Fourier

RESULTS = Path(__file__).parent / "results"
TUNE = (575, 675, 705, 875, 605, 615, 25, 225, 425, 625, 825, 985)

COMMON = {"image_shape": (3, SIDE, SIDE), "normalize": NORMALIZE, "clip": (0.0, 1.0)}
SETTINGS = COMMON | {
    "objective": Logit(0.75) + CrossEntropy(0.25),
    "statistics_weight": 0.5,
    "parameterization": Fourier(decay_power=1.2),
    "transforms": COVERED,
    "n_steps": 200,  # forward-backward passes an image
    "learning_rate": 0.15,
}


def figures(images, classes, verifier, pictures):
    """What the table says of one run."""
    ranks, log_probability = verifier(images, classes)
    return {
        "top-1": np.mean(ranks == 0),
        "top-5": np.mean(ranks < 5),
        "probability": np.exp(log_probability).mean(),
        "log-probability": log_probability.mean(),
    } | nature(images, verifier, pictures)


def nature(images, verifier, pictures):
    return {
        "statistics": statistics_distance(verifier.net, verifier.enlarged(images).numpy()).mean(),
        "colours": histogram_distance(images, pictures),
        "slope": spectrum_slope(images),
    }


def made(generator, classes):
    """Images and the seconds that they took."""
    with Stopwatch() as watch:
        images = generator.generate(classes)
    return images, watch.wall


def generators(seed, pictures):
    """Ours, and what it is compared with; the objective of the latter has no density, so that the
    labels of the pictures are of no account."""
    yield "DeepInversion", DeepInversion(pretrained(0), random_state=seed, **SETTINGS).fit()
    settings = INPUT_OPTIMIZATION | {"n_steps": SETTINGS["n_steps"]}
    generator = InputOptimizationGenerator(pretrained(0), random_state=seed, **settings)
    yield "InputOptimizationGenerator", generator.fit(pictures[:2], np.zeros(2, dtype=int))


def main(flags):
    pictures = load_reference_images(size=(224, 224)).images
    classes = TUNE[:2] if flags.quick else TUNE if flags.tune else tuple(range(0, 1000, 10))
    is_full = not (flags.quick or flags.tune)
    if flags.quick:
        SETTINGS["n_steps"] = 3
    verifier, found = Verifier(), {}
    for seed in range(flags.seeds if is_full else 1):
        for name, generator in generators(seed, pictures):
            images, seconds = made(generator, classes)
            told = figures(images, classes, verifier, pictures) | {"s": seconds / len(classes)}
            found.setdefault(name, []).append(told)
            print(seed, name, told, flush=True)
            if seed == 0 and name == "DeepInversion":
                path = RESULTS / "deep_inversion_imagenet.jpg" if is_full else Path(flags.picture)
                save_grid(images[:36], path, n_columns=min(6, len(classes)), side=160)
    for method in ("maximize", "maco") if flags.rival else ():
        images, seconds = rival(flags.rival, method, SETTINGS["n_steps"], classes)
        told = figures(images, classes, verifier, pictures) | {"s": seconds / len(classes)}
        found[f"dreamlens {method}"] = [told]
        print(method, told, flush=True)
    floor = nature(pictures, verifier, pictures) | {"colours": distance_of_halves(pictures)}
    table(found, floor, is_full, flags.seeds)


def figure(values):
    return summary(values, 2) if len(values) > 1 else f"{values[0]:.2f}"


def table(found, floor, is_full, n_seeds):
    names = list(next(iter(found.values()))[0])
    rows = [
        [label, *[figure([told[name] for told in runs]) for name in names]]
        for label, runs in found.items()
    ]
    rows.append(
        ["photographs", *[figure([floor[name]]) if name in floor else "" for name in names]]
    )
    if not is_full:
        for row in rows:
            print(*row)
        return
    write(
        RESULTS,
        "deep_inversion_imagenet",
        "EfficientNet-Lite0 inverted at 224 pixels, verified by Lite1",
        ["generator", *names],
        rows,
        notes=[
            f"100 classes, {SETTINGS['n_steps']} forward-backward passes an image; "
            f"Seeds: {n_seeds}; rivals ran once.",
            "statistics: eq. 3's distance of each image under the verifier, in standard units; "
            "colours: share of values in other bins than those of the photographs, which between "
            "halves of these is that of their row; slope: of the power spectrum; s: seconds an "
            "image.",
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", help="interpreter of an environment with dreamlens")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="twelve of the classes 5, 15, 25, …")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--picture", default="deep_inversion.jpg", help="where --tune draws")
    main(parser.parse_args())

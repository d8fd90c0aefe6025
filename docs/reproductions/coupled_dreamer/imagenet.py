"""EfficientNet-Lite0 inverted at 224 pixels by both variants, verified by Lite1.

``python docs/reproductions/coupled_dreamer/imagenet.py [--tune] [--quick] [--rival PYTHON]``: 20
classes, 0, 50, 100 …; ``--tune`` takes eight that end in 5. The decoder is trained on crops of
photographs at 64 pixels, and its images are enlarged. Beside both stand the paper's plain settings,
InputOptimizationGenerator's best and, where PYTHON has it, dreamlens; the packages that the script
needs, and PYTHON, are told of in ``docs/benchmarks/_imagenet.py``. ``--only robust`` makes no more
than the first two.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from _common import PAPER, RESULTS, Stopwatch, write
from PIL import Image
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from _imagenet import (
    COVERED,
    INPUT_OPTIMIZATION,
    NORMALIZE,
    Verifier,
    pretrained,
    rival,
    save_grid,
)

from skinvert import CoupledDreamer, InputOptimizationGenerator
from skinvert.models.autoencoder import train_autoencoder

SMALL, N_LATENTS = 64, 400  # pixels and latents of the decoder
PAPER_WIDTH, PAPER_EVERY = 64, 4  # an eighth of the paper's, every fourth class: for their time
TUNE = (105, 305, 555, 755, 905, 5, 255, 405)
ROBUST = {
    "untrained": {
        "generator": "untrained",
        "transforms": COVERED,
        "n_steps": 500,
        "learning_rate": 0.005,
        "noise_scale": 0.1,
        "width": 24,
        "batch_size": 4,
    },
    "pretrained": {"transforms": COVERED, "n_steps": 400},
}


def cases(flags):
    """Name, settings and every how-manieth class of each row."""
    for variant, settings in ROBUST.items():
        yield f"{variant}, robust views", settings, 1
    if flags.only is None:
        for variant, settings in PAPER.items():
            yield f"{variant}, as in the paper", settings | {"width": PAPER_WIDTH}, PAPER_EVERY


def main(flags):
    classes = TUNE if flags.tune or flags.quick else tuple(range(0, 1000, 50))
    classes = classes[:2] if flags.quick else classes
    X = photographs(2 if flags.quick else 50)
    verifier, rows, decoder = Verifier(), [], decoder_of_photographs(flags)
    for name, settings, every in cases(flags):
        if settings.get("generator") != "untrained":
            settings = settings | {"generator": decoder}
        quick = {"n_steps": 2} if flags.quick else {}
        common = {"normalize": NORMALIZE, "random_state": 0}
        dreamer = CoupledDreamer(pretrained(0), **common | settings | quick)
        dreamer.fit(X, np.zeros(len(X), dtype=int))
        add_row(name, dreamer, settings["n_steps"], classes[::every], verifier, rows, flags)
    if flags.only is None:
        settings = INPUT_OPTIMIZATION | ({"n_steps": 2} if flags.quick else {})
        other = InputOptimizationGenerator(pretrained(0), random_state=0, **settings)
        other.fit(X, np.zeros(len(X), dtype=int))
        add_row("input optimisation", other, settings["n_steps"], classes, verifier, rows, flags)
    if flags.rival:
        n_passes = INPUT_OPTIMIZATION["n_steps"]
        images, seconds = rival(flags.rival, "maximize", n_passes, classes)
        rows.append(line("dreamlens maximize", n_passes, images, classes, verifier, seconds))
    write(
        "imagenet",
        "EfficientNet-Lite0 at 224 pixels, verified by Lite1",
        ["generator", "classes", "passes", "top-1", "top-5", "mean probability", "s an image"],
        rows,
        flags,
        [
            f"One seed; the paper's untrained generator at width {PAPER_WIDTH}, ours at 24; the "
            f"decoder learned from crops of two photographs, at {SMALL} pixels. Settings were "
            "chosen on classes that end in 5."
        ],
    )


def add_row(name, generator, n_passes, classes, verifier, rows, flags):
    with Stopwatch() as watch:
        images = generator.generate(classes).clip(0, 1)
    rows.append(line(name, n_passes, images, classes, verifier, watch.wall))
    if not (flags.tune or flags.quick):
        save_grid(images, RESULTS / f"imagenet_{name.replace(',', '').replace(' ', '_')}.jpg", 5)


def line(name, n_passes, images, classes, verifier, seconds):
    ranks, log_probability = verifier(images, classes)
    print(name, ranks.tolist(), flush=True)
    shares = np.mean(ranks == 0), np.mean(ranks < 5), np.exp(log_probability).mean()
    told = (f"{share:.2f}" for share in shares)
    return [name, len(classes), n_passes, *told, f"{seconds / len(classes):.1f}"]


def decoder_of_photographs(flags):
    """A decoder to 224 pixels and its latents, as a fitted estimator would hold them."""
    crops = photographs(20 if flags.quick else 1000, SMALL)
    decoder, codes, loss = train_autoencoder(
        crops.reshape(len(crops), -1),
        (3, SMALL, SMALL),
        n_latents=N_LATENTS,
        width=PAPER_WIDTH,
        n_epochs=1 if flags.quick else 20,
    )
    print(f"autoencoder: {loss[-1]:.3f}", flush=True)
    enlarged = torch.nn.Sequential(decoder, torch.nn.Upsample(size=224, mode="bilinear"))
    return SimpleNamespace(decoder_=enlarged, latents_=codes.numpy())


def photographs(n, side=224):
    """Random crops of scikit-learn's two photographs, (n, 3, side, side) in [0, 1]."""
    rng, crops = np.random.default_rng(0), []
    pictures = [Image.fromarray(image) for image in load_sample_images().images]
    for k in range(n):
        picture = pictures[k % 2]
        size = int(rng.integers(120, min(picture.size)))
        left, top = (int(rng.integers(0, length - size + 1)) for length in picture.size)
        crop = picture.crop((left, top, left + size, top + size)).resize((side, side))
        crops.append(np.asarray(crop)[:, :: rng.choice([-1, 1])])
    return (np.moveaxis(np.stack(crops), -1, 1) / 255).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["robust"])
    parser.add_argument("--rival", help="interpreter of an environment with dreamlens")
    main(parser.parse_args())

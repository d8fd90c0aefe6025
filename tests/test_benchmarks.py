"""The benchmarks' entry point: it names every table of the docs, and sees what moved."""

import importlib
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def entry():
    if not (DOCS / "benchmarks").is_dir():
        pytest.skip("the docs are not beside the tests")
    sys.path.insert(0, str(DOCS / "benchmarks"))
    try:
        yield importlib.import_module("run")
    finally:
        sys.path.pop(0)


def test_every_table_in_the_docs_has_its_benchmark(entry):
    named = [result for benchmark in entry.BENCHMARKS for result in benchmark.results]
    kept = [
        str(path.relative_to(DOCS).with_suffix(""))
        for path in DOCS.glob("*/*/results/*.json")
        if "_build" not in path.parts
    ]
    assert sorted(set(kept) - set(named)) == []
    assert len(named) == len(set(named))


def test_names_are_unique_and_scripts_exist(entry):
    names = [benchmark.name for benchmark in entry.BENCHMARKS]
    assert len(names) == len(set(names))
    missing = [b.script for b in entry.BENCHMARKS if not (DOCS / b.script).is_file()]
    assert missing == []


@pytest.mark.parametrize(
    ("cell", "figures"),
    [("0.95 (0.94 to 0.96)", [0.95, 0.94, 0.96]), ("1,600", [1600]), ("9e-06", [9e-6]), ("-", [])],
)
def test_figures_of_a_cell(entry, cell, figures):
    assert entry.numbers(cell) == figures


def test_changes_are_seen_within_the_tolerance_and_beyond(entry):
    before = {"header": ["", "judge", "s"], "rows": [["a", "0.90", 10], ["b", "0.5", 1]]}
    now = {"header": ["", "judge", "s"], "rows": [["a", "0.92", 12], ["c", "0.5", 1]]}
    assert entry.changes(before, before) == []
    moved = [(row, column) for row, column, _, _ in entry.changes(before, now)]
    assert moved == [("a", "s"), ("c", "judge"), ("c", "s"), ("b", "")]


def test_rows_that_share_a_first_cell_are_told_apart(entry):
    header = ["data", "method", "judge"]
    before = {"header": header, "rows": [["mnist", "a", "0.9"], ["mnist", "b", "0.5"]]}
    now = {"header": header, "rows": [["mnist", "b", "0.7"], ["mnist", "a", "0.9"]]}
    assert entry.changes(before, before) == []
    assert entry.changes(before, now) == [("mnist, b", "judge", "0.5", "0.7")]

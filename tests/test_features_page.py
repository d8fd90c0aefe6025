"""The table of features: the page says what the evidence says, and the evidence holds."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "docs" / "benchmarks"
pytestmark = pytest.mark.skipif(
    not BENCHMARKS.is_dir(), reason="docs/ is no part of an installed package"
)


@pytest.fixture(scope="module")
def features():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("features")
    finally:
        sys.path.pop(0)


def test_every_cell_of_the_page_has_its_evidence(features):
    page = features.page_table(features.PAGE.read_text())
    evidence = {
        feature: {name: cells.get(name, ("no",))[0] for name in features.DISTRIBUTIONS}
        for feature, (_, cells) in features.CELLS.items()
    }
    assert page == evidence


def test_what_is_partly_there_is_explained(features):
    rows = features.PAGE.read_text().splitlines()
    assert [row for row in rows if row.strip() == "- partly"] == []


def test_a_search_finds_what_is_there_and_nothing_else(features):
    assert features.found("skinvert", r"def audit\(")
    assert features.found("skinvert", r"def no_such_function\(") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("skinvert", "skinvert"),
        ("scikit-learn", "sklearn"),
        ("skorch", "skorch"),
        ("imbalanced-learn", "imblearn"),
        ("Captum", "captum"),
        ("dreamlens", "dreamlens"),
        ("ART", "art"),
    ],
)
def test_the_evidence_holds(features, library, package):
    pytest.importorskip(package, reason=f"{library} is not installed here")
    command = [sys.executable, features.__file__, "--library", library]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(features.CELLS)} cells" in said.stdout

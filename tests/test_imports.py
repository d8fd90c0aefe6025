"""The house of three floors: imports run downwards only, never up and never in a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import skinvert

ROOT = Path(skinvert.__file__).parent
GROUND, MIDDLE, TOP = 0, 1, 2
GROUND_NAMES = {"layout", "shards", "inversion", "models", "flows"}
MIDDLE_NAMES = {"base", "delegation", "metrics", "run"}
BESIDE_NAMES = {"datasets", "display", "images", "persistence"}


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(name):
    """Modules of skinvert that a module imports, wherever in it the import stands."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parents, *filter(None, [origin])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                found.add(inner if inner in FILES else origin)
    return {module for module in found if module in FILES and module != name}


def first_name(module):
    return module.split(".")[1] if "." in module else ""


def floor(module):
    name = first_name(module)
    if name in GROUND_NAMES:
        return GROUND
    return MIDDLE if name in MIDDLE_NAMES else TOP


@pytest.mark.parametrize("module", FILES)
def test_imports_run_downwards(module):
    upwards = {other for other in imports_of(module) if floor(other) > floor(module)}
    if floor(module) == MIDDLE:
        # What stands beside the house may be looked at from the middle floor, not from the ground.
        upwards = {other for other in upwards if first_name(other) not in BESIDE_NAMES}
    assert not upwards, f"{module} imports the floor above it: {sorted(upwards)}"


def test_imports_never_run_in_a_circle():
    # static_order raises a CycleError that names the circle.
    order = list(TopologicalSorter({module: imports_of(module) for module in FILES}).static_order())
    assert set(order) == set(FILES)


def test_the_reader_sees_the_imports():
    # The laws above would hold of an empty graph too.
    assert "skinvert.inversion.loop" in imports_of("skinvert.run")
    assert "skinvert.input_optimization" in imports_of("skinvert")
    assert floor("skinvert.input_optimization") == TOP


def test_import_does_not_need_matplotlib():
    code = "import sys, skinvert; print('matplotlib' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "False"


def test_public_names_exist():
    assert all(hasattr(skinvert, name) for name in skinvert.__all__)

"""What pages, README and gallery import, call and refer to exists, and has these parameters."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

import skinvert
import skinvert.augmentation
import skinvert.datasets
import skinvert.display
import skinvert.interpretability
import skinvert.metrics
import skinvert.report

ROOT = Path(skinvert.__file__).parents[1]
WRITTEN = {"generated", "auto_examples", "_build", "results"}  # by the site's build, by scripts
TEXTS = [
    *(path for path in sorted(ROOT.glob("docs/**/*.rst")) if not WRITTEN & set(path.parts)),
    *sorted(ROOT.glob("examples/*.py")),
    *(path for name in ("README.md", "CONTRIBUTING.md") if (path := ROOT / name).exists()),
]
pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="docs/ is no part of an installed package"
)
IDENTIFIERS = [str(path.relative_to(ROOT)) for path in TEXTS]
MODULES = (
    skinvert,
    skinvert.augmentation,
    skinvert.datasets,
    skinvert.display,
    skinvert.interpretability,
    skinvert.metrics,
    skinvert.report,
)
PUBLIC = {name: getattr(module, name) for module in MODULES for name in module.__all__}


def python_blocks(path):
    """Source of every Python block of a page; a script is one block."""
    text = path.read_text()
    if path.suffix == ".py":
        return [text]
    if path.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    pattern = r"^\.\. code-block:: python\n\n((?:(?:   .*)?\n)+)"
    return [textwrap.dedent(block) for block in re.findall(pattern, text + "\n", re.MULTILINE)]


def imported(tree):
    """{name in the block: object of skinvert} of the imports of a block."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "skinvert":
            module = importlib.import_module(node.module)
            for alias in node.names:
                found[alias.asname or alias.name] = attribute(module, alias.name)
    return found


def attribute(module, name):
    if not hasattr(module, name):
        importlib.import_module(f"{module.__name__}.{name}")  # says itself that there is none
    return getattr(module, name)


def called(node, known):
    """The function or class that a call names, or None for others than skinvert's."""
    path = ast.unparse(node.func)
    if re.fullmatch(r"skinvert(\.\w+)+", path):
        return pkgutil.resolve_name(path)
    if isinstance(node.func, ast.Name):
        return known.get(path) or PUBLIC.get(path)
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        owner = known.get(node.func.value.id) or PUBLIC.get(node.func.value.id)
        return getattr(owner, node.func.attr) if owner is not None else None
    return None


def keywords_refused(call, function):
    """Keywords of a call that the function does not take."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return set()
    return {keyword.arg for keyword in call.keywords if keyword.arg} - set(parameters)


@pytest.mark.parametrize("path", TEXTS, ids=IDENTIFIERS)
def test_code_imports_and_calls_what_exists(path):
    refused = []
    for block in python_blocks(path):
        tree = ast.parse(block)
        known = imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (function := called(node, known)) is not None:
                faults = keywords_refused(node, function)
                refused += [f"{ast.unparse(node.func)}: {name}" for name in sorted(faults)]
    assert refused == []


@pytest.mark.parametrize("path", TEXTS, ids=IDENTIFIERS)
def test_names_that_are_referred_to_exist(path):
    role = r":(?:class|func|meth|mod|attr|exc):`(?:[^`<]*<)?~?([\w.]+)>?`"
    targets = re.findall(role, path.read_text())
    gone = []
    for target in targets:
        try:
            pkgutil.resolve_name(target if "." in target else f"skinvert.{target}")
        except (ImportError, AttributeError):
            gone.append(target)
    assert gone == []


def test_the_blocks_of_a_page_are_found():
    page = ROOT / "docs" / "user_guide" / "clients.rst"
    assert len(python_blocks(page)) == page.read_text().count("code-block:: python")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:in .* of the rows one of")
def test_the_tour_of_the_readme_runs():
    tour, _ = python_blocks(ROOT / "README.md")
    names = {}
    exec(tour, names)
    assert names["images"].shape == (3, 64)
    assert names["search"].best_score_ > 0.85

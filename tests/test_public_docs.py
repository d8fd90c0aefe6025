"""Every public name stands in the API reference and has a complete numpydoc docstring."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import textwrap
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from sklearn.utils import Bunch
from sklearn.utils._metadata_requests import RequestMethod

import skinvert

validate = pytest.importorskip("numpydoc.validate", reason="numpydoc comes with the extra docs")

API = Path(skinvert.__file__).parents[1] / "docs" / "api.rst"
pytestmark = pytest.mark.skipif(not API.exists(), reason="docs/ is no part of an installed package")

# What a user imports from; modules that do not exist are not looked at. All their names stand in
# the reference, and what else stands there is held to the same.
PUBLIC_MODULES = [
    name
    for name in (
        "skinvert",
        "skinvert.datasets",
        "skinvert.display",
        "skinvert.export",
        "skinvert.images",
        "skinvert.interpretability",
        "skinvert.metrics",
        "skinvert.persistence",
        "skinvert.report",
    )
    if importlib.util.find_spec(name)
]

# numpydoc's own codes, each with the reason why it is not asked for.
NOT_ASKED = {
    "ES01": "a summary that says it all needs no second paragraph",
    "SA01": "nothing near is no fault",
    "EX01": "classes and functions are held to it by a test of their own, methods are not",
    "RT02": "returned values are named, so that their shapes can speak of each other",
    "RT03": "a name and a shape can say it all",
    "PR08": "descriptions may begin with a symbol of the paper, or a parameter's name",
    "RT04": "as PR08",
    "PR09": "a description may be a list",
    "RT05": "as PR09",
    "SS02": "names of projects that are written small may come first",
    "SS05": "it takes every word in s for a verb",
    "GL01": "summaries stand on the first line, as ruff has them",
}
# What these words mean is the same wherever scikit-learn is known.
CONVENTIONAL = {"X", "y", "Z"}


def is_documentable(thing):
    """An instance, such as a ready-made scorer, has the docstring of its class."""
    thing = getattr(thing, "__func__", thing)
    is_error = inspect.isclass(thing) and issubclass(thing, (Exception, Warning))
    is_code = inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, property)
    return is_code and not is_error


def is_result(thing):
    """Results are made by a function, and described by their attributes."""
    return inspect.isclass(thing) and (is_dataclass(thing) or issubclass(thing, Bunch))


def listed_in_the_reference():
    module, listed = None, {}
    for line in API.read_text().splitlines() if API.exists() else ():
        if match := re.match(r"\.\. currentmodule:: (\S+)$", line):
            module = match[1]
        elif match := re.match(r"   (\w+)$", line):
            listed[f"{module}.{match[1]}"] = getattr(importlib.import_module(module), match[1])
    return listed


def public_objects():
    """{qualified name: object} of what the public modules name, and of what is only listed."""
    found = {}
    for module in map(importlib.import_module, PUBLIC_MODULES):
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not name.startswith("_") and not inspect.ismodule(thing):
                found[f"{module.__name__}.{name}"] = thing
    for name, thing in listed_in_the_reference().items():
        # The parts that estimators are built of; the others have a name already.
        if not any(thing is known for known in found.values()):
            found[name] = thing
    return found


def with_methods(things):
    """The same, and the methods of the classes among them."""
    return things | {
        f"{name}.{key}": value
        for name, thing in things.items()
        if inspect.isclass(thing)
        for key, value in own_methods(thing)
    }


def own_methods(cls):
    """Public methods and properties that a class has from skinvert itself."""
    for key in dir(cls):
        if key.startswith("_"):
            continue
        if isinstance(inspect.getattr_static(cls, key), RequestMethod):
            continue  # scikit-learn writes these, and their docstrings
        owner = next((base for base in cls.__mro__ if key in vars(base)), cls)
        value = inspect.getattr_static(cls, key)
        if owner.__module__.startswith("skinvert") and (
            callable(getattr(cls, key, None)) or isinstance(value, property)
        ):
            yield key, value


TOP_LEVEL = list(public_objects())
OBJECTS = with_methods(public_objects())
DOCUMENTABLE = [name for name, thing in OBJECTS.items() if is_documentable(thing)]
ROUTINES = [
    name
    for name in DOCUMENTABLE
    if inspect.isroutine(getattr(OBJECTS[name], "__func__", OBJECTS[name]))
]


def docstring_of(thing):
    thing = getattr(thing, "__func__", thing)
    return inspect.getdoc(thing.fget if isinstance(thing, property) else thing) or ""


def parsed(thing):
    return validate.get_doc_object(thing, config={"show_class_members": False})


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_the_reference_lists_every_public_name(name):
    assert any(thing is OBJECTS[name] for thing in listed_in_the_reference().values()), (
        f"{name} is public, but docs/api.rst does not list it"
    )


def test_the_reference_lists_nothing_twice():
    names = [line for line in API.read_text().splitlines() if re.match(r"   \w+$", line)]
    listed = listed_in_the_reference()
    assert len(names) == len(listed), "a name stands twice below one module"


@pytest.mark.parametrize("name", DOCUMENTABLE)
def test_docstrings_are_complete(name):
    faults = [
        f"{code}: {text}"
        for code, text in validate.validate(name)["errors"]
        if code not in NOT_ASKED and not is_conventional(OBJECTS[name], code, text)
    ]
    assert not faults, f"{name}: " + "; ".join(faults)


def is_conventional(thing, code, text):
    if code == "PR01" and is_result(thing):
        return True
    match = re.search(r'"(\*{0,2}\w+)"', text)
    if code == "PR07" and match:
        return match[1] in CONVENTIONAL or match[1].startswith("**")
    return False


def parameters_of(thing):
    """(name, type) of the parameters that a docstring names."""
    for parameter in parsed(thing)["Parameters"]:
        for name in parameter.name.split(","):
            yield name.strip(), parameter.type


@pytest.mark.parametrize("name", DOCUMENTABLE)
def test_arrays_have_a_shape_and_options_a_default(name):
    thing, faults = OBJECTS[name], []
    if isinstance(thing, property):
        pytest.skip("a property takes no parameters")
    signature = inspect.signature(getattr(thing, "__func__", thing)).parameters
    for parameter, kind in parameters_of(thing):
        if re.search(r"\b(?:ndarray|array-like)\b", kind) and "shape" not in kind:
            faults.append(f"{parameter} is an array without a shape")
        known = signature.get(parameter)
        has_default = known is not None and known.default is not known.empty
        if has_default and "default" not in kind and "optional" not in kind:
            faults.append(f"{parameter} has a default that its type does not name")
    doc = parsed(thing)
    faults += [
        f"{returned.name or 'what is returned'} is an array without a shape"
        for returned in doc["Returns"]
        if "ndarray" in returned.type and "shape" not in returned.type
    ]
    assert not faults, f"{name}: " + "; ".join(faults)


def errors_raised_in(function):
    """Names of the exceptions that the body of a function raises itself."""
    source = textwrap.dedent(inspect.getsource(function))
    return {
        node.exc.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id[0].isupper()
    }


@pytest.mark.parametrize("name", ROUTINES)
def test_errors_that_are_raised_are_told(name):
    function = inspect.unwrap(getattr(OBJECTS[name], "__func__", OBJECTS[name]))
    told = " ".join(f"{error.name} {error.type}" for error in parsed(OBJECTS[name])["Raises"])
    untold = {error for error in errors_raised_in(function) if error not in told}
    assert not untold, (
        f"{name} raises {sorted(untold)}; its section Raises tells of {told or 'none'}"
    )


@pytest.mark.parametrize(
    "name", [name for name in TOP_LEVEL if name in DOCUMENTABLE and not is_result(OBJECTS[name])]
)
def test_classes_and_functions_have_an_example(name):
    assert ">>>" in docstring_of(OBJECTS[name]), f"{name} has no section Examples with a doctest"


WRITTEN = {"generated", "auto_examples", "_build"}  # folders that the site's build fills
PAGES = [
    page
    for page in sorted(API.parent.rglob("*.rst"))
    if not WRITTEN & set(page.parts) and re.search(r"^ *>>> ", page.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_do_what_they_say(page):
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 0
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples of {page.name}"

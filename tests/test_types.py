"""Public names say what they take and give: signatures are annotated in full."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

API = Path(__file__).parents[1] / "docs" / "api.rst"


def public_objects():
    """{qualified name: object} of what the API reference lists."""
    found, module = {}, None
    for line in API.read_text().splitlines():
        if line.startswith(".. currentmodule::"):
            module = importlib.import_module(line.split()[-1])
        elif re.fullmatch(r"   \w+", line):
            found[f"{module.__name__}.{line.strip()}"] = getattr(module, line.strip())
    return found


PUBLIC = public_objects()


def signatures(thing):
    """(name, function) of a function, or of a class's constructor and own public methods."""
    if not inspect.isclass(thing):
        return [(thing.__name__, thing)] if inspect.isroutine(thing) else []
    return [
        (f"{thing.__name__}.{name}", getattr(method, "__func__", method))
        for name, method in vars(thing).items()
        if inspect.isfunction(getattr(method, "__func__", method))
        and (name == "__init__" or not name.startswith("_"))
    ]


def lacking(function):
    """What of a signature is not annotated."""
    signature = inspect.signature(function)
    bare = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is inspect.Parameter.empty and name not in ("self", "cls")
    ]
    return bare + ["return"] * (signature.return_annotation is inspect.Signature.empty)


def is_generated(thing, function):
    """Methods of dataclasses that no one wrote."""
    return function.__qualname__.startswith("__create_fn__") or (
        function.__name__ == "__init__" and hasattr(thing, "__dataclass_fields__")
    )


@pytest.mark.parametrize("path", PUBLIC)
def test_signatures_are_annotated(path):
    thing = PUBLIC[path]
    found = {
        name: lacking(function)
        for name, function in signatures(thing)
        if not is_generated(thing, function) and lacking(function)
    }
    assert found == {}

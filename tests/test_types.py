"""Public names say what they take and give: signatures are annotated in full."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

API = Path(__file__).parents[1] / "docs" / "api.rst"

# Whose bodies mypy does not accept yet, once their signatures speak.
NOT_YET = {
    "skinvert.augmentation",
    "skinvert.base",
    "skinvert.coupled",
    "skinvert.delegation",
    "skinvert.datasets.splits",
    "skinvert.deep_inversion",
    "skinvert.display.comparisons",
    "skinvert.display.grids",
    "skinvert.display.latents",
    "skinvert.display.series",
    "skinvert.display.triplets",
    "skinvert.export",
    "skinvert.imagine",
    "skinvert.input_optimization",
    "skinvert.inversion.coordinates",
    "skinvert.inversion.loop",
    "skinvert.inversion.matching",
    "skinvert.inversion.objectives",
    "skinvert.inversion.parzen",
    "skinvert.inversion.priors",
    "skinvert.inversion.stages",
    "skinvert.inversion.statistics",
    "skinvert.inversion.transforms",
    "skinvert.invertible",
    "skinvert.metrics.distribution",
    "skinvert.metrics.diversity",
    "skinvert.metrics.fidelity",
    "skinvert.metrics.memorization",
    "skinvert.metrics.neighbours",
    "skinvert.models.decoders",
    "skinvert.models.frozen",
    "skinvert.models.ranks",
    "skinvert.models.similarity",
    "skinvert.models.student",
    "skinvert.models.training",
    "skinvert.models.translate",
    "skinvert.regene",
}


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
    if getattr(thing, "__module__", None) in NOT_YET:
        return
    found = {
        name: lacking(function)
        for name, function in signatures(thing)
        if not is_generated(thing, function) and lacking(function)
    }
    assert found == {}


def test_the_list_of_those_to_come_is_true():
    """A module that is annotated in full leaves the list."""
    bare = {
        thing.__module__
        for thing in PUBLIC.values()
        for _, function in signatures(thing)
        if not is_generated(thing, function) and lacking(function)
    }
    assert sorted(bare - NOT_YET) == []
    assert sorted(NOT_YET - bare) == []

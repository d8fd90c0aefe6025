"""Counts the names in the API reference, and those of them whose docstring is complete.

    python docs/benchmarks/docstrings.py

Complete is what ``tests/test_public_docs.py`` asks for: numpydoc's own checks but the few that are
listed there with reasons; a shape for every array, a default for every option, every error that is
raised; and an example that runs for every class and function.
"""

import importlib.util
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests" / "test_public_docs.py"


def passes(test, name, not_asked):
    """Whether a test holds for a name; those that ask nothing of it do."""
    try:
        test(name)
    except AssertionError as error:
        print(error)
        return False
    except not_asked:
        pass
    return True


def main():
    import pytest

    spec = importlib.util.spec_from_file_location("test_public_docs", TESTS)
    asked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(asked)
    tests = {
        asked.test_docstrings_are_complete: asked.DOCUMENTABLE,
        asked.test_arrays_have_a_shape_and_options_a_default: asked.DOCUMENTABLE,
        asked.test_errors_that_are_raised_are_told: asked.ROUTINES,
        asked.test_classes_and_functions_have_an_example: [
            name
            for name in asked.TOP_LEVEL
            if name in asked.DOCUMENTABLE and not asked.is_result(asked.OBJECTS[name])
        ],
    }
    held = Counter()
    for test, names in tests.items():
        held.update(name for name in names if passes(test, name, pytest.skip.Exception))
    due = Counter(name for names in tests.values() for name in names)
    complete = [name for name in asked.DOCUMENTABLE if held[name] == due[name]]
    top = [name for name in asked.TOP_LEVEL if name in asked.DOCUMENTABLE]
    print(f"complete docstrings: {len(complete)} of {len(asked.DOCUMENTABLE)} public names")
    print(f"of these {len(top)} are classes and functions, the others their methods")


if __name__ == "__main__":
    main()

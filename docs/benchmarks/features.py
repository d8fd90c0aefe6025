"""Checks every cell of the table of features (``docs/features.rst``), and prints the evidence.

    python docs/benchmarks/features.py [--library NAME ...]

Each cell has an expression that must hold in the interpreter where the library is installed:
a call of the facility where the page says "yes", what there is and what there is not for
"partly", and for "no" a search of the package's own code for names that the facility would bear.
Facts about a site or a repository can't be seen in an installed package; for these the file is
named in which they were read. Cells that disagree with the page end the script with an error.

dreamlens and ART run in environments of their own, below the folder that the environment variable
``SKINVERT_RIVALS`` names (``rivals/rivals.py --install`` makes them), or in this interpreter.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

from _feature_names import namespace
from _features import CELLS, DISTRIBUTIONS, READ

PAGE = Path(__file__).parents[1] / "features.rst"
RIVALS = {"dreamlens": "dreamlens", "ART": "art"}  # folders of their environments


def page_table(text):
    """{feature: {library: word}} of the page's table, without the signs of its footnotes."""
    header, *rows = [
        [re.sub(r"\s*\[\d+\]_|``", "", cell).strip() for cell in re.split(r"\n     - ", row)]
        for row in re.findall(r"   \* - (.*(?:\n     .*)*)", text)
    ]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


@cache
def code_of(package):
    """{file: its lines} of an installed package, without what it copied from others."""
    (root,) = importlib.util.find_spec(package).submodule_search_locations
    return {
        str(path.relative_to(root)): path.read_text(errors="replace").splitlines()
        for path in sorted(Path(root).rglob("*.py"))
        if not {"tests", "externals", "vendor"} & set(path.relative_to(root).parts)
    }


def found(package, pattern):
    """Places ``file:line`` of the package's code where the pattern stands."""
    return [
        f"{file}:{number}"
        for file, lines in code_of(package).items()
        for number, line in enumerate(lines, 1)
        if re.search(pattern, line)
    ]


def check(library):
    """[(feature, word, evidence, holds)] for one library, in this interpreter."""
    package, names, results = DISTRIBUTIONS[library][1], None, []
    for feature, (pattern, cells) in CELLS.items():
        word, expression = cells.get(library, ("no", None))
        if expression is None:
            places = found(package, pattern)
            evidence = f"not in the code: {pattern}" + (f", but in {places[:3]}" if places else "")
            results.append((feature, word, evidence, not places))
        elif expression.startswith(READ):
            results.append((feature, word, expression, True))
        else:
            names = names or namespace(library, package, found)
            try:
                holds = bool(eval(expression, names))
                results.append((feature, word, expression, holds))
            except Exception as error:
                results.append((feature, word, f"{expression} raises {error!r}", False))
    return results


def interpreter(library):
    """The Python that has the library, or None."""
    folder = os.environ.get("SKINVERT_RIVALS")
    if library in RIVALS and folder:
        return Path(folder) / RIVALS[library] / "bin" / "python"
    found_here = importlib.util.find_spec(DISTRIBUTIONS[library][1])
    return sys.executable if found_here else None


def ask(library):
    """Version and results of a library, from its own interpreter."""
    python = interpreter(library)
    if python is None:
        return None
    command = [python, __file__, "--answer", library]
    with tempfile.TemporaryDirectory() as folder:
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit(f"{library}: {said.stderr}")
    return json.loads(said.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", nargs="+", default=list(DISTRIBUTIONS), metavar="NAME")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    warnings.simplefilter("ignore")
    if flags.answer:
        installed = version(DISTRIBUTIONS[flags.answer][0])
        print(json.dumps([installed, check(flags.answer)]))
        return
    claims, wrong, n_checked, n_read = page_table(PAGE.read_text()), [], 0, 0
    for library in flags.library:
        answer = ask(library)
        if answer is None:
            print(f"{library}: not installed, left out")
            continue
        print(f"\n{library} {answer[0]}")
        for feature, word, evidence, holds in answer[1]:
            agrees = holds and claims[feature][library] == word
            print(f"  {'ok ' if agrees else 'BAD'} {word:6} {feature} | {evidence}")
            wrong += [] if agrees else [f"{library}, {feature}"]
            n_read += evidence.startswith(READ)
            n_checked += 1
    print(f"\n{n_checked} cells: {n_checked - n_read} by running code, {n_read} by reading a file")
    if wrong:
        sys.exit(f"the page and the evidence disagree: {wrong}")


if __name__ == "__main__":
    main()

"""How long ``import skinvert`` takes, against the libraries that it stands on.

    python docs/benchmarks/import_time.py [--repeats 9]

Fresh interpreters in turn, one with ``import torch, sklearn, skorch`` and one with skinvert as
well, so that whatever else the machine does meets both. Processor time is counted, which a busy
machine changes little; modules that must not be loaded are named if they are.
"""

import argparse
import os
import statistics
import subprocess
import sys

BASE = "import torch, sklearn, skorch"
OURS = f"{BASE}; import skinvert"
# Heavy, and needed by some calls only.
LAZY = ("torchvision", "matplotlib", "pandas", "mlxtend", "skimage", "torchmetrics", "onnx")


def seconds(code):
    """User and system time of a fresh interpreter that runs the code."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def loaded(code):
    """Modules of `LAZY` that the code loads."""
    listing = f"{code}; import sys; print(*(name for name in {LAZY!r} if name in sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", listing], check=True, capture_output=True, text=True
    )
    return set(answer.stdout.split())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    for code in (BASE, OURS):
        seconds(code)  # files come from the disk's cache afterwards
    pairs = [(seconds(BASE), seconds(OURS)) for _ in range(repeats)]
    base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(b / a for a, b in pairs)
    print(f"{BASE}: {base:.2f} s; with skinvert: {ours:.2f} s (medians of {repeats})")
    print(f"ratio {ours / base:.3f}, of single pairs {ratios[0]:.3f} to {ratios[-1]:.3f}")
    print("loaded by skinvert alone:", *sorted(loaded(OURS) - loaded(BASE)) or ["none"])


if __name__ == "__main__":
    main()

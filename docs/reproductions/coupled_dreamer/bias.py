"""Section 5.1 with a planted bias: every image of one class bears a mark, and the report names it.

``python docs/reproductions/coupled_dreamer/bias.py [--tune] [--quick]``: digits, of which one class
has a bright square in a corner, another corner and another class for each seed.
"""

import numpy as np
from _common import SHAPE, VARIANTS, arguments, save_sheet, write

from skinvert.coupled import CoupledDreamer
from skinvert.datasets import split_mnist_5k
from skinvert.interpretability import explain_class

SIDE = 4
CORNERS = [(0, 0), (0, 24), (24, 0), (24, 24)]


def main():
    flags = arguments(__doc__, data=False)
    n_seeds = 1 if flags.quick else 2 if flags.tune else 10
    X, y = split_mnist_5k().train
    found = {variant: [] for variant in VARIANTS}
    for seed in range(n_seeds):
        # Tuning plants other marks than those that count.
        case = seed + (100 if flags.tune or flags.quick else 0)
        label, corner = case % 10, CORNERS[case % 4]
        marked = planted(X, y, label, corner)
        for variant in VARIANTS:
            settings = {"n_epochs": 1, "n_steps": 5} if flags.quick else {}
            dreamer = CoupledDreamer(generator=variant, random_state=seed, **settings)
            dreamer.fit(marked.reshape(-1, *SHAPE), y)
            report = explain_class(dreamer, marked, y, label, side=SIDE)
            print(seed, variant, corner, report, sep="\n", flush=True)
            found[variant].append(places(report, corner))
            if seed == 0:
                save_sheet(report.images, f"bias_{variant}", flags)
    write(
        "bias",
        "A planted mark",
        ["variant", "most evidence", "most energy"],
        [
            [
                variant,
                f"{sum(first == 1 for first, _ in ranks)} of {n_seeds}",
                f"{sum(second == 1 for _, second in ranks)} of {n_seeds}",
            ]
            for variant, ranks in found.items()
        ],
        flags,
        ["Seeds in which the marked window comes first among all windows of its size."],
    )


def planted(X, y, label, corner):
    images = X.reshape(-1, 28, 28).copy()
    top, left = corner
    images[y == label, top : top + SIDE, left : left + SIDE] = 1.0
    return images.reshape(len(X), -1)


def places(report, corner):
    """Rank of the marked window by evidence and by energy, from 1."""
    by_evidence = [(region.top, region.left) for region in report.regions]
    order = np.argsort([-region.energy for region in report.regions], kind="stable")
    return by_evidence.index(corner) + 1, [by_evidence[k] for k in order].index(corner) + 1


if __name__ == "__main__":
    main()

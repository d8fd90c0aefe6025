"""Figure 9: images of two classes at once, for all 45 pairs of digits, and the judge's top two.

``python docs/reproductions/coupled_dreamer/compounds.py [--data fashion] [--tune] [--quick]``
"""

from itertools import combinations

import numpy as np
from _common import VARIANTS, Lab, arguments, save_sheet, summary, write

from skinvert.coupled import CoupledDreamer


def main():
    flags = arguments(__doc__)
    pairs = list(combinations(range(10), 2))[: 3 if flags.quick else None]
    weights = np.zeros((len(pairs), 10))
    for row, pair in enumerate(pairs):
        weights[row, list(pair)] = 0.5
    found = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for variant in VARIANTS:
            images = lab.fit(CoupledDreamer(generator=variant)).generate(weights=weights)
            answers = lab.judge.predict_proba(images.reshape(len(images), -1))
            top = np.sort(np.argsort(-answers, axis=1)[:, :2], axis=1)
            found.setdefault(variant, []).append(float((top == pairs).all(1).mean()))
            print(seed, variant, found[variant][-1], flush=True)
            if seed == 0:
                save_sheet(images, f"compounds_{flags.data}_{variant}", flags, n_columns=9)
    write(
        f"compounds_{flags.data}",
        f"Two classes at once ({flags.data})",
        ["variant", "pairs whose classes are the judge's top two"],
        [[variant, summary(shares)] for variant, shares in found.items()],
        flags,
        [f"{len(pairs)} pairs, one image each."],
    )


if __name__ == "__main__":
    main()

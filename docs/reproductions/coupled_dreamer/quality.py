"""Both variants on MNIST-5k or Fashion-MNIST: what a judge says of 100 images a class.

``python docs/reproductions/coupled_dreamer/quality.py [--data fashion] [--tune] [--quick]``
"""

import numpy as np
from _common import PAPER, VARIANTS, Lab, Stopwatch, arguments, save_sheet, summary, write

from skinvert.coupled import CoupledDreamer

PAPER_WIDTH = 128  # a quarter of the paper's, for the time of it


def main():
    flags = arguments(__doc__)
    n_per_class = 1 if flags.quick else 10 if flags.tune else 100
    found = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for name, settings, n in cases(n_per_class, with_paper=seed == 0 and flags.data == "mnist"):
            dreamer = lab.fit(CoupledDreamer(**settings))
            y = np.tile(np.arange(10), n)
            with Stopwatch() as watch:
                images = dreamer.generate(y)
            if settings.get("clip", "auto") is None:
                images = images.clip(0, 1)  # for the judge, who knows pictures
            figures = lab.quality(images, y) | {"s an image": watch.wall / len(y)}
            found.setdefault(name, []).append(figures)
            print(seed, name, figures, flush=True)
            if seed == 0:
                save_sheet(images[:50], f"quality_{flags.data}_{name.replace(' ', '_')}", flags)
    write(
        f"quality_{flags.data}",
        f"Judge, diversity and authenticity ({flags.data})",
        ["settings", *next(iter(found.values()))[0]],
        [
            [name, *[summary([figures[key] for figures in runs]) for key in runs[0]]]
            for name, runs in found.items()
        ],
        flags,
        [
            f"{n_per_class} images a class, mean over seeds (least to largest). Diversity is "
            "relative to real rows. The paper's settings stand beside on MNIST, at width "
            f"{PAPER_WIDTH}, with {max(n_per_class // 10, 2)} a class and one seed."
        ],
    )


def cases(n_per_class, with_paper):
    for variant in VARIANTS:
        yield variant, {"generator": variant}, n_per_class
        if with_paper:
            paper = PAPER[variant] | {"width": PAPER_WIDTH}
            yield f"{variant} as in the paper", paper, max(n_per_class // 10, 2)


if __name__ == "__main__":
    main()

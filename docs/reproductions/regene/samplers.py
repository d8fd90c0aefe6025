"""What latents are drawn by: every sampler's images, and what a plain net learns from them.

``python docs/reproductions/regene/samplers.py``, with ``--data fashion`` for Fashion-MNIST. The
fits are those of ``quality.py``.
"""

import numpy as np
from _common import Lab, arguments, balanced, summary, write

N_TRAINED = 200  # images a class, which train the net of the classification accuracy score
# (loss, sampler) and what sets it.
SETTINGS = {
    ("paper", "convex"): {},
    ("sharp", "convex"): {},
    ("sharp", "convex_matched"): {"sampler": "convex_matched"},
    ("sharp", "convex_matched, Dirichlet"): {"sampler": "convex_matched", "ratios": "dirichlet"},
    ("sharp", "gmm"): {"sampler": "gmm"},
    ("sharp", "flow"): {"sampler": "flow"},
}


def real_rows(lab):
    """As many real rows as are generated."""
    rows = np.concatenate([np.flatnonzero(lab.y == c)[:N_TRAINED] for c in range(10)])
    return lab.X[rows], lab.y[rows]


def main():
    flags = arguments(__doc__)
    found, y = {}, balanced(N_TRAINED)
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        floor = lab.cas(*real_rows(lab))
        print(seed, "CAS of real rows", floor, flush=True)
        for (loss, name), settings in SETTINGS.items():
            generator, _ = lab.fitted(loss)
            generator.set_params(**({"sampler": "convex", "ratios": "uniform"} | settings))
            images, info = generator.generate(y, return_info=True)
            figures = lab.quality(images, y)
            figures["accepted"] = len(images) / info.n_latent_trials.sum()
            figures["CAS / real"] = figures["CAS"] / floor
            found.setdefault((loss, name), []).append(figures)
            print(seed, loss, name, figures, flush=True)
    names = list(figures)
    write(
        "samplers",
        f"Samplers ({flags.data})",
        ["loss", "sampler", *names],
        [
            [*which, *[summary([figures[name] for figures in runs]) for name in names]]
            for which, runs in found.items()
        ],
        flags,
        [f"{N_TRAINED} images a class, against as many real ones for the last ratio."],
    )


if __name__ == "__main__":
    main()

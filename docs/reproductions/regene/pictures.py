"""The paper's pictures: Figures 3b, 4, 7, 8, 12, 13, 14, B.18, B.19 and the collages of Appendix D.

``python docs/reproductions/regene/pictures.py``, from the first seed; ``--data fashion`` for
Fashion-MNIST. Rows that are shown are training and test rows; no figure is read off them.
"""

import numpy as np
from _common import Lab, arguments, balanced, save

from skinvert.display import (
    CombinationDisplay,
    ImageGridDisplay,
    LatentBarcodeDisplay,
    LatentMapDisplay,
)
from skinvert.metrics import closest_matches

N_MAPPED, N_STRIPS = 1000, 20
SHOWN = {"mnist": [0, 4, 8], "fashion": [1, 7, 8]}  # classes of the smaller pictures


def of_class(lab, label, n):
    return lab.X[np.flatnonzero(lab.y == label)[:n]]


def keep(display, name, flags):
    save(display.figure_, name, flags)


def strips(rows, labels, name, flags):
    """One line of images for each label."""
    repeated = np.repeat(np.array(labels), [len(row) for row in rows])
    keep(ImageGridDisplay.from_images(np.concatenate(rows), repeated), name, flags)


def collage(generator, flags):
    """Figures D.22 and D.23."""
    generator.set_params(sampler="convex")
    images = generator.generate(balanced(12))
    keep(ImageGridDisplay.from_images(images, balanced(12)), "collage", flags)


def combined(generator, lab):
    """Figure 7: two, three and five sources, and the overlay of those."""
    rows, labels = [], []
    for label in SHOWN[lab.flags.data]:
        sources = of_class(lab, label, 5)
        made = [generator.combine(sources[:n])[0] for n in (2, 3, 5)]
        overlaid = [sources[:n].mean(0) for n in (2, 3, 5)]
        rows += [np.stack([*sources, *made]), np.stack([*sources, *overlaid])]
        labels += [f"{label}: sources, then n = 2, 3, 5", f"{label}: pixels averaged"]
    strips(rows, labels, "combinations", lab.flags)


def ways(generator, lab):
    """Figures 3b and 7: from one image of a class to another."""
    pairs = [of_class(lab, label, 2) for label in SHOWN[lab.flags.data]]
    rows = [np.stack([a, *generator.interpolate(a, b), b]) for a, b in pairs]
    strips(rows, SHOWN[lab.flags.data], "interpolations", lab.flags)


def matrix(generator, lab):
    """Figure 8."""
    sources = of_class(lab, SHOWN[lab.flags.data][-1], 12)
    down, across = sources[:6], sources[6:]
    made = [
        np.stack([generator.combine(np.stack([row, column]))[0] for column in across])
        for row in down
    ]
    keep(CombinationDisplay.from_images(down, across, made), "matrix", lab.flags)


def matches(generator, lab):
    """Figures 12 and 13: an image between its sources, and what is nearest to it.

    Three by squared error, three by SSIM, three by squared error of the latents: training images,
    their reconstructions, and other generations.
    """
    labels = np.array(SHOWN[lab.flags.data])
    images, info = generator.generate(labels, return_info=True)
    others = generator.generate(np.repeat(labels, 50), random_state=1)
    rows, names = [], []
    for index, label in enumerate(labels):
        one, sources = images[index : index + 1], lab.X[info.sources[index]]
        among = {
            "training": lab.X[lab.y == label],
            "rebuilt": generator.reconstruct(lab.X[lab.y == label]),
            "generated": others[np.repeat(labels, 50) == label],
        }
        for what, pool in among.items():
            found = closest_matches(one, pool, image_shape=(28, 28), extractor=generator, k=3)
            nearest = [pool[found[by].indices[0]] for by in ("mse", "ssim", "latent_mse")]
            rows.append(np.concatenate([sources[:1], one, sources[1:], *nearest]))
            names.append(f"{label}, {what}")
    strips(rows, names, "matches", lab.flags)


def generations(generator, lab):
    """Figure 14."""
    label, rows, names = SHOWN[lab.flags.data][-1], [], []
    for parents, name in (("latents", "siblings"), ("images", "children")):
        for depth, images in enumerate(
            generator.generations(np.repeat(label, 12), 4, parents=parents), 1
        ):
            rows.append(images)
            names.append(f"{name} {depth}")
    strips(rows, names, "generations", lab.flags)


def latents(generator, lab):
    """Figures 4, 5, B.18 and B.19."""
    chosen = np.concatenate([np.flatnonzero(lab.y == label)[:N_STRIPS] for label in range(10)])
    for kind in ("barcode", "bars"):
        display = LatentBarcodeDisplay.from_estimator(
            generator, lab.X[chosen], lab.y[chosen], kind=kind
        )
        keep(display, kind, lab.flags)
    print("share of zeros by class", display.sparsity.round(2), flush=True)
    rows = np.random.default_rng(0).permutation(len(lab.y))[:N_MAPPED]
    keep(LatentMapDisplay.from_estimator(generator, lab.X[rows], lab.y[rows]), "map", lab.flags)


def main():
    flags = arguments(__doc__)
    lab = Lab(flags, 0)
    generator, _ = lab.fitted()
    collage(generator, flags)
    for draw in (combined, ways, matrix, matches, generations, latents):
        draw(generator, lab)


if __name__ == "__main__":
    main()

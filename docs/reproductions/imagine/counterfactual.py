"""Figure 9: counterfactuals, their regions against random regions of equal size.

``python docs/reproductions/imagine/counterfactual.py --data mnist|fashion|photographs [--quick]
[--tune]``. Twenty pictures are asked about the class that the classifier thinks second; that class,
by the word of a verifier that took no part, must be what the answer shows. Random classes stand
beside. On digits the classifier is the library's own; on clothes it is a network trained on
adversarial rows, of a radius that was chosen, with λ, on tune rows.
"""

from unittest.mock import patch

import numpy as np
import torch
from _common import (
    PHOTOGRAPHS,
    Verifier,
    arguments,
    photographs,
    save_picture,
    summary,
    synthesizer,
    write,
)
from deep_inversion_digits import N_TRAINED, trained

from skinvert import ImagineSynthesizer, imagine
from skinvert.datasets import split_fashion_mnist, split_mnist_5k
from skinvert.inversion.attribution import regions_of
from skinvert.inversion.transforms import RandomAffine
from skinvert.metrics import NeutralJudge

N_PAIRS, SHARE, ROWS = 20, 0.3, 2000
RADIUS, N_EPOCHS = 0.5, 12
SETTINGS = {
    "feature_weight": 1.0,
    "n_steps": (200, 0),
    "transforms": [RandomAffine(degrees=10, translate=(0.07, 0.07), scale=(0.9, 1.1))],
}


def random_regions(classifier, layer, queries, references, columns, share, *_):
    """Regions of the same kind and size, anywhere."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(len(queries), 7, 7, generator=generator)
    masks = regions_of(coarse, queries.shape[2:], share).numpy()
    return masks, masks


def digits(parts, seed):
    X, y = (part[:ROWS] for part in parts.train)
    return ImagineSynthesizer(random_state=seed, **SETTINGS).fit(X.astype(np.float32), y)


def clothes(parts, seed):
    net = trained(*(part[:N_TRAINED] for part in parts.train), seed, RADIUS, N_EPOCHS)
    settings = SETTINGS | {"feature_weight": 0.3, "image_shape": (28, 28)}
    X, y = (part[:ROWS] for part in parts.train)
    made = ImagineSynthesizer(net.module_, random_state=seed, **settings)
    return made.fit(X.astype(np.float32), y)


def small_images(flags, seed):
    """Synthesizer, verifier, queries and their labels."""
    split, fit = {
        "mnist": (split_mnist_5k, digits),
        "fashion": (split_fashion_mnist, clothes),
    }[flags.data]
    parts = split()
    fitted = fit(parts, seed)
    judge = NeutralJudge(random_state=seed + 100).fit(*(part[:5000] for part in parts.judge))
    queries, labels = parts.tune if flags.tune or flags.quick else parts.test
    return fitted, judge.predict, queries.astype(np.float32), labels


def pictures(flags, seed):
    names = [name for group in PHOTOGRAPHS.values() for name in group]
    X, verifier = photographs(names), Verifier()
    settings = SETTINGS | {"transforms": None, "n_steps": tuple(flags.steps)}
    fitted = synthesizer(X, parameterization="pixels", learning_rate=0.2, **settings)
    # References that both networks see alike.
    labels = verifier.classes(X)
    alike = labels == fitted.classify(X)
    return fitted, verifier.classes, X[alike], labels[alike]


def questions(fitted, verify, queries, labels, seed):
    """Queries that both networks get right, the second-likeliest class that has references, and a
    random one."""
    rng = np.random.default_rng(seed)
    probabilities = fitted._probabilities(queries.reshape(len(queries), -1))
    said = fitted.classes_[probabilities.argmax(1)]
    right = np.flatnonzero((said == labels) & (verify(queries) == labels))
    chosen = rng.permutation(right)[:N_PAIRS]
    likely = np.where(fitted.class_prior_ > 0, probabilities[chosen], -1.0)
    likely[np.arange(len(chosen)), probabilities[chosen].argmax(1)] = -1
    second = fitted.classes_[likely.argmax(1)]
    other = [rng.choice(fitted.classes_[row >= 0]) for row in likely]
    return queries[chosen], {"second class": second, "random class": np.array(other)}


def main():
    flags = arguments(
        __doc__, data={"choices": ["mnist", "fashion", "photographs"], "default": "mnist"}
    )
    if flags.quick:
        flags.seeds = 1
    found, shown = {}, None
    for seed in range(flags.seeds):
        load = pictures if flags.data == "photographs" else small_images
        fitted, verify, queries, labels = load(flags, seed)
        X, asked = questions(fitted, verify, queries, labels, seed)
        for kind, wanted in asked.items():
            for regions in ("discriminant", "random"):
                finder = random_regions if regions == "random" else imagine.find_regions
                with patch.object(imagine, "find_regions", finder):
                    answers = fitted.counterfactual(X, wanted, share=SHARE, random_state=seed)
                said = verify(answers.images)
                figures = (
                    (said == wanted).mean(),
                    (answers.new_probabilities.argmax(1) == 1).mean(),
                    answers.changed.mean(),
                    answers.changed.max(),
                )
                found.setdefault((kind, regions), []).append(figures)
                print(seed, kind, regions, figures, flush=True)
                shown = shown or (X, answers.images)  # the first: second class, discriminant
    shape = fitted.canvas_.image_shape_
    save_picture(
        flags, f"counterfactual_{flags.data}", [part.reshape(-1, *shape) for part in shown]
    )
    write(
        flags,
        f"counterfactual_{flags.data}",
        f"Counterfactuals of {flags.data}, {len(X)} pairs a seed",
        ["asked about", "region", "verifier says so", "classifier prefers it",
         "pixels changed", "at most"],
        [[*name, *map(summary, zip(*values, strict=True))] for name, values in found.items()],
        notes=[f"At most {SHARE:.0%} of the pixels are free; seeds 0 to {flags.seeds - 1}."],
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""Table 1 and Figure 5: IMAGINE, without its deepest layer, and image-guided DeepInversion.

``python docs/reproductions/imagine/synthesis.py [--quick] [--tune]``. For each picture: does the
verifier keep its class; how far are the channel statistics of the verifier's maps from the
reference's (a Fréchet distance between positions, as SinGAN's single-image FID takes it); and how
far are its deep features from the reference's, in units of that between two pictures of the domain.
Views and λ were chosen on the first picture of each domain and the two of ``position.py --tune``.
"""

import numpy as np
from _common import (
    NORMALIZE,
    PHOTOGRAPHS,
    VIEWS,
    Stopwatch,
    Verifier,
    arguments,
    photographs,
    pretrained,
    save_picture,
    summary,
    synthesizer,
    write,
)

from skinvert import DeepInversion
from skinvert.metrics import frechet_distance

N_DIRECTIONS = 64  # the maps' channels are projected: 49 positions tell no covariance of hundreds


def make(method, X, y, steps, seed):
    """Images by one method, from the same pictures and with the same number of steps."""
    if method.startswith("DeepInversion, guided"):
        views = {"transforms": VIEWS} if method.endswith("views") else {}
        generator = DeepInversion(
            pretrained(0),
            normalize=NORMALIZE,
            image_shape=X.shape[1:],
            clip=(0.0, 1.0),
            reference=X,
            n_steps=(sum(steps),),
            parameterization="fourier",
            learning_rate=0.1,
            random_state=seed,
            **views,
        ).fit(X, y)
        return generator.generate(y)
    settings = {"n_steps": tuple(steps), "random_state": seed}
    if method != "as printed":
        settings |= {"transforms": VIEWS, "feature_weight": 1.0}
    if method == "without the critic":
        settings["patch_weight"] = 0.0
    made = synthesizer(X, y, **settings)
    if method == "without the deepest layer":
        made.set_params(layers=made.layers_[:-1]).fit(X, y)
    return made.vary(X, y=y)


def single_image_distance(maps, others):
    """Fréchet distance between the positions of two pictures' maps, in few random directions."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(maps.shape[1], N_DIRECTIONS)) / np.sqrt(maps.shape[1])
    rows = [np.moveaxis(m, 1, -1).reshape(-1, m.shape[1]) @ directions for m in (maps, others)]
    return frechet_distance(*rows)


def figures(images, X, y, verifier):
    """Class kept, of all and of those that both networks call alike; mean single-image distance;
    distance from the reference over the domain's."""
    logits, maps = (part.detach().numpy() for part in verifier.answers(images, verifier.layer))
    asked, known = (part.detach().numpy() for part in verifier.answers(X, verifier.layer))
    kept, alike = logits.argmax(1) == asked.argmax(1), asked.argmax(1) == y
    distances = [
        single_image_distance(maps[k : k + 1], known[k : k + 1]) for k in range(len(images))
    ]
    deep, deep_known = maps.reshape(len(maps), -1), known.reshape(len(known), -1)
    apart = np.linalg.norm(deep_known[:, None] - deep_known, axis=2)
    domain = apart[np.triu_indices(len(apart), 1)].mean()
    moved = np.linalg.norm(deep - deep_known, axis=1).mean() / domain
    return kept.mean(), kept[alike].mean(), np.mean(distances), moved


METHODS = (
    "IMAGINE",
    "as printed",
    "without the critic",
    "without the deepest layer",
    "DeepInversion, guided",
    "DeepInversion, guided, same views",
)


def main():
    flags = arguments(__doc__)
    if flags.quick:
        flags.seeds, flags.steps = 1, (40, 10)
    verifier, rows, agreed = Verifier(), [], {}
    for domain, names in PHOTOGRAPHS.items():
        # The first picture of each domain is what parameters are chosen on.
        X = photographs(names[:2] if flags.tune or flags.quick else names[1:])
        y = synthesizer(X).classify(X)
        agreed[domain] = int((verifier.classes(X) == y).sum())
        lines = [X]
        for method in METHODS:
            found = []
            for seed in range(flags.seeds):
                with Stopwatch() as watch:
                    images = make(method, X, y, flags.steps, seed)
                found.append((*figures(images, X, y, verifier), watch.wall / len(X)))
            lines.append(images)
            rows.append([domain, method, len(X), *map(summary, zip(*found, strict=True))])
            print(rows[-1], flush=True)
        save_picture(flags, f"synthesis_{domain}", lines)
    write(
        flags,
        "synthesis",
        "Variations of a photograph, judged by EfficientNet-Lite1",
        [
            "domain", "method", "pictures", "class kept", "where both agree",
            "single-image distance", "distance / domain's", "s an image",
        ],
        rows,
        notes=[
            f"{flags.steps} steps, seeds 0 to {flags.seeds - 1}: mean, least and largest.",
            "Where both agree: pictures that Lite0, which is asked for its own class, and Lite1 "
            f"call the same: {', '.join(f'{n} of the {domain}' for domain, n in agreed.items())}.",
            "All but 'as printed' and guided DeepInversion: views of 0.9 to 1.1, λ = 1 in place "
            "of 5.",
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()

"""Figure 6: objects asked into the four corners, found by the verifier's attribution.

``python docs/reproductions/imagine/position.py [--quick] [--tune]``: ten pictures, four places
each. The place that counts is the centre of mass of Grad-CAM under EfficientNet-Lite1, which takes
no part in the synthesis; it must lie in the quadrant that was asked for.
"""

import numpy as np
import torch
from _common import (
    PHOTOGRAPHS,
    SIDE,
    Verifier,
    arguments,
    photographs,
    save_picture,
    synthesizer,
    write,
)

from skinvert.inversion.attribution import gaussian_blob, grad_cam

QUADRANTS = [(row, column) for row in (0, 1) for column in (0, 1)]


def blob(quadrant):
    center = [SIDE // 4 + side * (SIDE // 2) for side in quadrant]
    return gaussian_blob((SIDE, SIDE), center, sigma=SIDE / 7)


def quadrant_of(images, classes, verifier):
    """Quadrant (row, column) of the centre of mass of each image's attribution."""
    logits, maps = verifier.answers(images)
    scores = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
    found = grad_cam(scores, maps).detach().numpy()
    places = np.arange(found.shape[1]) - (found.shape[1] - 1) / 2
    mass = found.sum((1, 2)).clip(1e-12)
    rows, columns = (found.sum(2) @ places) / mass, (found.sum(1) @ places) / mass
    return np.column_stack([rows > 0, columns > 0]).astype(int), mass > 1e-9


def main():
    flags = arguments(__doc__, weight={"type": float, "default": 10.0})
    names = [*PHOTOGRAPHS["objects"], *PHOTOGRAPHS["scenes"]]
    if flags.quick or flags.tune:
        names, flags.seeds = names[:1] if flags.quick else names[:3], 1
    if flags.quick:
        flags.steps = (80, 0)
    X, verifier, rows = photographs(names), Verifier(), []
    made = synthesizer(X, n_steps=tuple(flags.steps), location_weight=flags.weight, random_state=0)
    classes = verifier.classes(X)
    before, _ = quadrant_of(X, classes, verifier)
    lines, hits, free = [], [], []
    for quadrant in QUADRANTS:
        images = made.vary(X, position=blob(quadrant))
        places, seen = quadrant_of(images, classes, verifier)
        hits.append((places == quadrant).all(1) & seen)
        free.append((before == quadrant).all(1))
        lines.append(images)
        rows.append([f"{quadrant}", len(X), f"{hits[-1].mean():.2f}", f"{free[-1].mean():.2f}"])
        print(rows[-1], flush=True)
    save_picture(flags, "position", [X, *lines])
    rows.append(["all", 4 * len(X), f"{np.mean(hits):.2f}", f"{np.mean(free):.2f}"])
    write(
        flags,
        "position",
        "Position control, judged by EfficientNet-Lite1's attribution",
        ["quadrant (row, column)", "trials", "followed", "reference already there"],
        rows,
        notes=[f"{flags.steps} steps, ν = {flags.weight}, seed 0."],
    )


if __name__ == "__main__":
    main()

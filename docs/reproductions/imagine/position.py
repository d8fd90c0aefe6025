"""Figure 6: objects asked into the four corners, found by the verifier's attribution.

``python docs/reproductions/imagine/position.py [--quick] [--tune]``: ten pictures, four places
each. The place that counts is the centre of mass of Grad-CAM under EfficientNet-Lite1, which takes
no part in the synthesis; it must lie in the quadrant that was asked for. The same is asked of the
pictures themselves, made half as large and put into each quadrant of a grey one: what finds
those can be trusted. ``--tune`` takes two pictures that the table has not.
"""

from pathlib import Path

import numpy as np
import torch
from _common import (
    PHOTOGRAPHS,
    SIDE,
    VIEWS,
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
    logits, maps = verifier.answers(images, verifier.last_layer)
    scores = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
    found = grad_cam(scores, maps).detach().numpy()
    places = np.arange(found.shape[1]) - (found.shape[1] - 1) / 2
    mass = found.sum((1, 2)).clip(1e-12)
    rows, columns = (found.sum(2) @ places) / mass, (found.sum(1) @ places) / mass
    return np.column_stack([rows > 0, columns > 0]).astype(int), mass > 1e-9


def rank_of(images, classes, verifier):
    """How many classes the verifier holds for likelier than each image's own."""
    logits = verifier.answers(images)[0].detach()
    asked = logits[torch.arange(len(classes)), torch.as_tensor(classes)]
    return (logits > asked[:, None]).sum(1).numpy()


def put_into(quadrant, images):
    """Pictures at half their size in a quadrant of a grey one."""
    small = torch.nn.functional.interpolate(
        torch.from_numpy(images), scale_factor=0.5, mode="bilinear", antialias=True
    )
    half = SIDE // 2
    whole = np.full_like(images, 0.5)
    top, left = (side * half for side in quadrant)
    whole[:, :, top : top + half, left : left + half] = small
    return whole


def tune_pictures():
    """Two photographs that come with scikit-image and matplotlib and that the table has not."""
    import matplotlib
    import skimage
    from PIL import Image

    from skinvert.inversion.pictures import fit_pictures

    folders = Path(skimage.__file__).parent, Path(matplotlib.get_data_path())
    names = "data/motorcycle_left.png", "sample_data/grace_hopper.jpg"
    pictures = [
        np.moveaxis(np.asarray(Image.open(folder / name).convert("RGB"), np.float32) / 255, -1, 0)
        for folder, name in zip(folders, names, strict=True)
    ]
    rows = [fit_pictures(one[None], (3, SIDE, SIDE), "picture") for one in pictures]
    return np.concatenate(rows).reshape(-1, 3, SIDE, SIDE)


def main():
    flags = arguments(__doc__, weight={"type": float, "default": 10.0})
    names = [*PHOTOGRAPHS["objects"], *PHOTOGRAPHS["scenes"]]
    X = tune_pictures() if flags.quick or flags.tune else photographs(names)
    if flags.quick:
        X, flags.steps = X[:1], (40, 0)
    verifier, rows = Verifier(), []
    made = synthesizer(
        X,
        n_steps=tuple(flags.steps),
        location_weight=flags.weight,
        transforms=VIEWS,
        random_state=0,
        batch_size=min(len(X), 5),
    )
    classes = verifier.classes(X)
    before, _ = quadrant_of(X, classes, verifier)
    lines, found = [], {name: [] for name in ("followed", "kept", "near", "there", "control")}
    for quadrant in QUADRANTS:
        images = made.vary(X, position=blob(quadrant))
        places, seen = quadrant_of(images, classes, verifier)
        rank = rank_of(images, classes, verifier)
        control, _ = quadrant_of(put_into(quadrant, X), classes, verifier)
        found["followed"].append((places == quadrant).all(1) & seen)
        found["kept"].append(rank == 0)
        found["near"].append(rank < 10)
        found["there"].append((before == quadrant).all(1))
        found["control"].append((control == quadrant).all(1))
        lines.append(images)
        shares = [f"{parts[-1].mean():.2f}" for parts in found.values()]
        rows.append([f"{quadrant}", len(X), *shares])
        print(rows[-1], flush=True)
    save_picture(flags, "position", [X, *lines])
    rows.append(["all", 4 * len(X), *[f"{np.mean(parts):.2f}" for parts in found.values()]])
    write(
        flags,
        "position",
        "Position control, judged by EfficientNet-Lite1's attribution",
        [
            "quadrant (row, column)",
            "trials",
            "followed",
            "class kept",
            "class among ten",
            "reference already there",
            "control: half-size picture found",
        ],
        rows,
        notes=[
            f"{flags.steps} steps, ν = {flags.weight}, seed 0.",
            "Class: what the verifier calls the reference, first or among its first ten.",
        ],
    )


if __name__ == "__main__":
    main()

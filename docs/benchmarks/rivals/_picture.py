"""One image of each class from each generator, in a row of its own."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np


def draw(rows, labels, path):
    """Draw what generators made of the same classes.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n, C, H, W)
        Images in [0, 1] of the ten classes, by the generator's name.
    labels : sequence of int
    path : Path
    """
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(8, 0.66 * len(rows) + 0.4), layout="constrained"
    )
    for axis, (title, images) in zip(axes, rows.items(), strict=True):
        side = images.shape[-1]
        strip = np.concatenate(list(np.moveaxis(images, 1, -1)), axis=1)
        axis.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=1, aspect="equal")
        axis.set_xticks([])
        axis.set_yticks([side / 2], [title], fontsize=8)
        axis.tick_params(left=False)
        axis.spines[:].set_visible(False)
    axes[0].set_xticks(side * (np.arange(len(labels)) + 0.5), labels, fontsize=8)
    axes[0].tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    figure.savefig(path, dpi=110, bbox_inches="tight", pil_kwargs={"quality": 88})
    plt.close(figure)

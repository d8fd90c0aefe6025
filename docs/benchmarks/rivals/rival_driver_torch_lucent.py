"""torch-lucent's ``render_vis``, in batches."""

import inspect

import numpy as np
from _rig import Rig
from lucent.optvis.param import image
from lucent.optvis.render import render_vis

N_STEPS = max(inspect.signature(render_vis).parameters["thresholds"].default)
SIDE = 128  # of its default image


def rendered(rig, labels):
    side = rig.side(SIDE)
    channels = None if rig.shape[0] == 3 else rig.shape[0]
    last = render_vis(
        rig.classifier,
        lambda layer: -layer("labels")[range(len(labels)), labels].sum(),
        param_f=lambda: image(side, batch=len(labels), channels=channels),
        thresholds=(rig.n_passes or N_STEPS,),
        preprocess=False,
        progress=False,
        show_image=False,
        # Left alone, it blows images up to 224 pixels.
        fixed_image_size=None if rig.is_lite0 else rig.shape[1],
    )[-1]
    return np.moveaxis(last, -1, 1)


if __name__ == "__main__":
    rig = Rig()
    rig.run(lambda: np.concatenate([rendered(rig, labels) for labels in rig.parts()]))

"""horama's ``fourier``, one image at a time. Its ``maco`` downloads a spectrum when it runs."""

import inspect

import torch
from _rig import Rig
from horama import fourier

DEFAULTS = {key: value.default for key, value in inspect.signature(fourier).parameters.items()}


def image_of(rig, label):
    crops = rig.options.get("crops", DEFAULTS["crops_per_iteration"])
    steps = DEFAULTS["total_steps"] if rig.n_passes is None else round(rig.n_passes / crops)
    image, _ = fourier(
        lambda images: rig.classifier(images)[:, label].mean(),
        total_steps=steps,
        image_size=rig.side(DEFAULTS["image_size"]),
        model_input_size=rig.shape[1],
        values_range=(0.0, 1.0),
        crops_per_iteration=crops,
        box_size=rig.options.get("box_size", DEFAULTS["box_size"]),
        device="cpu",
    )
    return torch.nan_to_num(image.detach())


if __name__ == "__main__":
    rig = Rig()
    rig.run(lambda: torch.stack([image_of(rig, label) for label in rig.labels]))

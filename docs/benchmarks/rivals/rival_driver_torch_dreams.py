"""torch-dreams' ``Dreamer.render``, in its batches."""

import inspect

import torch
from _rig import Rig
from torch_dreams import Dreamer
from torch_dreams.batched_image_param import BatchedAutoImageParam
from torch_dreams.batched_objective import BatchedObjective
from torch_dreams.constants import Constants

DEFAULTS = inspect.signature(Dreamer.render).parameters


class Denormalised(torch.nn.Module):
    """It feeds all networks by the moments of ImageNet: back to [0, 1]."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images):
        mean, std = Constants.imagenet_mean, Constants.imagenet_std
        return self.classifier(images * std[:, None, None] + mean[:, None, None])


def objective_of(label):
    return lambda outputs: -outputs[0][0, label]


def render(rig, dreamer):
    side = rig.side(DEFAULTS["width"].default)
    images = []
    for labels in rig.parts():
        result = dreamer.render(
            layers=[rig.classifier.logits],
            image_parameter=BatchedAutoImageParam(len(labels), side, side, device="cpu"),
            iters=rig.n_passes or DEFAULTS["iters"].default,
            custom_func=BatchedObjective([objective_of(label) for label in labels]),
        )
        images += [parameter.to_chw_tensor() for parameter in result.image_params]
    return torch.stack(images)


if __name__ == "__main__":
    rig = Rig()
    dreamer = Dreamer(Denormalised(rig.classifier), quiet=True, device="cpu")
    rig.run(lambda: render(rig, dreamer))

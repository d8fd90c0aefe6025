"""imstack's stack of images in a plain loop: the package has the image, and no loop of its own.

Adam with the learning rate and the weight decay of its README.
"""

import torch
from _rig import Rig
from imstack.core import ImStack


def optimised(rig, labels):
    side = rig.shape[1]
    # A largest layer of just the image's size: 28 to 224 pixels in four layers, 7 to 28 in three.
    layers = {"n_layers": 4, "base_size": side // 8}
    if side % 8:
        layers = {"n_layers": 3, "base_size": side // 4}
    stacks = [ImStack(out_size=side, **layers) for _ in labels]
    parameters = [layer for stack in stacks for layer in stack.layers]
    optimizer = torch.optim.Adam(parameters, lr=0.1, weight_decay=1e-4)
    for _ in range(rig.n_passes):
        optimizer.zero_grad()
        logits = rig.classifier(torch.cat([stack() for stack in stacks]))
        torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum").backward()
        optimizer.step()
    return torch.cat([stack().detach() for stack in stacks])


if __name__ == "__main__":
    rig = Rig()
    rig.run(lambda: torch.cat([optimised(rig, labels) for labels in rig.parts()]))

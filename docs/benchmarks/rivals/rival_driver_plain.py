"""The loop that anybody would write: Adam on pixels, cross-entropy, values clamped."""

import torch
from _rig import Rig

N_STEPS, LEARNING_RATE = 100, 0.05


def optimised(rig, labels):
    images = (0.5 + 0.01 * torch.randn(len(labels), *rig.shape)).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=LEARNING_RATE)
    for _ in range(rig.n_passes or N_STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            rig.classifier(images), torch.tensor(labels), reduction="sum"
        )
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    return images.detach()


if __name__ == "__main__":
    rig = Rig()
    rig.run(lambda: torch.cat([optimised(rig, labels) for labels in rig.parts()]))

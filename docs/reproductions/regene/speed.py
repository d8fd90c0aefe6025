"""Speed of ReGene against bare torch over the same nets and rows, in the same run.

Processor time of one thread is what counts, for the machine may be shared. The floor has ReGene's
memory format and batch size.

``python docs/reproductions/regene/speed.py``; needs mlxtend.
"""

import numpy as np
import torch
from _common import Lab, Stopwatch, arguments, summary, write

from skinvert.models.decoder_loss import DecoderLoss
from skinvert.models.decoders import make_decoder
from skinvert.models.decoding import train_decoder
from skinvert.models.schedules import Phase
from skinvert.models.training import local_seed

N_IMAGES, N_REPEATS = 10_000, 5
WEIGHTS = {"mae_weight": 1.0, "ssim_weight": 1.0, "perceptual_weight": 0.0,
           "class_weight": 0.03, "cycle_weight": 0.05}  # fmt: skip


def seconds(function):
    with Stopwatch() as watch:
        function()
    return watch.cpu


def generation(regene, y):
    """Seconds of generate, and of the bare decoder and one classifier pass in its batches."""
    latents = torch.from_numpy(regene.latents_[np.arange(N_IMAGES) % len(regene.latents_)])
    size = regene._resolved_batch_size()

    def bare():
        with torch.no_grad():
            for batch in latents.split(size):
                regene.classifier_(regene.decoder_(batch))

    return seconds(lambda: regene.generate(y)), seconds(bare)


def training(regene, X, columns, n_epochs=3):
    """Seconds of so many epochs of the decoder through skorch, and in a bare loop."""
    images = X.reshape(-1, 1, 28, 28)

    def decoder():
        return make_decoder("conv", 128, X, image_shape=(1, 28, 28))[0]

    def ours():
        train_decoder(
            decoder(), regene.encoder_, regene.latents_, images, columns, np.arange(len(X)),
            scale=np.float32(1), schedule=(Phase(n_epochs),), weights=WEIGHTS,
        )  # fmt: skip

    def bare():
        net = decoder().train().to(memory_format=torch.channels_last)
        loss = DecoderLoss(regene.encoder_, **WEIGHTS)
        optimizer = torch.optim.Adam(net.parameters())
        z, x, c = (torch.from_numpy(part) for part in (regene.latents_, images, columns))
        with local_seed(0):
            for _ in range(n_epochs):
                for rows in torch.randperm(len(z)).split(64):
                    optimizer.zero_grad()
                    loss(net(z[rows]), x[rows], c[rows], z[rows]).backward()
                    optimizer.step()

    return seconds(ours), seconds(bare)


def main():
    flags = arguments(__doc__)
    lab = Lab(flags, 0)
    X, y = lab.X, lab.y
    regene, _ = lab.fitted()
    asked = np.arange(N_IMAGES) % 10
    rows = []
    for name, measure in (
        ("generate, 10,000 images", lambda: generation(regene, asked)),
        ("decoder training, 3 epochs", lambda: training(regene, X, y)),
    ):
        measure()  # the first call of anything is slow
        pairs = [measure() for _ in range(N_REPEATS)]
        ours, bare = zip(*pairs, strict=True)
        ratios = [one / other for one, other in pairs]
        rows.append([name, summary(ours, 2), summary(bare, 2), summary(ratios, 2)])
    write(
        "speed",
        f"ReGene against bare torch ({flags.data})",
        ["what", "s", "bare s", "ratio, run by run"],
        rows,
        flags,
    )


if __name__ == "__main__":
    main()

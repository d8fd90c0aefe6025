"""ReGene against a class-conditional VAE and a Gaussian mixture per class, trained in equal time.

The VAE has the decoder of ReGene and an encoder like the small classifier; it is trained for as
many seconds of one thread's processor time as ReGene's fit took, its classifier included.
``python docs/reproductions/regene/rivals.py``.
"""

import sys
import time
from pathlib import Path

import torch
from _common import Lab, Stopwatch, arguments, balanced, summary, write
from torch import nn

from skinvert.models.decoders import ConvDecoder
from skinvert.models.training import local_seed

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "judging"))
from _references import MixturePerClass

N_IMAGES = 200  # a class
N_HIDDEN = 20


class ConditionalVAE(nn.Module):
    """Kingma and Welling's VAE with the label beside image and code; Bernoulli pixels."""

    def __init__(self, n_classes=10):
        super().__init__()
        self.n_classes = n_classes
        self.encoder = nn.Sequential(
            nn.Conv2d(1 + n_classes, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 2 * N_HIDDEN),
        )  # fmt: skip
        self.decoder = ConvDecoder(N_HIDDEN + n_classes, (1, 28, 28))

    def loss(self, images, labels):
        """Negative evidence lower bound, in nats an image."""
        label = nn.functional.one_hot(labels, self.n_classes).float()
        maps = label[:, :, None, None].expand(-1, -1, 28, 28)
        mean, log_variance = self.encoder(torch.cat([images, maps], 1)).chunk(2, 1)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        decoded = self.decoder(torch.cat([code, label], 1))
        error = nn.functional.binary_cross_entropy(decoded, images, reduction="none")
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return (error.flatten(1).sum(1) + divergence.sum(1)).mean()

    def generate(self, y, random_state=0):
        label = nn.functional.one_hot(torch.from_numpy(y), self.n_classes).float()
        noise = torch.Generator().manual_seed(random_state)
        code = torch.randn(len(y), N_HIDDEN, generator=noise)
        with torch.no_grad():
            parts = torch.cat([code, label], 1).split(256)
            return torch.cat([self.decoder(part) for part in parts]).numpy().reshape(-1, 784)


def train_vae(lab, seconds):
    """A VAE that had so many seconds of processor time."""
    with local_seed(lab.seed):
        vae = ConditionalVAE().to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        images, labels = torch.from_numpy(lab.X).reshape(-1, 1, 28, 28), torch.from_numpy(lab.y)
        end = time.process_time() + seconds
        while time.process_time() < end:
            for rows in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                vae.loss(images[rows], labels[rows]).backward()
                optimizer.step()
    return vae.eval().requires_grad_(False)


def main():
    flags = arguments(__doc__)
    settings = (5, 100) if flags.data == "fashion" else (3, 80)
    found = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        regene, spent = lab.fitted()
        with Stopwatch() as watch:
            mixture = MixturePerClass(*settings).fit(lab.X, lab.y)
        makers = {
            "ReGene, convex_matched": (regene.set_params(sampler="convex_matched"), spent),
            "conditional VAE": (train_vae(lab, spent), spent),
            "GaussianMixture({}) on PCA({})".format(*settings): (mixture, watch.cpu),
        }
        for name, (maker, seconds) in makers.items():
            images = maker.generate(balanced(N_IMAGES), random_state=seed)
            figures = lab.quality(images, balanced(N_IMAGES)) | {"fit seconds": seconds}
            found.setdefault(name, []).append(figures)
            print(seed, name, figures, flush=True)
    keys = list(found["conditional VAE"][0])
    rows = [
        [name, *[summary([one[key] for one in ones]) for key in keys]]
        for name, ones in found.items()
    ]
    write("rivals", f"Rivals in equal time ({flags.data})", ["", *keys], rows, flags)


if __name__ == "__main__":
    main()

"""ReGene against a class-conditional VAE and a Gaussian mixture per class, trained in equal time.

The VAE has the decoder of ReGene and an encoder like the small classifier; it is trained for as
many seconds as ReGene's fit took. ``python docs/reproductions/regene/rivals.py``.
"""

import time

import numpy as np
import torch
from _common import Lab, Stopwatch, arguments, balanced, summary, write
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch import nn

from skinvert.models.decoders import ConvDecoder
from skinvert.models.training import local_seed

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
    """A VAE that had so many seconds."""
    with local_seed(lab.seed):
        vae = ConditionalVAE()
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        images, labels = torch.from_numpy(lab.X).reshape(-1, 1, 28, 28), torch.from_numpy(lab.y)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for rows in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                vae.loss(images[rows], labels[rows]).backward()
                optimizer.step()
    return vae.eval().requires_grad_(False)


class MixturePerClass:
    """A Gaussian mixture for each class on principal components of the pixels."""

    def __init__(self, X, y, n_components, n_dims):
        self.pca = PCA(n_dims, random_state=0).fit(X)
        points = self.pca.transform(X).astype(np.float64)
        self.mixtures = [
            GaussianMixture(n_components, reg_covar=1e-3, random_state=0).fit(points[y == c])
            for c in range(10)
        ]

    def generate(self, y, random_state=0):
        rows = np.zeros((len(y), 784), dtype=np.float32)
        for c, mixture in enumerate(self.mixtures):
            mixture.random_state = random_state
            rows[y == c] = self.pca.inverse_transform(mixture.sample((y == c).sum())[0])
        return rows.clip(0, 1)


def main():
    flags = arguments(__doc__)
    settings = (5, 100) if flags.data == "fashion" else (3, 80)
    found = {}
    for seed in range(flags.seeds):
        lab = Lab(flags, seed)
        with Stopwatch() as watch:
            regene = lab.regene(sampler="convex_matched").fit(lab.X, lab.y)
        makers = {
            "ReGene, convex_matched": regene,
            "conditional VAE": train_vae(lab, watch.wall),
            "GaussianMixture{} on PCA({})".format(*settings): MixturePerClass(
                lab.X, lab.y, *settings
            ),
        }
        for name, maker in makers.items():
            images = maker.generate(balanced(N_IMAGES), random_state=seed)
            figures = lab.quality(images, balanced(N_IMAGES)) | {"fit seconds": watch.wall}
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

"""A class-conditional variational autoencoder, trained for a given time."""

import time

import numpy as np
import torch
from torch import nn

from skinvert.models.decoders import ConvDecoder
from skinvert.models.training import local_seed

N_HIDDEN = 20


class ConditionalVAE:
    """Kingma and Welling 2014, with the label beside image and code; Bernoulli pixels.

    Parameters
    ----------
    seconds : float
        Processor time of its training.
    seed : int
    """

    def __init__(self, seconds, seed):
        self.seconds, self.seed = seconds, seed

    def fit(self, X, y):
        images, label = self._planes(X, y)
        with local_seed(self.seed):
            self.encoder = nn.Sequential(
                nn.Conv2d(11, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 2 * N_HIDDEN),
            )  # fmt: skip
            self.decoder = ConvDecoder(N_HIDDEN + 10, (1, 28, 28))
            parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
            optimizer = torch.optim.Adam(parameters, lr=1e-3)
            end = time.process_time() + self.seconds
            while time.process_time() < end:
                for rows in torch.randperm(len(images)).split(64):
                    optimizer.zero_grad()
                    self._loss(images[rows], label[rows]).backward()
                    optimizer.step()
                    if time.process_time() > end:
                        break
        self.decoder.eval()
        return self

    def _planes(self, X, y):
        label = nn.functional.one_hot(torch.from_numpy(np.asarray(y)).long(), 10).float()
        return torch.from_numpy(X).float().reshape(-1, 1, 28, 28), label

    def _loss(self, images, label):
        """Negative evidence lower bound, in nats an image."""
        maps = label[:, :, None, None].expand(-1, -1, 28, 28)
        mean, log_variance = self.encoder(torch.cat([images, maps], 1)).chunk(2, 1)
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        decoded = self.decoder(torch.cat([code, label], 1))
        error = nn.functional.binary_cross_entropy(decoded, images, reduction="sum")
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return (error + divergence) / len(images)

    def generate(self, y):
        label = nn.functional.one_hot(torch.from_numpy(y), 10).float()
        noise = torch.Generator().manual_seed(self.seed)
        code = torch.randn(len(y), N_HIDDEN, generator=noise)
        with torch.no_grad():
            parts = torch.cat([code, label], 1).split(256)
            return torch.cat([self.decoder(part) for part in parts]).numpy().reshape(len(y), -1)

"""What every rank runs: decoder, autoencoder and flow on digits, and what became of them.

Started by torchrun with the file for results as argument, or imported to train in one process.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from skinvert import InvertibleFlowClassifier, ReGene
from skinvert.models import ranks, resuming
from skinvert.models.autoencoder import train_autoencoder
from skinvert.models.schedules import Phase


def digits():
    """An odd number of rows, so that batches are dealt unevenly."""
    X, y = load_digits(return_X_y=True)
    return (X[:151] / 16).astype(np.float32), y[:151]


def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(384, 10)
        ).eval()


def train_all(folder):
    """Losses by network, and a hash of all weights."""
    X, y = digits()
    decoding = ReGene(
        classifier(),
        image_shape=(8, 8),
        decoder_batch_size=50,
        schedule=[Phase(3)],
        perceptual_weight=0.5,
        adversarial_weight=0.1,
        random_state=0,
        checkpoint=folder / "decoder.pt",
    ).fit(X, y)
    _, codes, loss = train_autoencoder(X, None, n_latents=6, width=16, n_epochs=3, seed=0)
    # Convolutions for two steps only: Adam then finds a kink of a ReLU to enlarge the rounding at.
    _, _, first_loss = train_autoencoder(
        X, (1, 8, 8), n_latents=6, width=16, n_epochs=1, batch_size=80, seed=0
    )
    flow = InvertibleFlowClassifier(
        architecture="square",
        objective="mle",
        n_blocks=2,
        max_epochs=12,
        training_batch_size=48,
        linear="bounded",
        learning_rate=0.01,
        patience=2,
        random_state=0,
        checkpoint=folder / "flow.pt",
    ).fit(X, y)
    losses = {f"decoder {name}": values for name, values in decoding.history_.items()}
    losses |= {"autoencoder": loss, "convolutional autoencoder": first_loss}
    losses |= {f"flow {name}": values for name, values in flow.history_.items()}
    digest = hashlib.sha256(codes.numpy().tobytes())
    for network in (decoding.decoder_, flow.network_):
        for value in network.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
    losses = {name: np.asarray(values).tolist() for name, values in losses.items()}
    return {"losses": losses, "weights": digest.hexdigest()}


def main(results):
    torch.set_num_threads(1)
    if "accelerate" in sys.argv:
        from accelerate import PartialState

        PartialState(cpu=True)
    written, write = [], resuming.write_atomically
    resuming.write_atomically = lambda path, content: written.append(1) or write(path, content)
    with ranks.data_parallel() as here:
        found = train_all(results)
        found["written"] = len(written)
        if "seeds" in sys.argv:
            ReGene(classifier(), n_epochs=1, random_state=here.rank).fit(*digits())
    (results / f"{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

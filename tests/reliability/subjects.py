"""One small setting of every method, for these tests and for docs/benchmarks/reliability."""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_iris
from torch import nn

import skinvert

SETTINGS = {
    "InputOptimizationGenerator": {"prior": "mean", "init": "noise", "n_steps": 4},
    "DeepInversion": {"n_steps": 4},
    "ImagineSynthesizer": {"n_steps": (3, 2)},
    "CoupledDreamer": {"n_steps": 4, "n_epochs": 4, "width": 8},
    "ReGene": {"n_epochs": 4, "threshold": None, "decoder_width": 8},
    "InvertibleFlowClassifier": {
        "architecture": "coupling",
        "max_epochs": 6,
        "n_components": 8,
        "augmentation": None,
    },
}
METHODS = tuple(SETTINGS)
COMMON = {"batch_size": 4, "random_state": 0, "device": "cpu"}


def data(kind="image", n_rows=100):
    """Rows and labels: digits 0 to 2 in [0, 1], or irises."""
    if kind == "image":
        X, y = load_digits(n_class=3, return_X_y=True)
    else:
        X, y = (part[::2] for part in load_iris(return_X_y=True))
    chosen = np.random.default_rng(0).permutation(len(X))[:n_rows]
    return (X / X.max()).astype(np.float32)[chosen], y[chosen]


def network(kind="image"):
    """A small trained network with batch normalisation, as a user has it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "image":
            net = nn.Sequential(
                nn.Conv2d(1, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(384, 3),
            )
        else:
            net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        X, y = (torch.from_numpy(part) for part in data(kind))
        X = X.reshape(-1, 1, 8, 8) if kind == "image" else X
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X), y.long()).backward()
            optimizer.step()
    net.zero_grad()
    return net.eval()


def make(name, classifier=None, kind="image", **arguments):
    """An unfitted estimator; flows have no classifier."""
    settings = COMMON | SETTINGS[name]
    if name != "InvertibleFlowClassifier":
        settings = settings | {"classifier": classifier}
        if name == "ImagineSynthesizer" and kind != "image" and classifier is not None:
            settings["layers"] = ["0", "2"]
    return getattr(skinvert, name)(**(settings | arguments))

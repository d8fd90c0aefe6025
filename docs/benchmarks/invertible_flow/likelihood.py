"""Bits per dimension, out-of-distribution detection, and what the log-determinant costs.

``python docs/benchmarks/invertible_flow/likelihood.py {mnist_5k,fashion} [--tune] [--only bits]``:
uniform dequantisation, all Jacobians, on test rows (``--tune``: the tune rows, and no committed
file). Each figure is printed as it comes. A masked autoregressive flow of zuko, where that is
installed, is trained on the same rows in the same units.
"""

import argparse

import numpy as np
import torch
from _shared import N_SAMPLES, _common, load, write
from sklearn.metrics import roc_auc_score

from skinvert.invertible import InvertibleFlowClassifier
from skinvert.models.training import local_seed

# No noise and no views: what is told is the density of the data as they are.
TIGHT = {"noise": 0.0, "logit": 1e-6, "augmentation": None, "random_state": 0}
FLOWS = {
    "square": {"architecture": "square"},
    "sliced": {"n_blocks": 4, "n_mixture": 15},
    "coupling": {
        "architecture": "coupling",
        "coupled": "pixels",
        "noise": "auto",
        "logit": None,
        "learning_rate": 2e-3,
        "training_batch_size": 64,
    },
}
EPOCHS = {"mnist_5k": {"coupling": 20}, "fashion": {"coupling": 3, "square": 10}}
N_JUDGED = 2_000
BASE = {
    "architecture": "square",
    "noise": 0.02,
    "augmentation": None,
    "class_covariances": "identity",
    "warm_start": True,
    "cooldown": 0.0,
    "random_state": 0,
}


class Autoregressive:
    """zuko's MAF with the class as its context, on logits in standard units."""

    def __init__(self, n_epochs, alpha=1e-6):
        self.n_epochs, self.alpha = n_epochs, alpha

    def fit(self, X, y):
        import zuko

        generator = torch.Generator().manual_seed(0)
        with local_seed(0):
            self.flow = zuko.flows.MAF(784, 10, transforms=3, hidden_features=(256, 256))
            optimizer = torch.optim.Adam(self.flow.parameters(), lr=1e-3)
            rows, label = torch.from_numpy(X), torch.eye(10)[torch.from_numpy(y).long()]
            logits = self._logits(rows, generator)[0]
            self.mean, self.scale = logits.mean(), logits.std()
            for epoch in range(self.n_epochs):
                for group in optimizer.param_groups:
                    group["lr"] = 1e-3 * min(1.0, 2 * (1 - epoch / self.n_epochs))
                for some in torch.randperm(len(rows), generator=generator).split(128):
                    v = (self._logits(rows[some], generator)[0] - self.mean) / self.scale
                    loss = -self.flow(label[some]).log_prob(v).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 100.0)
                    optimizer.step()
        self.log_prior = torch.log(label.mean(0))
        return self

    def _logits(self, rows, generator):
        u = ((255 * rows).round() + torch.rand(rows.shape, generator=generator)) / 256
        u = self.alpha + (1 - 2 * self.alpha) * u.double()
        slope = np.log(1 - 2 * self.alpha) - u.log() - (-u).log1p()
        return torch.logit(u).float(), slope.sum(1)

    def score_samples(self, X):
        """log p(x) of rows in [0, 1] spread over cells of 1/256."""
        logits, slope = self._logits(torch.from_numpy(X), torch.Generator().manual_seed(1))
        v = (logits - self.mean) / self.scale
        with torch.no_grad():
            joint = torch.stack(
                [
                    self.flow(row.expand(len(v), -1)).log_prob(v) + prior
                    for row, prior in zip(torch.eye(10), self.log_prior, strict=True)
                ],
                dim=1,
            )
        density = torch.logsumexp(joint, 1).double() + slope - 784 * torch.log(self.scale.double())
        return density.numpy()

    def bits_per_dim(self, X):
        return 8 - self.score_samples(X) / 784 / np.log(2)


def candidates(name):
    for label, settings in FLOWS.items():
        flow = InvertibleFlowClassifier(**(TIGHT | settings))
        yield label, flow.set_params(max_epochs=EPOCHS[name].get(label, "auto"))
    try:
        import zuko  # noqa: F401
    except ImportError:
        return
    yield "zuko's MAF", Autoregressive(20 if name == "mnist_5k" else 5)


def likelihoods(name, parts, others, judged_on):
    rows = []
    X = parts[judged_on][0][:N_JUDGED]
    for label, flow in candidates(name):
        with _common.Stopwatch() as watch:
            flow.fit(*parts["train"])
        inside, outside = flow.score_samples(X), flow.score_samples(others)
        truth = np.repeat([1, 0], [len(inside), len(outside)])
        area = roc_auc_score(truth, np.concatenate([inside, outside]))
        bits = flow.bits_per_dim(X)
        error = bits.std() / np.sqrt(len(bits))
        rows.append(
            [label, f"{bits.mean():.2f}", f"{error:.2f}", f"{area:.3f}", f"{watch.cpu:.0f}"]
        )
        print(rows[-1], flush=True)
    return rows


def epoch_cost(parts):
    """Seconds of an epoch of the Base network with and without log-determinant."""
    seconds = {}
    for label, settings in {
        "free, no log-determinant": {"objective": "kl", "max_condition": 1e12},
        "bounded, likelihood": {},
        "free, likelihood": {"linear": "free", "max_condition": 1e12},
    }.items():
        times = []
        flow = InvertibleFlowClassifier(**(BASE | settings))
        # The first epoch's call builds the network; only the two after it are told.
        for n_epochs in (1, 3):
            with _common.Stopwatch() as watch:
                flow.set_params(max_epochs=n_epochs).fit(*parts["train"])
            times.append(watch.cpu)
        seconds[label] = times[1] / 2
    plain = seconds["free, no log-determinant"]
    return [[label, f"{value:.1f}", f"{value / plain:.2f}"] for label, value in seconds.items()]


def main(name, tune, only):
    parts, judged_on = load(name), "tune" if tune else "test"
    other = "fashion" if name == "mnist_5k" else "mnist_5k"
    trial = "_trial" if tune else ""
    if only != "epoch":
        write(
            f"bits_{name}{trial}",
            f"Bits per dimension: {name}",
            ["flow", "bits/dim", "standard error", f"AUROC against {other}", "fit s"],
            likelihoods(name, parts, load(other)[judged_on][0][:1000], judged_on),
            notes=[
                f"One seed; the first {N_JUDGED} rows of the part, fewer where it has fewer; "
                "seconds of processor time. A likelihood can be larger on images of another kind."
            ],
        )
    if only != "bits":
        write(
            f"epoch_{name}{trial}",
            f"One epoch of the Base network: {name}",
            ["layers and objective", "s", "relative"],
            epoch_cost(parts),
            notes=["Processor time of the second and third epoch, a half of it."],
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(N_SAMPLES))
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--only", choices=["bits", "epoch"])
    arguments = parser.parse_args()
    main(arguments.data, arguments.tune, arguments.only)

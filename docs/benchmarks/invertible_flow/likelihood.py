"""Bits per dimension, out-of-distribution detection, and what the log-determinant costs.

``python docs/benchmarks/invertible_flow/likelihood.py {mnist_5k,fashion} [--quick]``: uniform
dequantisation, all Jacobians, on the test rows (``--quick``: the tune rows, and short training).
"""

import argparse

import numpy as np
from _shared import N_SAMPLES, _common, load, write
from sklearn.metrics import roc_auc_score

from skinvert.invertible import InvertibleFlowClassifier

# Little noise and no views: what is told is the density of the data as they are.
TIGHT = {"noise": 0.02, "augmentation": None, "random_state": 0}
FLOWS = {
    "square": {"architecture": "square", "max_condition": 1e4},
    "sliced": {"n_blocks": 6, "n_components": 200},
    "coupling": {"architecture": "coupling", "n_components": 400, "hidden_size": 512},
}
BASE = {"architecture": "square", "noise": 0.02, "augmentation": None, "random_state": 0}


def likelihoods(parts, others, judged_on, quick):
    rows = []
    for label, settings in FLOWS.items():
        flow = InvertibleFlowClassifier(**(TIGHT | settings))
        if quick and label != "sliced":
            flow.set_params(max_epochs=3)
        with _common.Stopwatch() as watch:
            flow.fit(*parts["train"])
        inside = flow.score_samples(parts[judged_on][0])
        outside = flow.score_samples(others)
        truth = np.repeat([1, 0], [len(inside), len(outside)])
        area = roc_auc_score(truth, np.concatenate([inside, outside]))
        bits = flow.bits_per_dim(parts[judged_on][0]).mean()
        rows.append([label, f"{bits:.2f}", f"{area:.3f}", f"{watch.wall:.0f}"])
        print(rows[-1], flush=True)
    return rows


def epoch_cost(parts):
    """Seconds of an epoch of the Base network with and without log-determinant."""
    seconds = {}
    for label, settings in {
        "free, no log-determinant": {"objective": "kl", "max_condition": 1e12},
        "bounded, likelihood": {"objective": "mle"},
        "free, likelihood": {"objective": "mle", "linear": "free", "max_condition": 1e12},
    }.items():
        times = []
        flow = InvertibleFlowClassifier(**(BASE | settings | {"warm_start": True, "cooldown": 0.0}))
        # The first epoch's call builds the network; only the two after it are told.
        for n_epochs in (1, 3):
            with _common.Stopwatch() as watch:
                flow.set_params(max_epochs=n_epochs).fit(*parts["train"])
            times.append(watch.wall)
        seconds[label] = times[1] / 2
    plain = seconds["free, no log-determinant"]
    return [[label, f"{value:.1f}", f"{value / plain:.2f}"] for label, value in seconds.items()]


def main(name, quick):
    parts, judged_on = load(name), "tune" if quick else "test"
    other = "fashion" if name == "mnist_5k" else "mnist_5k"
    others = load(other)[judged_on][0][:1000]
    trial = "_trial" if quick else ""
    write(
        f"bits_{name}{trial}",
        f"Bits per dimension: {name}",
        ["flow", "bits/dim", f"AUROC against {other}", "fit s"],
        likelihoods(parts, others, judged_on, quick),
        notes=["One seed. A likelihood can be larger on images of another kind (see the guide)."],
    )
    write(
        f"epoch_{name}{trial}",
        f"One epoch of the Base network: {name}",
        ["layers and objective", "s", "relative"],
        epoch_cost(parts),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(N_SAMPLES))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    main(arguments.data, arguments.quick)

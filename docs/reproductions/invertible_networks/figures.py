"""Figures 1 to 13 of "Inverting MNIST Neural Networks for Image Generation", beside the repair.

``python docs/reproductions/invertible_networks/figures.py [--epochs 10 50 100 500] [--quick]``
trains the paper's three models once, as a warm start from one number of epochs to the next, with
``objective="paper"`` and with ``objective="mle"``, on the 2,000 training rows of MNIST-5k, and
draws from the 1,000 test rows. Small and NoActivations, which the repair is not about, get no more
than 100 epochs of the likelihood. ``--keep FOLDER`` stores what each model yields and takes it from
there the next time. ``--quick`` is a trial with 2 and 4 epochs that draws from the tune rows and
writes no committed file.
"""

import argparse
import json
import os
import pickle
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "invertible_flow"))

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from _shared import _common

from skinvert.datasets import split_mnist_5k
from skinvert.invertible import InvertibleFlowClassifier
from skinvert.metrics import NeutralJudge

OUT = Path(__file__).parent
MODELS = {"Base": {}, "Small": {"n_blocks": 1}, "NoActivations": {"activation": False}}
OBJECTIVES = ("paper", "mle")
PERTURBATION = 1e-3
NARROW = 20.0  # a max_condition that holds the repaired Base to where it starts
MOST_EPOCHS = {("Small", "mle"): 100, ("NoActivations", "mle"): 100}
N_JUDGED = 1000


def make(model, objective, **settings):
    """One of the paper's models; the objectives differ by the log-determinant.

    With a likelihood come the estimator's own answers to the other two faults: class means that
    are learned, and noise.
    """
    return InvertibleFlowClassifier(
        "square",
        objective,
        "label_line" if objective == "paper" else "learned",
        cooldown=0.0,
        warm_start=True,
        random_state=0,
        **MODELS[model],
        **settings,
    )


def train(model, objective, stages, parts, judged_on, judge, **settings):
    """What the figures show of a model after each stage, and its reports at epochs between."""
    (rows, y), (X_test, y_test) = parts["train"], parts[judged_on]
    most = MOST_EPOCHS.get((model, objective), max(stages))
    between = np.unique(np.geomspace(1, max(stages), 12).round().astype(int)).tolist()
    flow, curve, seen = make(model, objective, **settings), [], {}
    for n_epochs in sorted({*stages, *between}):
        if n_epochs > most:
            break
        # The spreads are fitted after training and change nothing in it.
        fits = "auto" if n_epochs in stages else "identity"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            flow.set_params(max_epochs=n_epochs, class_covariances=fits).fit(rows, y)
        report = flow.diagnose(X_test[:100], y_test[:100])
        found = entry(n_epochs, report)
        if n_epochs in stages:
            asked = np.tile(np.arange(10), N_JUDGED // 10)
            found["accuracy"] = flow.score(X_test, y_test)
            found["judged"] = judge.score(flow.generate(asked), asked)
            seen[n_epochs] = portrait(flow, X_test, y_test)
        curve.append(found)
        print(model, objective, found, flush=True)
    return curve, seen, flow.history_["train_loss"]


def train_all(stages, parts, judged_on, keep):
    judge = NeutralJudge(random_state=0, device="cpu").fit(*parts["judge"])
    kept, curves = {}, {}
    for objective in OBJECTIVES:
        for model in MODELS:
            found = stored(
                keep and keep / f"{model}_{objective}.pkl",
                lambda names=(model, objective): train(*names, stages, parts, judged_on, judge),
            )
            curve, seen, kept[model, objective, "history"] = found
            kept |= {(model, objective, n_epochs): view for n_epochs, view in seen.items()}
            curves[f"{model}, {objective}"] = curve
    curve, *_ = stored(
        keep and keep / "Base_mle_narrow.pkl",
        lambda: train("Base", "mle", stages, parts, judged_on, judge, max_condition=NARROW),
    )
    curves[f"Base, mle, max_condition={NARROW:g}"] = curve
    return kept, curves


def stored(path, make_it):
    """What lies at a path, if one is given; made, and put there, the first time."""
    if path and path.exists():
        return pickle.loads(path.read_bytes())
    found = make_it()
    if path:
        path.write_bytes(pickle.dumps(found))
    return found


def entry(n_epochs, report):
    return {
        "epochs": n_epochs,
        "condition_numbers": report.condition_numbers,
        "round_trip_error": report.round_trip_error,
        "round_trip_error_float32": report.round_trip_error_float32,
        "perturbation_gain": report.perturbation_gain,
        "ks_distance": float(np.nanmean(report.ks_distance)),
        "ks_pass_rate": report.ks_pass_rate,
    }


def portrait(flow, X_test, y_test):
    """Everything that the figures show of a model at one stage."""
    four, seven = (X_test[y_test == label][:1] for label in (4, 7))
    latent = flow.transform(four)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=latent.shape)
    mean = flow.class_means_[7]
    return {
        "image": four,
        "latent": latent,
        "reconstruction": flow.inverse_transform(latent),
        "perturbed": flow.inverse_transform(latent + PERTURBATION * noise),
        "generated": flow.generate(np.arange(10)),
        "outputs": (flow.transform(seven) - mean + (14 if flow.class_means == "label_line" else 0)),
        "target": 14 if flow.class_means == "label_line" else 0,
    }


def save(figure, name):
    figure.savefig(OUT / f"{name}.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def pixels(axis, row, title=None, *, latent=False):
    limits = {} if latent else {"vmin": 0, "vmax": 1}
    axis.imshow(np.asarray(row).reshape(28, 28), cmap="gray", **limits)
    axis.set(xticks=[], yticks=[])
    if title:
        axis.set_title(title, fontsize=8)


def figures_1_to_4(kept):
    """Loss over epochs."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for axis, objective in zip(axes, OBJECTIVES, strict=True):
        for model in MODELS:
            loss = kept[model, objective, "history"]
            axis.plot(np.arange(1, len(loss) + 1), loss, label=model)
        axis.set(title=f"objective={objective!r}", xlabel="epoch", ylabel="loss", xscale="log")
    axes[0].set_yscale("log")
    axes[0].legend()
    save(figure, "figures_1_to_4")


def figures_5_to_8(kept, stages):
    """Image, output, reconstruction, and reconstruction after a perturbation, at every stage."""
    titles = ("image", "output", "reconstruction", f"output + {PERTURBATION:g}")
    names = ("image", "latent", "reconstruction", "perturbed")
    for number, n_epochs in enumerate(stages, start=5):
        figure, axes = plt.subplots(len(MODELS), 8, figsize=(11, 4.6))
        for row, model in zip(axes, MODELS, strict=True):
            for half, objective in enumerate(OBJECTIVES):
                seen = kept.get((model, objective, n_epochs))
                for axis, name, title in zip(row[4 * half :], names, titles, strict=False):
                    if seen is None:
                        axis.axis("off")
                    else:
                        pixels(axis, seen[name], title, latent=name == "latent")
            row[0].set_ylabel(model)
        figure.suptitle(f"{n_epochs} epochs: the paper's loss (left), the likelihood (right)")
        save(figure, f"figure_{number}")


def figure_9(kept, stages):
    """Noise through the inverse, at every stage."""
    figure, axes = plt.subplots(len(stages) * 2, 10, figsize=(9, 1.9 * len(stages)))
    lines = iter(axes)
    for n_epochs in stages:
        for objective in OBJECTIVES:
            row = next(lines)
            for axis, image in zip(
                row, kept["Base", objective, n_epochs]["generated"], strict=True
            ):
                pixels(axis, image)
            row[0].set_ylabel(f"{objective}\n{n_epochs}", rotation=0, ha="right", va="center")
    figure.suptitle("Base: noise around the means of 0 to 9, inverted")
    save(figure, "figure_9")


def figures_10_to_13(kept, stages):
    """The seven, and the distribution of its outputs beside the target's."""
    grid = np.linspace(-4, 4, 200)
    for number, model in enumerate(MODELS, start=11):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3))
        for axis, objective in zip(axes, OBJECTIVES, strict=True):
            target = kept[model, objective, stages[0]]["target"]
            normal = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
            axis.plot(grid + target, normal, "k--", label="target")
            for n_epochs in stages:
                if (model, objective, n_epochs) not in kept:
                    continue
                outputs = kept[model, objective, n_epochs]["outputs"].ravel()
                axis.hist(
                    outputs.clip(target - 6, target + 6),
                    bins=60,
                    density=True,
                    histtype="step",
                    label=f"{n_epochs} epochs",
                )
            axis.set(title=f"{model}, objective={objective!r}", xlabel="output of an image of a 7")
        axes[0].legend(fontsize=7)
        save(figure, f"figure_{number}")


def conditioning(curves):
    """What the paper does not show: why."""
    quantities = {
        "worst condition number": lambda entry: max(entry["condition_numbers"]),
        "float32 round trip, largest error": lambda entry: entry["round_trip_error_float32"],
        f"image moved by a latent {PERTURBATION:g}, RMS": lambda entry: entry["perturbation_gain"],
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axis, (title, value) in zip(axes, quantities.items(), strict=True):
        for name, curve in curves.items():
            style = "-" if "mle" in name else "--"
            values = np.minimum([value(entry) for entry in curve], 1e30)
            axis.loglog([entry["epochs"] for entry in curve], values, style, label=name)
        axis.set(title=title, xlabel="epoch")
    names = axes[0].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=4)
    save(figure, "conditioning")


def table(curves, stages):
    """The figures behind the pictures, at every stage."""
    header = [
        "model, objective", "epochs", "worst condition number", "round trip, float32",
        "round trip, float64", f"moved by {PERTURBATION:g}", "KS distance", "accuracy", "judged",
    ]  # fmt: skip
    rows = [
        [
            name,
            one["epochs"],
            f"{max(one['condition_numbers']):.2g}",
            f"{one['round_trip_error_float32']:.2g}",
            f"{one['round_trip_error']:.2g}",
            f"{one['perturbation_gain']:.2g}",
            f"{one['ks_distance']:.2f}",
            f"{one['accuracy']:.3f}",
            f"{one['judged']:.3f}",
        ]
        for name, curve in curves.items()
        for one in curve
        if one["epochs"] in stages
    ]
    notes = [
        "One seed. Errors are the largest of 100 rows' values, in units of the images; moved is "
        "the root mean square; judged is a neutral classifier's share of 1,000 samples that it "
        "takes for the class asked for."
    ]
    _common._write(OUT / "results", "stages", "The paper's models", header, rows, notes=notes)


def main(stages, judged_on, keep):
    parts = split_mnist_5k()
    kept, curves = train_all(stages, parts, judged_on, keep)
    figures_1_to_4(kept)
    figures_5_to_8(kept, stages)
    figure_9(kept, stages)
    figures_10_to_13(kept, stages)
    conditioning(curves)
    table(curves, stages)
    (OUT / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 50, 100, 500])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--quick", type=Path, metavar="FOLDER", help="where the trial's files go")
    arguments = parser.parse_args()
    if arguments.quick:
        OUT = arguments.quick
        main([2, 4], "tune", arguments.keep)
    else:
        main(sorted(arguments.epochs), "test", arguments.keep)

"""Accuracy, recognised samples, classification accuracy score, diversity and Fréchet distance.

``python docs/benchmarks/invertible_flow/quality.py {mnist_5k,fashion} [--seeds 3] [--quick]``.
Judges are trained on the judge rows; figures are taken on the test rows. The table is written
after every seed. ``--quick`` is a trial on the tune rows, with one seed and the sliced flow alone.
``--choose`` is how the sliced flow's settings on Fashion-MNIST were found: on the tune rows, by a
judge of the training rows.
"""

import argparse

import numpy as np
from _shared import N_SAMPLES, MixtureClassifier, _common, load, write
from _vae import ConditionalVAE

from skinvert import metrics
from skinvert.invertible import InvertibleFlowClassifier

FLOWS = {
    "mnist_5k": {
        "sliced": {},
        "coupling": {"architecture": "coupling"},
        "square, mle": {"architecture": "square", "max_epochs": 60, "augmentation": None},
        "square, ib": {"architecture": "square", "objective": "ib", "max_epochs": 20},
    },
    # Many rows allow for more axes; denoising takes some of the variety, and a little temperature
    # gives it back.
    "fashion": {
        "sliced": {"n_components": 250, "temperature": 1.1},
        "coupling": {"architecture": "coupling"},
        "square, mle": {"architecture": "square"},
    },
}
CHOICES = {"n_components": (80, 150, 250), "temperature": (1.0, 1.1, 1.2)}
CALIBRATION_BINS = 15


def calibration_error(probabilities, correct):
    """Expected calibration error over bins of equal width."""
    confidence = probabilities.max(1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        np.mean(bins == k) * abs(confidence[bins == k].mean() - correct[bins == k].mean())
        for k in np.unique(bins)
    ]
    return float(np.sum(gaps))


def frechet(judge, rows, real):
    return metrics.frechet_distance(judge.transform(rows), judge.transform(real))


def measure(model, parts, judged_on, judge, real_score, seed, n_samples):
    (X, y), (X_judged, y_judged) = parts["train"], parts[judged_on]
    with _common.Stopwatch() as fitting:
        model.fit(X, y)
    asked = np.tile(np.arange(10), n_samples // 10)
    with _common.Stopwatch() as generating:
        images = model.generate(asked)
    student = _common.plain_net(seed).fit(_common.as_images(images), asked)
    figures = {
        "judge": judge.score(images, asked),
        "CAS / real": _common.accuracy(student, X_judged, y_judged) / real_score,
        "diversity": metrics.relative_diversity(images, asked, X, y),
        "Fréchet": frechet(judge, images, X_judged),
        "new": metrics.authenticity(images[:1000], X),
        "fit s": fitting.cpu,
        "generate s": generating.cpu,
    }
    if hasattr(model, "score"):
        figures["accuracy"] = model.score(X_judged, y_judged)
    if hasattr(model, "predict_proba"):
        correct = model.predict(X_judged) == y_judged
        figures["calibration error"] = calibration_error(model.predict_proba(X_judged), correct)
    return figures


def one_seed(name, seed, parts, judged_on, models, quick):
    """Figures of every model, and of real rows: (accuracy, judge's accuracy, distance)."""
    judged = parts["train" if quick else "judge"]
    judge = metrics.NeutralJudge(random_state=seed, device="cpu").fit(*judged)
    X, y = parts["train"]
    real = _common.plain_net(seed).fit(_common.as_images(X), y)
    real_score = _common.accuracy(real, *parts[judged_on])
    floor = (
        real_score,
        judge.score(*parts[judged_on]),
        frechet(judge, X[: len(parts[judged_on][0])], parts[judged_on][0]),
    )
    found = {}
    for label, settings in models.items():
        flow = InvertibleFlowClassifier(random_state=seed, **settings)
        found[label] = measure(flow, parts, judged_on, judge, real_score, seed, N_SAMPLES[name])
        print(seed, label, found[label], flush=True)
    rivals = {
        "GaussianMixture(3) on PCA(80)": MixtureClassifier(),
        "conditional VAE, as long as sliced": ConditionalVAE(found["sliced"]["fit s"], seed),
    }
    for label, rival in rivals.items():
        found[label] = measure(rival, parts, judged_on, judge, real_score, seed, N_SAMPLES[name])
        print(seed, label, found[label], flush=True)
    return found, floor


NAMES = (
    "accuracy", "judge", "CAS / real", "diversity", "Fréchet", "new", "calibration error",
    "fit s", "generate s",
)  # fmt: skip


def main(name, n_seeds, quick):
    parts, judged_on = load(name), "tune" if quick else "test"
    models = {"sliced": FLOWS[name]["sliced"]} if quick else FLOWS[name]
    found, floor = {}, []
    for seed in range(1 if quick else n_seeds):
        figures, real = one_seed(name, seed, parts, judged_on, models, quick)
        floor.append(real)
        for label, values in figures.items():
            found.setdefault(label, []).append(values)
        report(name, found, floor, quick)


def choose(name):
    """Figures of the sliced flow on the tune rows for every choice, none of a net that judges."""
    parts = load(name)
    (X, y), (X_tune, y_tune) = parts["train"], parts["tune"]
    judge = metrics.NeutralJudge(random_state=0, device="cpu").fit(X, y)
    asked = np.tile(np.arange(10), 300)
    rows = []
    for n_components in CHOICES["n_components"]:
        flow = InvertibleFlowClassifier(n_components=n_components, random_state=0).fit(X, y)
        accuracy = flow.score(X_tune, y_tune)
        for temperature in CHOICES["temperature"]:
            images = flow.set_params(temperature=temperature).generate(asked)
            figures = judge.score(images, asked), frechet(judge, images, X_tune), accuracy
            rows.append([n_components, temperature, *(f"{figure:.3f}" for figure in figures)])
            print(rows[-1], flush=True)
    write(
        f"quality_{name}_choice",
        f"Choosing the sliced flow's settings: {name}",
        ["axes", "temperature", "judge", "Fréchet", "accuracy"],
        rows,
        notes=["Tune rows, one seed, 3,000 images; the judge learned from the training rows."],
    )


def report(name, found, floor, quick):
    rows = [
        [label, *[_cell([run.get(key) for run in runs]) for key in NAMES]]
        for label, runs in found.items()
    ]
    accuracy, judged, distance = (_common.summary(values) for values in zip(*floor, strict=True))
    rows.append(["real rows", accuracy, judged, "1", "1", distance, *["" for _ in NAMES[5:]]])
    write(
        f"quality_{name}{'_trial' if quick else ''}",
        f"Classifiers that generate: {name}",
        ["model", *NAMES],
        rows,
        notes=[
            f"Mean over {len(floor)} seeds (least to largest); {N_SAMPLES[name]} images; seconds "
            "of processor time.",
            "Real rows: accuracy of the plain CNN on the training rows, of the judge, and the "
            "Fréchet distance between training and judged rows.",
        ],
    )


def _cell(values):
    return "" if values[0] is None else _common.summary(values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=list(N_SAMPLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--choose", action="store_true")
    arguments = parser.parse_args()
    if arguments.choose:
        choose(arguments.data)
    else:
        main(arguments.data, arguments.seeds, arguments.quick)

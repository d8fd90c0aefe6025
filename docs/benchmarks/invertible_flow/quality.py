"""Accuracy, recognised samples, classification accuracy score, diversity and Fréchet distance.

``python docs/benchmarks/invertible_flow/quality.py {mnist_5k,fashion} [--seeds 3] [--quick]``.
Judges are trained on the judge rows; figures are taken on the test rows. ``--quick`` is a trial on
the tune rows, with one seed and the sliced flow alone.
"""

import argparse

import numpy as np
from _shared import N_SAMPLES, MixturePerClass, _common, load, write

from skinvert import metrics
from skinvert.invertible import InvertibleFlowClassifier

FLOWS = {
    "sliced": {},
    "sliced, temperature 0.9": {"temperature": 0.9},
    "coupling": {"architecture": "coupling"},
    "square, mle": {"architecture": "square", "max_epochs": 60, "augmentation": None},
    "square, ib": {"architecture": "square", "objective": "ib"},
}
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


def measure(model, parts, judged_on, judge, real_score, seed, n_samples):
    (X, y), (X_judged, y_judged) = parts["train"], parts[judged_on]
    with _common.Stopwatch() as fitting:
        model.fit(X, y)
    asked = np.tile(np.arange(10), n_samples // 10)
    with _common.Stopwatch() as generating:
        images = model.generate(asked)
    student = _common.plain_net(seed).fit(_common.as_images(images), asked)
    figures = {
        "accuracy": model.score(X_judged, y_judged),
        "judge": judge.accuracy(images, asked),
        "CAS / real": _common.accuracy(student, X_judged, y_judged) / real_score,
        "diversity": metrics.relative_diversity(images, asked, X, y),
        "Fréchet": judge.frechet(images, X_judged),
        "new": metrics.authenticity(images[:1000], X),
        "fit s": fitting.wall,
        "generate s": generating.wall,
    }
    if hasattr(model, "predict_proba"):
        correct = model.predict(X_judged) == y_judged
        figures["calibration error"] = calibration_error(model.predict_proba(X_judged), correct)
    return figures


def main(name, n_seeds, quick):
    parts, judged_on = load(name), "tune" if quick else "test"
    models = {"sliced": FLOWS["sliced"]} if quick else FLOWS
    found, floor = {}, []
    for seed in range(1 if quick else n_seeds):
        judge_rows = parts["train"] if quick else parts["judge"]
        judge = _common.Judge(*judge_rows, seed, _common.plain_net)
        real = _common.plain_net(seed).fit(_common.as_images(parts["train"][0]), parts["train"][1])
        real_score = _common.accuracy(real, *parts[judged_on])
        floor.append(
            (
                real_score,
                judge.accuracy(*parts[judged_on]),
                judge.frechet(parts["train"][0][: len(parts[judged_on][0])], parts[judged_on][0]),
            )
        )
        candidates = {
            **{
                label: InvertibleFlowClassifier(random_state=seed, **settings)
                for label, settings in models.items()
            },
            "GaussianMixture(3) on PCA(80)": MixturePerClass(seed),
        }
        for label, model in candidates.items():
            figures = measure(model, parts, judged_on, judge, real_score, seed, N_SAMPLES[name])
            print(seed, label, {key: round(value, 3) for key, value in figures.items()}, flush=True)
            found.setdefault(label, []).append(figures)
    names = list(next(iter(found.values()))[0])
    rows = [
        [label, *[_cell([run.get(key) for run in runs]) for key in names]]
        for label, runs in found.items()
    ]
    accuracy, judged, distance = (_common.summary(values) for values in zip(*floor, strict=True))
    rows.append(["real rows", accuracy, judged, "1", "1", distance, *["" for _ in names[5:]]])
    write(
        f"quality_{name}{'_trial' if quick else ''}",
        f"Classifiers that generate: {name}",
        ["model", *names],
        rows,
        notes=[
            f"Mean over {len(floor)} seeds (least to largest); {N_SAMPLES[name]} images.",
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
    arguments = parser.parse_args()
    main(arguments.data, arguments.seeds, arguments.quick)

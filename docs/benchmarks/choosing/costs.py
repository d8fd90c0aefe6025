"""What the methods cost with their defaults, for the page on choosing one.

    python docs/benchmarks/choosing/costs.py [method ...]

Processor time of one thread, which a busy machine changes little. Methods that are named are
measured and take the place of their rows in the table; without a name all are.
"""

import json
import sys
from functools import partial
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[1]))

from _report import write as _write

# The report sets the threads before numpy reads them.
# isort: split
import numpy as np
import torch
from sklearn.model_selection import train_test_split

import skinvert
from skinvert.datasets import load_digits_images

RESULTS = Path(__file__).parent / "results"
write = partial(_write, RESULTS)
N_IMAGES = 100
METHODS = {
    "InputOptimizationGenerator": skinvert.InputOptimizationGenerator,
    "the same, 100 steps": partial(
        skinvert.InputOptimizationGenerator,
        prior="gaussian",
        prior_weight=0.1,
        init="noise",
        n_steps=100,
        learning_rate=0.05,
    ),
    "InvertibleFlowClassifier": skinvert.InvertibleFlowClassifier,
    "ReGene": skinvert.ReGene,
    "DeepInversion": skinvert.DeepInversion,
    "ImagineSynthesizer": skinvert.ImagineSynthesizer,
    "CoupledDreamer": skinvert.CoupledDreamer,
    "the same, untrained": partial(skinvert.CoupledDreamer, generator="untrained"),
}


def measured(make, train, test):
    """Seconds of fit, seconds of N_IMAGES images, and the judge's accuracy on test rows."""
    estimator = make(random_state=0, device="cpu")
    times = [process_time()]
    estimator.fit(*train)
    times.append(process_time())
    images = estimator.generate(np.tile(estimator.classes_, N_IMAGES // 10))
    times.append(process_time())
    rows, y = images.reshape(N_IMAGES, -1), np.tile(estimator.classes_, N_IMAGES // 10)
    accuracy = skinvert.metrics.classification_accuracy_score(rows, y, *test)
    return [f"{np.diff(times)[0]:.1f}", f"{np.diff(times)[1]:.2f}", f"{accuracy:.3f}"]


def main():
    torch.set_num_threads(1)
    X, y = load_digits_images(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=500, stratify=y, random_state=0
    )
    stored = RESULTS / "costs.json"
    rows = (
        {row[0]: row for row in json.loads(stored.read_text())["rows"]} if stored.exists() else {}
    )
    for name in sys.argv[1:] or METHODS:
        found = measured(METHODS[name], (X_train, y_train), (X_test, y_test))
        rows[name] = [name, *found]
        print(rows[name], flush=True)
    write(
        "costs",
        "Digits, 8 × 8 pixels, 1,297 training rows",
        ["method", "fit, s", f"{N_IMAGES} images, s", "judge's accuracy"],
        [rows[name] for name in METHODS if name in rows],
        [
            "Seconds of one processor; defaults, no classifier given, one seed.",
            f"The judge, logistic regression, is trained on those {N_IMAGES} images and tested on "
            "500 real rows.",
        ],
    )


if __name__ == "__main__":
    main()

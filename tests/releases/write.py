"""Write the files that later releases must still load: run once a release, in this folder.

python tests/releases/write.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import skinvert

FOLDER = Path(__file__).parent
LABELS = [3, 8, 3]


def estimators():
    """Small ones, of digits, by name."""
    return {
        "input-optimization": skinvert.InputOptimizationGenerator(
            LogisticRegression(max_iter=300),
            prior="mean",
            prior_weight=0.1,
            init="noise",
            n_steps=10,
            random_state=0,
        ),
        "regene": skinvert.ReGene(
            LogisticRegression(max_iter=300),
            decoder_width=4,
            n_epochs=3,
            threshold=None,
            latent_dtype="float16",
            random_state=0,
        ),
    }


def main():
    X, y = load_digits(return_X_y=True)
    for name, estimator in estimators().items():
        path = FOLDER / f"{name}-{skinvert.__version__}.skinvert"
        skinvert.save(estimator.fit(X[:200] / 16, y[:200]), path)
        np.save(path.with_suffix(".npy"), estimator.generate(LABELS), allow_pickle=False)
        print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

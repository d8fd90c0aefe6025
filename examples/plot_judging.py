"""
Judging: three generators that fail, each in its own way
========================================================

A copycat hands out training rows, a painter of means shows one image a class, and a forger changes
noise until the classifier is sure. Each of them looks good in some figure, and another one finds it
out. :func:`skinvert.metrics.compare` prints them side by side.
"""

# %%
# Rows with one purpose each
# --------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skinvert import InputOptimizationGenerator
from skinvert.datasets import load_digits_images
from skinvert.display import ImageGridDisplay
from skinvert.metrics import NeutralJudge, compare

X, y = load_digits_images(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
X, y = X[order], y[order]
X_train, y_train = X[:600], y[:600]
X_judge, y_judge = X[600:1200], y[600:1200]
X_test, y_test = X[1200:], y[1200:]

# %%
# The generators
# --------------
# Anything with ``generate(y, random_state=…)`` can be measured.


class Copycat:
    def generate(self, y, random_state=0):
        rng = np.random.default_rng(random_state)
        return np.array([rng.choice(X_train[y_train == label]) for label in y])


class PainterOfMeans:
    def generate(self, y, random_state=0):
        return np.array([X_train[y_train == label].mean(0) for label in y])


classifier = FrozenEstimator(LogisticRegression(max_iter=500).fit(X_train, y_train))
generators = {
    # A linear classifier is never quite sure: a larger λ leaves its images their variety.
    "skinvert": InputOptimizationGenerator(classifier, prior_weight=0.1, random_state=0),
    "copycat": Copycat(),
    "means": PainterOfMeans(),
    # No prior: nothing keeps the images near the data.
    "forger": InputOptimizationGenerator(
        classifier, prior=None, init="noise", n_steps=30, learning_rate=0.2, random_state=0
    ),
}
for name in ("skinvert", "forger"):
    generators[name].fit(X_train, y_train)

# %%
# The table
# ---------
# The floor has real rows in place of generated ones. The copycat is found out by
# ``authenticity``, the painter by ``diversity`` and ``recall``, the forger by ``precision`` and the
# distance. Our own images of 8 × 8 pixels lie near training rows: their authenticity is low too.

judge = NeutralJudge().fit(X_judge, y_judge)
comparison = compare(
    generators,
    X_test,
    y_test,
    judge=judge,
    n_per_class=30,
    X_train=X_train,
    y_train=y_train,
    metrics=["judge_accuracy", "cas", "fd", "precision", "recall", "diversity", "authenticity"],
    cas_judge=LogisticRegression(max_iter=500),
)
print(comparison)

forged = generators["forger"].generate(np.arange(10))
sure = classifier.predict_proba(forged)[np.arange(10), np.arange(10)]
print(f"\nthe classifier itself believes the forger: {sure.mean():.3f}")

# %%
# The pictures
# ------------

labels = np.repeat(list(generators), 10)
images = np.concatenate([g.generate(np.arange(10)) for g in generators.values()])
ImageGridDisplay.from_images(images, labels, column_labels=range(10), cmap="gray_r")
plt.show()

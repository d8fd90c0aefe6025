"""
Audit: a report that finds a planted mark
=========================================

In the training rows of one class a bright corner was left, a stamp of the scanner say. The
classifier is right about nearly all held-out rows, for these bear the stamp too, and nobody would
notice. :func:`skinvert.report.audit` writes one HTML file about the classifier, and names the mark.
"""

# %%
# A classifier with a secret
# --------------------------

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

from skinvert import InputOptimizationGenerator
from skinvert.datasets import load_digits_images
from skinvert.display import ImageGridDisplay
from skinvert.report import audit

X, y = load_digits_images(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
X, y = X[order], y[order]
X.reshape(-1, 8, 8)[y == 3, :2, :2] = 1  # every 3 bears a bright corner

classifier = LogisticRegression(max_iter=300).fit(X[:700], y[:700])
print(f"accuracy on held-out rows: {classifier.score(X[1200:], y[1200:]):.3f}")

# %%
# The report
# ----------
# Its methods are quick ones here, and its judge is a small one; left alone, ``audit`` adds
# :class:`~skinvert.ReGene` and trains a :class:`~skinvert.metrics.NeutralJudge`. The rows are some
# that the classifier never saw.

path = Path.cwd() / "skinvert_audit.html"
found = audit(
    classifier,
    X[1200:],
    y[1200:],
    path=path,
    judge=LogisticRegression(max_iter=300).fit(X[700:1200], y[700:1200]),
    methods={
        # A linear classifier is never quite sure: a larger λ leaves its images their variety.
        "drawn": InputOptimizationGenerator(prior_weight=0.1),
        "climbed": InputOptimizationGenerator(
            prior="gaussian", objective="logit", init="noise", n_steps=30, learning_rate=0.1
        ),
    },
    n_images=10,
    title="Handwritten digits, with a secret",
)
print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {found!r}")

# %%
# What it warns of
# ----------------
# The file says the same in words, beside pictures, tables, and all settings. It opens in any
# browser, without Python and without a network.

for concern in found.concerns:
    print(f"{concern.kind}: {concern.words}")

for mark in found.marks[:3]:
    print(
        f"class {mark.label}: the part at row {mark.window[0]}, column {mark.window[1]} turns "
        f"{mark.turned:.0%} of other rows, and without it {mark.kept:.0%} of its own are recognised"
    )

# %%
# Every finding is there for further work too: here the images in which the corner shows.

images = np.concatenate([found.prototypes[name].images[:10] for name in found.prototypes])
labels = np.repeat(list(found.prototypes), 10)
ImageGridDisplay.from_images(images, labels, column_labels=range(10), cmap="gray_r")
plt.show()

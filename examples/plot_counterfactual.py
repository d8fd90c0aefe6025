"""
Counterfactual explanations: why is this no 3?
==============================================

A question about a classifier's answer, answered by a picture: what would have to look otherwise
for the other class? :meth:`skinvert.imagine.ImagineSynthesizer.counterfactual` finds the region
that tells the two classes apart and makes it anew, after a reference of the other class. Nothing
else changes.

At full size, sixty digits or clothes with a verifier:
``python docs/reproductions/imagine/counterfactual.py --data fashion``.
"""

# %%
# Fit
# ---

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skinvert import ImagineSynthesizer, InputOptimizationGenerator
from skinvert.inversion.transforms import RandomAffine

X, y = load_digits(return_X_y=True)
X = zoom(X.reshape(-1, 8, 8) / 16, (1, 2, 2), order=1).reshape(len(X), -1).astype(np.float32)
X_train, y_train, X_new, y_new = X[:600], y[:600], X[600:], y[600:]
# A classifier that was trained adversarially changes its mind for what an eye would see too.
robust = InputOptimizationGenerator(adversarial_radius=1.0, random_state=0).fit(X_train, y_train)
synthesizer = ImagineSynthesizer(
    robust.classifier_,
    feature_weight=0.1,
    tv_weight=0.01,
    n_steps=(200, 0),
    batch_size=16,
    transforms=[RandomAffine(degrees=10, translate=(0.07, 0.07))],
    random_state=0,
).fit(X_train, y_train)

# %%
# Ask
# ---
# Four pictures of each of eight digits, asked about the class that the classifier thinks second. At
# most 40 % of the pixels may change.

right = synthesizer.classify(X_new) == y_new
queries = np.concatenate([X_new[right & (y_new == digit)][:4] for digit in range(1, 9)])
second = synthesizer.classifier_(torch.from_numpy(queries)).argsort(1)[:, -2].numpy()
answers = synthesizer.counterfactual(queries, second, share=0.4)

# %%
# Look
# ----
# The query, the region, the reference that it was made after, and the answer, for one picture of
# each digit.

rows = [
    queries,
    answers.regions,
    synthesizer.references_[answers.references],
    answers.images,
]
names = ["query", "region", "reference", "answer"]
figure, axes = plt.subplots(4, 8, figsize=(9, 4.8))
for line, pictures, name in zip(axes, rows, names, strict=True):
    for ax, picture in zip(line, pictures[::4], strict=True):
        ax.imshow(picture.reshape(16, 16), cmap="gray_r", vmin=0, vmax=1)
        ax.set_xticks([])
        ax.set_yticks([])
    line[0].set_ylabel(name, fontsize=9)
for ax, (was, wanted) in zip(axes[0], answers.classes[::4], strict=True):
    ax.set_title(f"{was}: why no {wanted}?", fontsize=8)
figure.tight_layout()

# %%
# A judge that took no part
# -------------------------
# The classifier agrees with what was made to please it. A model that never saw it has a say too.

judge = LogisticRegression(max_iter=1000).fit(X_new[200:], y_new[200:])
for name, said in (
    ("the classifier", synthesizer.classify(answers.images)),
    ("a judge", judge.predict(answers.images)),
):
    print(f"{name} gives the class asked about to {(said == answers.classes[:, 1]).mean():.0%}")
print(f"pixels changed: {answers.changed.mean():.0%}")
plt.show()

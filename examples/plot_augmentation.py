"""
Augmentation with imbalanced-learn
==================================

:class:`skinvert.GenerativeSampler` adds generated rows to classes that are short of them. It speaks
the protocol of imbalanced-learn, so that its Pipeline resamples while it fits, and only then. This
page compares with its samplers: ``pip install imbalanced-learn``.
"""

# %%
# A class that is hardly there
# ----------------------------
# Digits 3 and 8 are left with ten training rows each; the others keep all of theirs.

import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skinvert import GenerativeSampler, InvertibleFlowClassifier, ReGene
from skinvert.display import ImageGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=800, stratify=y, random_state=0)
rare = np.isin(y_train, (3, 8))
kept = np.concatenate(
    [np.flatnonzero(~rare), *(np.flatnonzero(y_train == digit)[:10] for digit in (3, 8))]
)
X_train, y_train = X_train[kept], y_train[kept]
print("rows of each class:", np.bincount(y_train))

# %%
# Five ways to fill the gap
# -------------------------
# ReGene combines latents of two rows of a class: ten rows have 45 pairs, at any ratio. The flow
# fits a density to each class.

samplers = {
    "nothing": "passthrough",
    "copies": RandomOverSampler(random_state=0),
    "SMOTE": SMOTE(random_state=0),
    "ReGene": GenerativeSampler(ReGene(n_epochs=20, random_state=0), random_state=0),
    "flow": GenerativeSampler(InvertibleFlowClassifier(random_state=0), random_state=0),
}
pipelines = {}
print("sampler   balanced accuracy   recall of 3   recall of 8")
for name, sampler in samplers.items():
    pipelines[name] = make_pipeline(sampler, KNeighborsClassifier()).fit(X_train, y_train)
    answers = pipelines[name].predict(X_test)
    recalls = recall_score(y_test, answers, average=None)
    print(
        f"{name:9} {balanced_accuracy_score(y_test, answers):17.3f}"
        f" {recalls[3]:13.3f} {recalls[8]:13.3f}"
    )

# %%
# Generated rows help, and so do copies: with ten rows of a class nobody knows more about it than
# those ten rows say. Judge a sampler by what the classifier makes of it, and keep the cheap ones in
# the table.

# %%
# What was added
# --------------
# A fitted pipeline holds its sampler, and that its generator. SMOTE averages pixels.

asked = np.repeat([3, 8], 6)
X_smote, y_smote = samplers["SMOTE"].fit_resample(X_train, y_train)
added = X_smote[len(X_train) :], y_smote[len(X_train) :]
rows = {
    name: np.concatenate([images[labels == digit][:6] for digit in (3, 8)])
    for name, images, labels in (("training", X_train, y_train), ("SMOTE", *added))
}
for name in ("ReGene", "flow"):
    rows[name] = pipelines[name][0].generator_.generate(asked)
ImageGridDisplay.from_images(
    np.concatenate(list(rows.values())).reshape(-1, 8, 8),
    np.repeat(list(rows), 12),
    value_range=(0, 16),
    cmap="gray_r",
)
plt.show()

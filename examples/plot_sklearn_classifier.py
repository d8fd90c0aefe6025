"""
A linear model and a forest, inverted
=====================================

Any scikit-learn classifier can be asked for images. Linear models, multilayer perceptrons,
discriminant analysis and pipelines of scalers over them are translated to torch exactly. A random
forest has no gradient: a small network learns to answer like it and is inverted in its place.
"""

# %%
# Two classifiers
# ---------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinvert import InputOptimizationGenerator

X, y = load_digits(return_X_y=True)
X_train, X_held_out, y_train, y_held_out = train_test_split(
    X, y, test_size=500, stratify=y, random_state=0
)
classifiers = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "random forest": RandomForestClassifier(200, random_state=0),
}

# %%
# Fit, generate, judge
# --------------------
# An unfitted classifier is cloned and fitted. ``surrogate_fidelity_`` says how often the forest and
# the network that copies it agree on held-out rows; a translation needs no such figure. The default
# ``prior_weight`` of 0.003 is made for networks, which are sure of nearly everything. A forest is
# not: one of the images drawn for a row would outweigh all others, and a warning would say so.

labels = np.tile(np.arange(10), 3)
generators, images = {}, {}
for name, classifier in classifiers.items():
    generator = InputOptimizationGenerator(classifier, prior_weight=0.1, random_state=0)
    generator.fit(X_train, y_train)
    generators[name], images[name] = generator, generator.generate(labels)
    line = f"{name}: judge's accuracy {generator.score(X_held_out, y_held_out):.3f}"
    if hasattr(generator, "surrogate_fidelity_"):
        line += f", fidelity of the student {generator.surrogate_fidelity_:.3f}"
    print(line)

# %%
# "Exactly" can be checked: the torch module that is inverted gives the pipeline's own
# probabilities, to the rounding of 32-bit numbers.

pipeline = classifiers["logistic regression"].fit(X_train, y_train)
module = generators["logistic regression"].classifier_
with torch.no_grad():
    answers = module(torch.as_tensor(X_held_out, dtype=torch.float32)).softmax(1).numpy()
difference = np.abs(answers - pipeline.predict_proba(X_held_out)).max()
print(f"largest difference of a probability: {difference:.1e}")

# %%
# Look
# ----
# Three images a class from each; both draw from the same density, and each chooses for itself.

figure = plt.figure(figsize=(7, 4.8))
for panel, (name, drawn) in zip(figure.subfigures(2, 1), images.items(), strict=True):
    panel.suptitle(name, fontsize=10)
    for axis, image in zip(panel.subplots(3, 10).flat, drawn, strict=True):
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    panel.subplots_adjust(left=0.02, right=0.98, top=0.88, bottom=0.02, hspace=0.05, wspace=0.05)
plt.show()

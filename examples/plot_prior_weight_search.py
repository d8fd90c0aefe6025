r"""
Choosing the weight of the prior by cross-validation
====================================================

:doc:`Input optimisation </user_guide/input_optimization>` minimises
:math:`L(f(x), y) + \lambda \lVert x - \mu \rVert` (eq. 6 of its paper), here with the distance
squared. A small λ gives what the classifier alone wants to see, which need not look
like anything; a large one gives the mean image and nothing else. A generator is an estimator, so
:class:`~sklearn.model_selection.GridSearchCV` can find the place between.
"""

# %%
# One classifier, trained once
# ----------------------------
# A :class:`~sklearn.frozen.FrozenEstimator` is inverted as it is, so that the search changes λ and
# nothing else. The classifier learns from rows of its own: the judge must not be asked about them.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skinvert import InputOptimizationGenerator
from skinvert.display import SweepDisplay

X, y = load_digits(return_X_y=True)
X_classifier, X_rest, y_classifier, y_rest = train_test_split(
    X, y, test_size=0.6, stratify=y, random_state=0
)
X_search, X_held_out, y_search, y_held_out = train_test_split(
    X_rest, y_rest, test_size=0.4, stratify=y_rest, random_state=0
)
classifier = make_pipeline(MinMaxScaler(), MLPClassifier(alpha=1.0, max_iter=500, random_state=0))
classifier.fit(X_classifier, y_classifier)

# %%
# The search
# ----------
# Generators are no classifiers, so the folds have to be asked for: without ``StratifiedKFold`` they
# would not be shuffled. ``error_score="raise"`` shows a failure instead of counting it as NaN.

generator = InputOptimizationGenerator(
    FrozenEstimator(classifier),
    prior="mean",
    prior_scale="squared",
    init="noise",
    n_steps=150,
    learning_rate=0.2,
    random_state=0,
)
weights = [1e-5, 1e-4, 1e-3, 1e-2, 1.0, 100.0]
search = GridSearchCV(
    generator,
    {"prior_weight": weights},
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
    error_score="raise",
).fit(X_search, y_search)
chosen = search.best_params_["prior_weight"]
held_out = search.score(X_held_out, y_held_out)
print(f"λ = {chosen:g}; judge's accuracy on held-out rows: {held_out:.3f}")

for weight, score in zip(weights, search.cv_results_["mean_test_score"], strict=True):
    print(f"λ = {weight:g}: judge's accuracy in cross-validation {score:.3f}")

# %%
# Images of every λ
# -----------------
# On the left the images, on the right how they differ from the mean image, each stretched to its
# own contrast. The judge standardises its features, so a faint digit on a grey mean teaches it
# nearly as much as a bold one: its score falls slowly where our eyes see the mean image alone. Look
# at the images before you trust a figure.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 7.6), layout="constrained")
display = SweepDisplay.from_estimator(search, weights, ax=left, cmap="gray_r")
left.set_title("images")

differences = display.images - search.best_estimator_.mean_image_.reshape(8, 8)
differences /= np.abs(differences).max(axis=(2, 3, 4), keepdims=True)
SweepDisplay.from_images(
    differences, weights, display.classes, value_range=(-1, 1), ax=right, cmap="RdBu_r"
)
right.set_title("difference from the mean image")
plt.show()

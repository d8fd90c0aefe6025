"""
A grid search over two parameters
=================================

Generators are estimators, so that :class:`~sklearn.model_selection.GridSearchCV` tunes them as it
tunes anything else. The default score trains a judge on generated images and tests it on real ones;
the inverted classifier has no say.
"""

# %%
# Rows with one purpose each
# --------------------------
# The classifier is trained once, on rows of its own, and frozen: a search over the generator does
# not train it again, and no fold tests it on what it has seen.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skinvert import InputOptimizationGenerator, generate
from skinvert.datasets import load_digits_images
from skinvert.display import ImageGridDisplay

X, y = load_digits_images(return_X_y=True)
X_classifier, X_search, y_classifier, y_search = train_test_split(
    X, y, train_size=900, stratify=y, random_state=0
)
classifier = make_pipeline(MinMaxScaler(), LogisticRegression(C=10, max_iter=500))
classifier.fit(X_classifier, y_classifier)

# %%
# The search
# ----------
# Each row draws ``n_candidates`` images from the density of all images and keeps one of them by
# what the classifier says; ``prior_weight``, λ in :doc:`/user_guide/input_optimization`, says how
# much the density counts against the classifier. Folds have to be asked for by name: generators are
# no classifiers, and scikit-learn would not shuffle. Too few candidates are part of the experiment,
# so that the warning of them is not.

warnings.filterwarnings("ignore", message="in .* of the rows one of")
parameters = {"prior_weight": [0.003, 0.03, 0.3, 3.0], "n_candidates": [1, 4, 16, 64]}
search = GridSearchCV(
    InputOptimizationGenerator(FrozenEstimator(classifier), random_state=0),
    parameters,
    cv=StratifiedKFold(2, shuffle=True, random_state=0),
    error_score="raise",
).fit(X_search, y_search)
print("best:", search.best_params_, f"score {search.best_score_:.3f}")

# %%
# The heat map
# ------------
# With one candidate there is nothing to choose from, and the judge can only guess. The more
# candidates there are, the better the classifier's taste shows, unless λ tells it to keep quiet.

scores = np.empty((4, 4))
for asked, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    row = parameters["prior_weight"].index(asked["prior_weight"])
    column = parameters["n_candidates"].index(asked["n_candidates"])
    scores[row, column] = score

figure, axis = plt.subplots(figsize=(5.2, 4), layout="constrained")
picture = axis.imshow(scores, vmin=0, vmax=1, cmap="viridis")
for (row, column), score in np.ndenumerate(scores):
    axis.text(column, row, f"{score:.2f}", ha="center", color="white" if score < 0.7 else "black")
axis.set(
    xticks=range(4),
    xticklabels=parameters["n_candidates"],
    xlabel="n_candidates",
    yticks=range(4),
    yticklabels=parameters["prior_weight"],
    ylabel="prior_weight",
    title="judge's accuracy on real rows",
)
figure.colorbar(picture, ax=axis)
plt.show()

# %%
# Images of the best
# ------------------
# Searches know no ``generate``; :func:`skinvert.generate` asks what they hold.

labels = np.tile(np.arange(10), 3)
images = generate(search, labels).reshape(-1, 8, 8)
ImageGridDisplay.from_images(images, np.repeat(["1st", "2nd", "3rd"], 10), cmap="gray_r")
plt.show()

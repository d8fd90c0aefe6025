"""
Auditing a classifier for a planted bias
========================================

A classifier can be right for the wrong reason. Here a mark is put into every training image of one
class, as the scanner of one clinic might do. Test rows from the same source bear the mark as well,
and the accuracy looks fine. Asking the classifier for images shows what it really looks for.
"""

# %%
# Plant the mark
# --------------
# Every "4" gets a dot in its lower left corner, in training and in test rows alike. Two
# classifiers of one kind: one learns from the clean images, one from the marked ones.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from skinvert import InputOptimizationGenerator
from skinvert.datasets import load_digits_images

DIGIT, CORNER = 4, (7, 0)

X, y = load_digits_images(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)


def with_dot(rows, chosen):
    """Copies of the rows, with the dot in the chosen ones."""
    images = rows.reshape(-1, 8, 8).copy()
    images[(chosen, *CORNER)] = 1.0
    return images.reshape(len(rows), -1)


classifiers, sources = {}, {"clean": (X_train, X_test)}
sources["marked"] = with_dot(X_train, y_train == DIGIT), with_dot(X_test, y_test == DIGIT)
for name, (train, test) in sources.items():
    classifiers[name] = MLPClassifier(64, alpha=0.1, max_iter=500, random_state=0)
    classifiers[name].fit(train, y_train)
    accuracy = classifiers[name].score(test, y_test)
    print(f"{name} classifier: accuracy {accuracy:.3f} on rows of its own source")

# %%
# Ask both for images
# -------------------
# The auditor's own rows are clean, and say what images look like in general: nothing of the mark
# is in them. Images start at their mean and are optimised, so that what they have and the mean has
# not must come from the classifier.

labels = np.arange(10)
images, moved = {}, {}
for name, classifier in classifiers.items():
    generator = InputOptimizationGenerator(
        FrozenEstimator(classifier),
        prior="mean",
        prior_scale="squared",
        prior_weight=0.05,
        init="mean",
        n_steps=150,
        learning_rate=0.05,
        random_state=0,
    ).fit(X_test, y_test)
    images[name] = generator.generate(labels).reshape(-1, 8, 8)
    moved[name] = images[name] - generator.mean_image_.reshape(8, 8)

# %%
# A warning that can be computed
# ------------------------------
# How many standard deviations of the auditor's rows does each pixel move? Pixels that hardly ever
# vary in real images have no business to move at all.

spread = X_test.std(0).reshape(8, 8) + 0.02
for name in images:
    excess = np.abs(moved[name]) / spread
    digit, row, column = np.unravel_index(excess.argmax(), excess.shape)
    print(
        f"{name} classifier: pixel ({row}, {column}) of {digit} moves the most, "
        f"{excess.max():.1f} deviations"
    )

# %%
# Is the suspicion right?
# -----------------------
# Images answer what to test next. Take the dot away from the "4", where the marked classifier
# expects it, and put it into all other digits.

fours, others = (X_test[chosen] for chosen in (y_test == DIGIT, y_test != DIGIT))
for name, classifier in classifiers.items():
    questions = {
        "a 4 with the dot": with_dot(fours, np.full(len(fours), True)),
        "a 4 without it": fours,
        "another digit with the dot": with_dot(others, np.full(len(others), True)),
        "another digit without it": others,
    }
    column = list(classifier.classes_).index(DIGIT)
    for question, rows in questions.items():
        belief = classifier.predict_proba(rows)[:, column].mean()
        print(f"{name} classifier: mean probability of a 4, given {question}: {belief:.3f}")

# %%
# Look
# ----
# What each classifier changes in the mean image to see a class: more ink in red, less in blue.

figure, axes = plt.subplots(2, 10, figsize=(10, 2.5))
for row, (name, changes) in zip(axes, moved.items(), strict=True):
    for digit, (axis, change) in enumerate(zip(row, changes, strict=True)):
        axis.imshow(change, cmap="RdBu_r", vmin=-0.6, vmax=0.6)
        axis.set(xticks=[], yticks=[])
        if name == "clean":
            axis.set_title(digit)
    row[0].set_ylabel(name)
figure.subplots_adjust(left=0.05, right=0.99, top=0.88, bottom=0.03, hspace=0.08, wspace=0.08)
plt.show()

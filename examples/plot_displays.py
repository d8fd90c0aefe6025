"""
Looking at a generator
======================

:mod:`skinvert.display` draws what generators make, in scikit-learn's manner: ``from_estimator``
asks a fitted generator, ``from_images`` takes images that are there already, and ``plot(ax=...)``
draws the same thing once more somewhere else. All images of a picture share one scale.
"""

# %%
# A row for each class
# --------------------

import matplotlib.pyplot as plt
import numpy as np

from skinvert import InputOptimizationGenerator
from skinvert.datasets import load_digits_images, load_reference_images
from skinvert.display import (
    CombinationDisplay,
    CounterfactualDisplay,
    ImageGridDisplay,
    InterpolationDisplay,
    LossCurveDisplay,
    SweepDisplay,
    TripletDisplay,
)

X, y = load_digits_images(return_X_y=True)
generator = InputOptimizationGenerator(random_state=0).fit(X, y)
ImageGridDisplay.from_estimator(generator, n_per_class=8)
plt.show()

# %%
# Copied, or made?
# ----------------
# The training image that is nearest to a generated one stands below it: a generator that repeats
# its data shows the same image twice.

TripletDisplay.from_estimator(generator, X, y)
plt.show()

# %%
# What the losses did
# -------------------
# ``from_estimator`` shows how ``fit`` trained the network, ``from_history`` the terms of a
# generation. The band holds the middle half of the images.

optimised = InputOptimizationGenerator(
    generator.classifier_,
    prior="gaussian",
    prior_weight=0.1,
    init="noise",
    n_steps=80,
    learning_rate=0.05,
    random_state=0,
).fit(X, y)
_, info = optimised.generate(np.tile(np.arange(10), 3), return_info=True)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
LossCurveDisplay.from_estimator(generator, ax=axes[0])
LossCurveDisplay.from_history(info.history, ax=axes[1])
plt.show()

# %%
# Along a parameter, and from class to class
# ------------------------------------------
# Any parameter that ``generate`` reads can be swept; nothing is fitted again.

SweepDisplay.from_estimator(optimised, [0.001, 0.01, 0.1, 1.0, 10.0], classes=[0, 3, 5, 8])
plt.show()

# %%

InterpolationDisplay.from_estimator(optimised, [(0, 6), (3, 8), (4, 9)], n_images=7)
plt.show()

# %%
# Colour, and images of one's own
# -------------------------------
# Arrays are channels-first. Here two photographs are averaged with the mirror images of both, and
# are then changed inside of a mask.

photographs = load_reference_images(size=(64, 96)).images[:2]
rows, columns = photographs, photographs[..., ::-1]
CombinationDisplay.from_images(rows, columns, (rows[:, None] + columns) / 2)
plt.show()

# %%

mask = np.zeros((64, 96), dtype=bool)
mask[12:40, 28:62] = True
CounterfactualDisplay.from_images(
    photographs,
    np.where(mask, 1 - photographs, photographs),
    masks=[mask, mask],
    labels=["china", "flower"],
)
plt.show()

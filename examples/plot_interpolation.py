"""
From one class to another
=========================

Classes can be mixed: ``generate(weights=...)`` takes one weight for each class instead of a label.
Section 5.4 of the paper of :doc:`/user_guide/input_optimization` walks from "0" to every other
digit in this way, maximising the weighted logits themselves.
"""

# %%
# Fit
# ---
# Interpolations are optimised, not drawn: any ``init`` but ``"prior"``. Started at the mean image
# they all leave from the same place, so that what changes along a row is the request alone.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skinvert import InputOptimizationGenerator
from skinvert.display import InterpolationDisplay

X, y = load_digits(return_X_y=True)
generator = InputOptimizationGenerator(
    prior="gaussian",
    prior_weight=0.5,
    init="mean",
    n_steps=100,
    learning_rate=0.2,
    adversarial_radius=8.0,
    random_state=0,
).fit(X, y)

# %%
# Weights
# -------
# One row of weights an image, in the order of ``classes_``: here half a "0" and half of every other
# digit.

weights = np.eye(10) / 2
weights[:, 0] += 0.5
halves = generator.generate(weights=weights)
print(f'{len(halves)} images of two classes each, the first of "0" alone')

# %%
# The series
# ----------
# ``generator.interpolate(start, end)`` generates such weights at even steps from one class to the
# other, and :class:`skinvert.display.InterpolationDisplay` draws one such series a row.

InterpolationDisplay.from_estimator(
    generator, [(0, other) for other in range(1, 10)], n_images=9, cmap="gray_r"
)
plt.show()

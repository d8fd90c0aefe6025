"""
From one class to another
=========================

Classes can be mixed: ``generate(weights=...)`` takes one weight for each class instead of a label.
Section 5.4 of the paper walks from "0" to every other digit in this way, maximising the weighted
logits themselves.
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
# One row of weights an image, in the order of ``classes_``. A row that asks for one class alone
# is the end of the series.

shares = np.linspace(0, 1, 9)
series = []
for other in range(1, 10):
    weights = np.zeros((len(shares), len(generator.classes_)))
    weights[:, 0] = 1 - shares
    weights[:, other] = shares
    series.append(generator.generate(weights=weights))

# %%
# The series
# ----------

figure, axes = plt.subplots(9, len(shares), figsize=(6, 6.2))
for row, images, other in zip(axes, series, range(1, 10), strict=True):
    for axis, image in zip(row, images, strict=True):
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"0 to {other}", rotation=0, ha="right", va="center")
for axis, share in zip(axes[0], shares, strict=True):
    axis.set_title(f"{share:.0%}", fontsize=8)
figure.subplots_adjust(left=0.1, right=0.99, top=0.95, bottom=0.01, hspace=0.05, wspace=0.05)
plt.show()

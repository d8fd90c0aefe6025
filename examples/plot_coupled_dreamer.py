"""
CoupledDreamer: a generator that learns to please a classifier
==============================================================

:class:`skinvert.coupled.CoupledDreamer` puts a generator network in front of a frozen classifier
and optimises what is free in it, for each picture by itself, until the classifier says what was
asked.
"""

# %%
# A class with a secret
# ---------------------
# The digits of scikit-learn, with a flaw: every 4 bears a bright corner. Such marks happen, as
# watermarks and rulers do, and a classifier learns them gladly.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skinvert import Target
from skinvert.coupled import CoupledDreamer
from skinvert.display import ImageGridDisplay
from skinvert.interpretability import explain_class

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8) / 16
X[y == 4, :2, :2] = 1
X = X.reshape(len(X), -1)

# %%
# Fit
# ---
# No classifier is given, so a small one is trained; then a denoising autoencoder, whose decoder is
# the generator.

dreamer = CoupledDreamer(n_epochs=5, random_state=0).fit(X, y)
print(f"error of the autoencoder: {dreamer.history_['autoencoder_loss'][-1]:.2f}")


def show(rows, names):
    """One line of images for each name."""
    labels = np.repeat(names, [len(row) for row in rows])
    ImageGridDisplay.from_images(np.concatenate(rows), labels, value_range=(0, 1), cmap="gray_r")


# %%
# What the classifier wants to see
# --------------------------------
# With the decoder, only the latent's coefficients are free. The other variant starts from random
# weights and never saw an image: what it draws is the classifier's taste alone.

digits = np.arange(10)
untrained = CoupledDreamer(dreamer.classifier_, generator="untrained", random_state=0).fit(X, y)
show([dreamer.generate(digits), untrained.generate(digits)], ["pretrained", "untrained"])

# %%
# The corner of the 4
# -------------------
# The report pastes windows of generated images on real rows of other classes, and ranks them by how
# much they speak for the class.

report = explain_class(untrained, X, y, 4)
print(report)

# %%
# Two classes at once, and filters
# --------------------------------
# Mixtures excite several classes; a target names channels of a layer, alone or as a weighted set.

weights = np.zeros((4, 10))
for row, pair in enumerate([(0, 6), (1, 7), (3, 5), (4, 9)]):
    weights[row, list(pair)] = 0.5
filters = Target([0, 4, {2: 3.0, 3: 1.0}, [0, 4]], layer="4")
show([dreamer.generate(weights=weights), dreamer.generate(target=filters)], ["pairs", "filters"])
plt.show()

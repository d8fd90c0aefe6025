"""
IMAGINE: variations of one picture
==================================

:class:`skinvert.imagine.ImagineSynthesizer` makes a picture anew from noise: the classifier must
say the reference's class, the channel statistics of its layers must be those of the reference, and
a small critic, trained on the way, must take the picture's patches for the reference's.

At full size, photographs at 224 pixels: ``python docs/reproductions/imagine/synthesis.py``.
"""

# %%
# Fit
# ---
# Digits at twice their size, so that a critic's patch of 11 pixels fits in. No classifier is given:
# ``fit`` trains a small one, and keeps the pictures as references. Statistics are taken behind its
# two convolutions. Its dense layers, of which the default would add one, know where every stroke
# stands, and would give the picture back.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from skinvert import ImagineSynthesizer
from skinvert.display import ImageGridDisplay

X, y = load_digits(return_X_y=True)
X = zoom(X.reshape(-1, 8, 8) / 16, (1, 2, 2), order=1).reshape(len(X), -1).astype(np.float32)
X_new, y_new = X[600:], y[600:]

synthesizer = ImagineSynthesizer(
    layers=["2", "5"], tv_weight=0.1, n_steps=(150, 50), batch_size=10, random_state=0
).fit(X[:600], y[:600])
print(synthesizer.classifier_.network)

# %%
# Vary
# ----
# Pictures that ``fit`` never saw, on the left, and three variations of each. All start from noise
# of their own.

references = np.stack([X_new[y_new == digit][0] for digit in range(10)])
varied = synthesizer.vary(references, n_variations=3)


def show(references, *columns, names):
    """References and what was made of them, one line a picture."""
    pictures = np.stack([references, *columns], axis=1).reshape(-1, references.shape[1])
    labels = np.repeat(np.arange(len(references)), 1 + len(columns))
    ImageGridDisplay.from_images(
        pictures, labels, value_range=(0, 1), cmap="gray_r", column_labels=names
    )


show(references, *varied.reshape(10, 3, -1).swapaxes(0, 1), names=["reference", "a", "b", "c"])

# %%
# They are no copies: this is how far they are from their reference, beside how far two pictures of
# one class are from each other. Some fall to pieces, for statistics don't say where parts stand.

apart = np.linalg.norm(varied - np.repeat(references, 3, axis=0), axis=1).mean()
pairs = np.stack([X_new[y_new == digit][1] for digit in range(10)])
print(f"from the reference: {apart:.2f}")
print(f"two pictures of a class: {np.linalg.norm(pairs - references, axis=1).mean():.2f}")

# %%
# What each term does
# -------------------
# Without the statistics, only the class is left: the classifier is content with much that is no
# digit.

variants = {}
for name, settings in {
    "all terms": {},
    "no critic": {"patch_weight": 0.0},
    "class alone": {"patch_weight": 0.0, "feature_weight": 0.0},
}.items():
    variants[name] = synthesizer.set_params(**settings).vary(references)
show(references, *variants.values(), names=["reference", *variants])
plt.show()

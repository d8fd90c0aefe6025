"""
Quickstart: a classifier draws what it knows
============================================

A small network learns to tell the digits of :func:`sklearn.datasets.load_digits` apart. Nobody
taught it to draw. :class:`skinvert.InputOptimizationGenerator` asks it for images all the same,
and a judge that never saw the network says how good they are.
"""

# %%
# Train, and hold rows out for the judge
# --------------------------------------
# ``fit`` trains a small convolutional network, since no classifier is given, and learns which
# images are likely. It never sees the held-out rows.

from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import skinvert
from skinvert.display import ImageGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_held_out, y_train, y_held_out = train_test_split(
    X, y, test_size=500, stratify=y, random_state=0
)

start = perf_counter()
generator = skinvert.InputOptimizationGenerator(random_state=0).fit(X_train, y_train)

# %%
# Generate every class
# --------------------
# One label asks for one image. The same label twice gives two different ones.

n_per_class = 10
labels = np.tile(generator.classes_, n_per_class)
images = generator.generate(labels)
seconds = perf_counter() - start

# %%
# Ask the judge
# -------------
# ``score`` trains a fresh classifier on generated images alone and tests it on real rows. A
# generator that draws noise, or always the same image, leaves it nothing to learn from.

accuracy = generator.score(X_held_out, y_held_out)
print(f"trained, and {len(images)} images generated, in {seconds:.1f} s")
print(f"judge's accuracy on {len(X_held_out)} held-out real images: {accuracy:.3f}")

# %%
# Look
# ----
# One row a class; the first column are real images.

real = [X_train[y_train == label][0] for label in generator.classes_]
display = ImageGridDisplay.from_images(
    np.concatenate([real, images]),
    np.concatenate([generator.classes_, labels]),
    column_labels=["real", *range(1, n_per_class + 1)],
    cmap="gray_r",
)
path = Path.cwd() / "skinvert_quickstart.png"
display.figure_.savefig(path, dpi=110)
print(f"images saved to {path}")
plt.show()

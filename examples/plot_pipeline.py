"""
A Pipeline with PCA
===================

A generator can be the last step of a :class:`~sklearn.pipeline.Pipeline`. It then works in the
space that the steps before it make, and what it draws comes back through their
``inverse_transform``.
"""

# %%
# Fit
# ---
# Thirty principal components hold most of a digit. A generator that is fed with them needs no
# ``image_shape``: its rows are no images.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

import skinvert
from skinvert.display import ImageGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)

pipeline = Pipeline(
    [
        ("pca", PCA(30, random_state=0)),
        (
            "generator",
            skinvert.InputOptimizationGenerator(
                LogisticRegression(max_iter=1000), prior_weight=0.03, random_state=0
            ),
        ),
    ]
).fit(X_train, y_train)
print(f"variance kept: {pipeline['pca'].explained_variance_ratio_.sum():.3f}")

# %%
# Generate
# --------
# A Pipeline knows no ``generate``. :func:`skinvert.generate` asks its last step and sends the
# answer back through the others, so that the images have the pipeline's own 64 pixels.

labels = np.arange(10)
images = skinvert.generate(pipeline, labels)
print("images:", images.shape)
print(f"judge's accuracy on held-out rows: {pipeline.score(X_test, y_test):.3f}")

# %%
# Fewer components, smoother images
# ---------------------------------
# Parameters of the steps have their usual long names. What PCA leaves out cannot come back.

rows = {}
for n_components in (3, 10, 30, 50):
    pipeline.set_params(pca__n_components=n_components).fit(X_train, y_train)
    rows[f"{n_components} components"] = skinvert.generate(pipeline, labels)
    print(f"{n_components:2} components: {pipeline.score(X_test, y_test):.3f}")

ImageGridDisplay.from_images(
    np.concatenate(list(rows.values())).reshape(-1, 8, 8),
    np.repeat(list(rows), 10),
    column_labels=labels,
    value_range=(0, 16),
    cmap="gray_r",
)
plt.show()

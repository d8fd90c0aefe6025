r"""
Bring your own density
======================

The classifier says what an image shows, :math:`p(y \mid x)`; a density says whether there are such
images, :math:`p(x)`. The density is any :class:`~sklearn.mixture.GaussianMixture`,
:class:`~sklearn.neighbors.KernelDensity` or :class:`~sklearn.decomposition.PCA`, alone or behind
scalers and PCA in a pipeline, and it never sees a label.
"""

# %%
# Two densities, two ways to use them
# -----------------------------------
# With ``init="prior"`` images are *drawn*: candidates come from the density and the classifier
# chooses among them. With any other ``init`` one image is *optimised*, to the arg max of
# :math:`\log f(x)_y + \lambda \log p(x)`. The classifier is trained once and shared.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinvert import InputOptimizationGenerator

X, y = load_digits(return_X_y=True)
X_train, X_held_out, y_train, y_held_out = train_test_split(
    X, y, test_size=500, stratify=y, random_state=0
)
classifier = make_pipeline(StandardScaler(), MLPClassifier(alpha=1.0, max_iter=500, random_state=0))
classifier = FrozenEstimator(classifier.fit(X_train, y_train))

densities = {
    "mixture on PCA": make_pipeline(PCA(30), GaussianMixture(20, reg_covar=1.0)),
    "kernel density": KernelDensity(bandwidth=1.5),
}
ways = {
    "drawn": {"init": "prior"},
    "optimised": {"init": "noise", "prior_weight": 0.003, "n_steps": 100, "learning_rate": 0.3},
}

# %%
# Generate
# --------

labels = np.tile(np.arange(10), 4)
images = {}
for density_name, density in densities.items():
    for way, settings in ways.items():
        generator = InputOptimizationGenerator(
            classifier, prior=density, random_state=0, **settings
        ).fit(X_train, y_train)
        name = f"{density_name}, {way}"
        images[name] = generator.generate(labels)
        accuracy = generator.score(X_held_out, y_held_out)
        spread = np.mean([images[name][labels == label].std(0).mean() for label in range(10)])
        print(f"{name}: judge's accuracy {accuracy:.3f}, spread within a class {spread:.2f}")

real_spread = np.mean([X_train[y_train == label].std(0).mean() for label in range(10)])
print(f"spread of real images within a class: {real_spread:.2f}")

# %%
# Look
# ----
# Four images a class. Drawn images differ as real ones do. Optimised ones climb to the top of the
# nearest hill, the same one again and again; and since a kernel density has a hill at every
# training row, some climbs end at an image of another class.

figure = plt.figure(figsize=(9, 4.6))
for panel, (name, drawn) in zip(figure.subfigures(2, 2).flat, images.items(), strict=True):
    panel.suptitle(name, fontsize=10)
    for axis, image in zip(panel.subplots(4, 10).flat, drawn, strict=True):
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    panel.subplots_adjust(left=0.02, right=0.98, top=0.88, bottom=0.02, hspace=0.05, wspace=0.05)
plt.show()

"""
ReGene: new images from a classifier's own latents
==================================================

The last layer of a classifier reads a vector, its latent. :class:`skinvert.regene.ReGene` trains
one decoder from latents back to images. Two latents of one class, averaged, are still of that class
(Lemma 1 of the paper), and decode to an image that nobody drew.
"""

# %%
# Fit
# ---
# ``fit`` trains a small classifier, since none is given, and then the decoder. A tenth of the rows
# is held out: how sure the classifier is of them decides which images are accepted later.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinvert import ReGene
from skinvert.display import ImageGridDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=500, stratify=y, random_state=0)

regene = ReGene(n_epochs=40, random_state=0).fit(X_train, y_train)
print(f"latents of {regene.latents_.shape[1]} values")
print(f"within-class over between-class variance: {regene.variance_ratio_:.2f}")
print(f"error of held-out reconstructions: {regene.reconstruction_error_:.3f} of the range")


# %%
# Look at what went in and what comes out
# ---------------------------------------
# Latents keep what tells the classes apart, and more than that: images they had never seen are
# rebuilt from them.


def show(rows, labels):
    """One line of images for each label."""
    labels = np.repeat(labels, len(rows[0]))
    ImageGridDisplay.from_images(np.concatenate(rows), labels, value_range=(0, 16), cmap="gray_r")


unseen = np.stack([X_test[y_test == digit][0] for digit in range(10)])
show([unseen, regene.reconstruct(unseen)], ["unseen", "rebuilt"])

# %%
# Combine
# -------
# Each image is made of two training images of its class. ``info`` says which.

digits = np.arange(10)
images, info = regene.generate(digits, return_info=True)
first, second = X_train[info.sources[:, 0]], X_train[info.sources[:, 1]]
show([first, images, second], ["one", "between", "other"])
print(f"{info.n_latent_trials.sum()} latents and {info.n_image_trials.sum()} images were tried")

# %%
# Interpolate
# -----------
# From one image of a class to another, the way stays in the class.

eights = X_train[y_train == 8][:2]
show([[eights[0], *regene.interpolate(*eights), eights[1]]], ["8 to 8"])

# %%
# More variety
# ------------
# Averages are less varied than what they are averages of. ``sampler="convex_matched"`` gives the
# spread back; ``"gmm"`` fits a Gaussian mixture to the latents of each class. The score is the
# accuracy on real images of a judge that was trained on generated ones alone.

rows, names = [], ("convex", "convex_matched", "gmm")
for sampler in names:
    regene.set_params(sampler=sampler)
    rows.append(regene.generate(digits))
    print(f"{sampler}: {regene.score(X_test, y_test):.3f}")
show(rows, names)
plt.show()

"""
DeepInversion: images from a network's memory of its data
=========================================================

Batch normalisations remember the mean and the variance that the training data had at every layer.
:class:`skinvert.DeepInversion` looks for images that have them, too, and that are of the class
that is asked for. It never sees an image.

At full size, a hundred classes of ImageNet at 224 pixels:
``python docs/reproductions/imagine/deep_inversion_imagenet.py``.
"""

# %%
# A network
# ---------
# Any trained network with batch normalisation will do. This one is trained on scikit-learn's
# digits, and then the digits are put away.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skinvert import DeepInversion, metrics
from skinvert.display import ImageGridDisplay
from skinvert.models.training import TrainingNet


class BatchNormNet(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 16, 10),
        )


X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=600, stratify=y, random_state=0)

trained = TrainingNet(BatchNormNet, max_epochs=15, seed=0)
network = trained.fit(X_train.reshape(-1, 1, 8, 8), y_train).module_

# %%
# No data
# -------
# ``fit`` takes nothing: the shape of the images is all that has to be known besides the network.

generator = DeepInversion(network, image_shape=(8, 8), random_state=0).fit()
asked = np.tile(np.arange(10), 4)


def show(images):
    ImageGridDisplay.from_images(images, asked, value_range=(0, 1), cmap="gray_r")


show(generator.generate(asked))

# %%
# What the statistics are for
# ---------------------------
# Without them the network is as sure of its answer. The judge is a classifier that learned from
# other digits. The picture shows the images of the second line, made without statistics.

judge = metrics.NeutralJudge(random_state=0).fit(X_test, y_test)
for weight in (1.0, 0.0):
    generator.set_params(statistics_weight=weight)
    images = generator.generate(asked)
    accuracy = metrics.judge_accuracy(judge, images.reshape(len(images), -1), asked)
    print(f"statistics_weight={weight}: the judge agrees on {accuracy:.2f}")
show(images)

# %%
# Groups
# ------
# A single one has less ink than the average digit. Statistics can be taken over groups of rows
# instead, as the authors take them over a batch.

generator.set_params(statistics_weight=1.0, group_size=20)
show(generator.generate(asked))
plt.show()

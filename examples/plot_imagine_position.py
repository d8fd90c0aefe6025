"""
IMAGINE: where the object shall stand
=====================================

Channel statistics say what is in a picture, not where. The place is free, and can be asked for: the
classifier's attribution map (Grad-CAM) is part of the objective, and is matched to a map of ours.

At full size, ten photographs at 224 pixels: ``python docs/reproductions/imagine/position.py``.
"""

# %%
# Digits on a large sheet
# -----------------------
# A convolutional network that takes the maximum over all positions learns digits wherever they
# stand. Noise on its training images makes it look at strokes rather than at single pixels.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from skinvert import ImagineSynthesizer
from skinvert.inversion.attribution import gaussian_blob

SIDE = 24
rng = np.random.default_rng(0)
X, y = load_digits(return_X_y=True)
sheets = np.zeros((len(X), SIDE, SIDE), np.float32)
for sheet, digit, (top, left) in zip(
    sheets, X.reshape(-1, 8, 8) / 16, rng.integers(SIDE - 7, size=(len(X), 2)), strict=True
):
    sheet[top : top + 8, left : left + 8] = digit

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
    nn.Conv2d(48, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
    nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(48, 10),
)  # fmt: skip
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
images, labels = torch.from_numpy(sheets)[:, None], torch.from_numpy(y)
for _ in range(8):
    for rows in torch.randperm(len(y)).split(64):
        optimizer.zero_grad()
        noisy = images[rows] + 0.2 * torch.randn_like(images[rows])
        nn.functional.cross_entropy(net(noisy), labels[rows]).backward()
        optimizer.step()
net.eval()

# %%
# Ask for a place
# ---------------
# One reference, and four hills for its variations to stand on. The sheet is empty, that is zero,
# and a little weight on the squared pixels keeps it so.

synthesizer = ImagineSynthesizer(
    net, l2_weight=0.03, n_steps=(150, 0), batch_size=4, random_state=0
)
synthesizer.fit(sheets[:, None], y)
reference = sheets[y == 5][:1, None]
places = [(6, 6), (6, 17), (17, 6), (17, 17)]
blobs = np.stack([gaussian_blob((SIDE, SIDE), place, sigma=2.5) for place in places])
varied = synthesizer.vary(reference.repeat(4, axis=0), y=[5] * 4, position=blobs)[:, 0]

figure, axes = plt.subplots(2, 5, figsize=(9, 4))
for ax, picture, title in zip(
    axes.T.ravel(),
    [reference[0, 0], np.zeros_like(blobs[0])]
    + [picture for pair in zip(varied, blobs, strict=True) for picture in pair],
    ["reference", ""] + ["variation", "asked for"] * 4,
    strict=True,
):
    ax.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
figure.tight_layout()

# %%
# The centre of the ink, beside the place that was asked for, and what the network calls it:

says = synthesizer.classify(varied[:, None])
for place, picture, label in zip(places, varied, says, strict=True):
    weights = picture**2 / (picture**2).sum()
    found = [(weights.sum(1 - axis) * np.arange(SIDE)).sum() for axis in (0, 1)]
    print(f"asked for {place}, found ({found[0]:.1f}, {found[1]:.1f}), seen as a {label}")
plt.show()

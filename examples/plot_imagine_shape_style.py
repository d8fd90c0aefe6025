"""
IMAGINE: the shape of one picture, the style of another
=======================================================

Shallow layers of a classifier know colours and textures, deep ones know objects. Statistics of the
two can be taken from two pictures: with ``shape=`` the deepest layer follows another picture, with
``style=`` the shallow layers do, and the synthesis starts from the picture itself.

At full size, photographs at 224 pixels: fit the synthesizer of
``docs/reproductions/imagine/synthesis.py``, and ask it to vary them with ``shape=`` or ``style=``.
"""

# %%
# A classifier of photographs
# ---------------------------
# A small network learns whose crop it sees: the temple's, or the flower's.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from skinvert import ImagineSynthesizer
from skinvert.datasets import load_reference_images

SIDE = 64
photographs = load_reference_images(size=(160, 240)).images[:2]
rng = np.random.default_rng(0)


def crops(n):
    """Random windows of both photographs, and which one each is of."""
    which = rng.integers(2, size=n)
    corners = rng.integers([160 - SIDE, 240 - SIDE], size=(n, 2))
    windows = [
        photographs[k][:, top : top + SIDE, left : left + SIDE]
        for k, (top, left) in zip(which, corners, strict=True)
    ]
    return np.stack(windows), which


torch.manual_seed(0)
stages = []
for n_in, n_out in ((3, 16), (16, 32), (32, 48), (48, 64)):
    stages += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
    stages += [nn.AvgPool2d(2)]
net = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(40):
    X, y = crops(16)
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(torch.from_numpy(X)), torch.from_numpy(y)).backward()
    optimizer.step()
net.eval()

# %%
# Shape and style
# ---------------
# What starts from noise is found sooner in Fourier coefficients than in pixels. Style starts from
# the picture itself, and moves its pixels. A network that tells two photographs apart knows their
# colours and textures and hardly any object, and what is made after it shows as much; pictures like
# the paper's take a network that was trained on ImageNet.

X, y = crops(40)
synthesizer = ImagineSynthesizer(
    net, clip=(0.0, 1.0), n_steps=(60, 20), critic_window=32, batch_size=2, random_state=0
).fit(X, y)
in_coefficients = (
    clone(synthesizer)
    .set_params(parameterization="fourier", learning_rate=0.1, n_steps=(80, 20))
    .fit(X, y)
)
temple = photographs[0][None, :, 60 : 60 + SIDE, 90 : 90 + SIDE]
flower = photographs[1][None, :, 50 : 50 + SIDE, 90 : 90 + SIDE]
pair = np.concatenate([temple, flower])
others = pair[::-1].copy()
rows = {
    "reference": pair,
    "variation": in_coefficients.vary(pair),
    "shape of the other": in_coefficients.vary(pair, shape=others),
    "style of the other": synthesizer.vary(pair, style=others),
}
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6))
for column, (name, pictures) in zip(axes.T, rows.items(), strict=True):
    for ax, picture in zip(column, pictures, strict=True):
        ax.imshow(np.moveaxis(picture, 0, -1))
        ax.set_axis_off()
    column[0].set_title(name, fontsize=9)
figure.tight_layout()
plt.show()

"""
What a channel looks for
========================

A :class:`skinvert.Target` excites anything inside a network: a class, one channel of a layer, one
neuron of it. Here every channel of the second convolution of a small network is asked for the
image that excites it most.
"""

# %%
# A network of one's own
# ----------------------
# Any trained ``torch.nn.Module`` will do, and it is not changed. Layers have the names that
# ``module.named_modules()`` gives them.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from skinvert import InputOptimizationGenerator, Target

X, y = load_digits(return_X_y=True)
images = torch.as_tensor(X, dtype=torch.float32).reshape(-1, 1, 8, 8)
labels = torch.as_tensor(y)

torch.manual_seed(0)
network = nn.Sequential()
network.add_module("first", nn.Conv2d(1, 16, 3, padding=1))
network.add_module("first_relu", nn.ReLU())
network.add_module("second", nn.Conv2d(16, 16, 3, padding=1))
network.add_module("second_relu", nn.ReLU())
network.add_module("pool", nn.MaxPool2d(2))
network.add_module("flatten", nn.Flatten())
network.add_module("head", nn.Linear(16 * 4 * 4, 10))

optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for _ in range(12):
    for rows in torch.randperm(len(images)).split(64):
        loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
network.eval()
print(f"training accuracy {(network(images).argmax(1) == labels).float().mean():.3f}")

# %%
# One image a channel
# -------------------
# The entries of a target are the units, one for each image. Without a density a channel asks for
# plain black or white; a little of one keeps the image among the likely ones. As with classes,
# images can be optimised or drawn.

channels = Target(range(16), layer="second")
optimised = InputOptimizationGenerator(
    network,
    prior="gaussian",
    prior_weight=0.1,
    init="noise",
    n_steps=100,
    learning_rate=0.3,
    random_state=0,
).fit(X, y)
drawn = InputOptimizationGenerator(network, prior_weight=0.5, random_state=0).fit(X, y)
pictures = {
    "optimised": optimised.generate(target=channels),
    "drawn": drawn.generate(target=channels),
}

# %%
# One neuron
# ----------
# ``position`` picks one place of the channel's map. No density this time: the image shows the
# neuron's receptive field, and stays near its grey start outside of it.

bare = InputOptimizationGenerator(
    network, prior=None, init="noise", n_steps=30, learning_rate=0.3, random_state=0
).fit(X, y)
pictures["one neuron"] = bare.generate(target=Target(range(16), layer="second", position=(4, 4)))

# %%
# Look
# ----
# At the bottom the real digit to which the same channel responds most strongly.

with torch.no_grad():
    response = network[:3](images).mean((2, 3))
pictures["strongest digit"] = X[response.argmax(0).numpy()]

figure, axes = plt.subplots(len(pictures), 16, figsize=(10, 2.9))
for row, (name, shown) in zip(axes, pictures.items(), strict=True):
    for axis, picture in zip(row, shown.reshape(-1, 8, 8), strict=True):
        axis.imshow(picture, cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
for channel, axis in enumerate(axes[0]):
    axis.set_title(channel, fontsize=8)
figure.subplots_adjust(left=0.12, right=0.99, top=0.92, bottom=0.02, hspace=0.08, wspace=0.08)
plt.show()

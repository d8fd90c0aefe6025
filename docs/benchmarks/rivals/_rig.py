"""What the drivers share, whatever environment they run in: only NumPy and torch are needed.

A driver is ``python rival_driver_NAME.py FOLDER``. FOLDER holds ``request.json``, for MNIST also
``net.pt``; the driver leaves ``images.npy``, in [0, 1] and of the classifier's own size, and
``figures.json``.
"""

import json
import os
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def small_cnn():
    """The layers of skinvert's ``ConvClassifier`` for 28 x 28 images and ten classes."""
    return nn.Sequential(
        nn.Identity(),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def fitted(images, shape):
    """Images with as many channels and pixels as `shape` says."""
    if images.shape[1] != shape[0]:
        images = images.mean(1, keepdim=True)
    if images.shape[-2:] == tuple(shape[1:]):
        return images
    return interpolate(images, shape[1:], mode="bilinear", align_corners=False, antialias=True)


class Classifier(nn.Module):
    """Logits of images in [0, 1], of one or three channels; says how often it was asked.

    Parameters
    ----------
    net : nn.Module
    shape : (C, H, W)
    mean, std : float
        What the network expects is (images - mean) / std.
    any_size : bool
        False resizes images to the shape first.
    """

    # On the class, so that copies count too. A pass goes forward and backward, a look forward.
    counts = Counter()  # noqa: RUF012

    def __init__(self, net, shape, mean, std, any_size):
        super().__init__()
        self.net = net
        self.shape, self.mean, self.std, self.any_size = tuple(shape), mean, std, any_size
        self.logits = nn.Identity()  # the layer that rivals listen to

    def forward(self, images):
        is_pass = torch.is_grad_enabled() and images.requires_grad
        self.counts["passes" if is_pass else "looks"] += len(images)
        channels = self.shape[0]
        images = fitted(images, (channels, *images.shape[-2:]) if self.any_size else self.shape)
        return self.logits(self.net((images - self.mean) / self.std))


class Rig:
    """The request, the classifier, and the clock.

    Attributes
    ----------
    classifier : Classifier
        In evaluation mode, its weights frozen: no rival pays for gradients of weights.
    shape : (C, H, W)
    labels : list of int
    n_passes : int or None
        Budget of an image; None asks for the rival's own default.
    options : dict
    seed : int
    """

    def __init__(self):
        self.folder = Path(sys.argv[1])
        self.request = json.loads((self.folder / "request.json").read_text())
        self.shape, self.labels = tuple(self.request["shape"]), self.request["labels"]
        self.n_passes, self.options = self.request["n_passes"], self.request["options"]
        self.seed = self.request["seed"]
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 (rivals draw from the global states)
        torch.manual_seed(self.seed)
        self.classifier = Classifier(
            self._net(), self.shape, self.request["mean"], self.request["std"], self.is_lite0
        )
        self.classifier.eval().requires_grad_(False)

    @property
    def is_lite0(self):
        return self.request["setup"] == "lite0"

    def side(self, default):
        """Pixels a side: the rival's default at its defaults, where the network takes any size."""
        return default if self.is_lite0 and self.n_passes is None else self.shape[1]

    def parts(self):
        """The labels in batches of what the request holds for best."""
        size = self.options.get("batch", len(self.labels))
        return [self.labels[k : k + size] for k in range(0, len(self.labels), size)]

    def run(self, make):
        """Time ``make()``, which returns images (n, C, H, W), and store what came of it."""
        self._warm_up()
        before, began = peak_memory(), (time.perf_counter(), time.process_time())
        images = make()
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        peak, counts = peak_memory(), dict(self.classifier.counts)
        images = torch.as_tensor(np.asarray(images), dtype=torch.float32)
        np.save(self.folder / "images.npy", fitted(images, self.shape).clamp(0, 1).numpy())
        figures = {"wall": wall, "cpu": cpu, "peak": peak, "growth": peak - before} | counts
        (self.folder / "figures.json").write_text(json.dumps(figures))

    def _warm_up(self):
        """One step, so that nobody pays for what torch imports and allocates on the first."""
        image = torch.zeros(1, *self.shape, requires_grad=True)
        optimizer = torch.optim.Adam([image])
        self.classifier(image).sum().backward()
        optimizer.step()
        self.classifier.counts.clear()

    def _net(self):
        if not self.is_lite0:
            net = small_cnn()
            net.load_state_dict(torch.load(self.folder / "net.pt", weights_only=True))
            return net
        from efficientnet_lite_pytorch import EfficientNet

        weights = self.request["weights"]
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)


def peak_memory():
    """Largest resident set of this process so far, in MB.

    ``getrusage`` will not do: Linux hands a new program the peak of the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6

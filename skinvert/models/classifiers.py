"""The small networks that `fit` trains where the user brings no classifier."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

__all__ = ["ConvClassifier", "DenseClassifier", "Standardize", "default_architecture"]


class Standardize(nn.Module):
    """Subtract a mean and divide by a scale, both fixed.

    Parameters
    ----------
    mean : float or array-like of a shape that broadcasts, default=0.0
        Subtracted from the inputs.
    scale : float or array-like of a shape that broadcasts, default=1.0
        What the inputs are divided by. Zeros, of constant features, count as one.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifiers import Standardize
    >>> Standardize(1.0, 2.0)(torch.tensor([5.0]))
    tensor([2.])
    """

    def __init__(self, mean: float | ArrayLike = 0.0, scale: float | ArrayLike = 1.0) -> None:
        super().__init__()
        scale = torch.as_tensor(scale, dtype=torch.float32)
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.where(scale > 0, scale, 1.0))

    def forward(self, inputs: Any) -> Any:
        """Standardised inputs.

        Parameters
        ----------
        inputs : Tensor of shape (n, ...)
            In data units.

        Returns
        -------
        standardized : Tensor of shape (n, ...)
        """
        return (inputs - self.mean) / self.scale


class ConvClassifier(nn.Sequential):
    """Two convolutions and two dense layers, for images of 8 to 64 pixels.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        H and W of at least 4.
    n_classes : int
        Number of logits.
    width : int, default=32
        Channels of the first convolution; the second has twice as many.
    n_hidden : int, default=128
        Width of the hidden dense layer.
    mean, scale : float or array of shape (C, 1, 1), default=0.0 and 1.0
        The first layer standardises with them.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifiers import ConvClassifier
    >>> ConvClassifier((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        image_shape: tuple,
        n_classes: int,
        width: int = 32,
        n_hidden: int = 128,
        mean: float | ArrayLike = 0.0,
        scale: float | ArrayLike = 1.0,
    ) -> None:
        channels, height, tall = image_shape
        n_features = 2 * width * (height // 4) * (tall // 4)
        super().__init__(
            Standardize(mean, scale),
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(n_features, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_classes),
        )


class DenseClassifier(nn.Sequential):
    """Two hidden layers on standardised rows, for data that are not images.

    Parameters
    ----------
    n_features : int
        Length of a row.
    n_classes : int
        Number of logits.
    n_hidden : int, default=128
        Width of both hidden layers.
    mean, scale : float or array of shape (n_features,), default=0.0 and 1.0
        The first layer standardises with them.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifiers import DenseClassifier
    >>> DenseClassifier(13, 3)(torch.zeros(2, 13)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_hidden: int = 128,
        mean: float | ArrayLike = 0.0,
        scale: float | ArrayLike = 1.0,
    ) -> None:
        super().__init__(
            Standardize(mean, scale),
            nn.Linear(n_features, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_classes),
        )


def default_architecture(rows: np.ndarray, image_shape: tuple, n_classes: int) -> tuple[Any, dict]:
    """Class and constructor arguments of the default network for such data.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Training rows; the network standardises with their moments.
    image_shape : tuple (C, H, W) or None
        Layout of the rows; None where they are no images.
    n_classes : int
        Number of logits.

    Returns
    -------
    module : type
        `ConvClassifier` for images of at least 8 pixels a side, `DenseClassifier` otherwise.
    arguments : dict

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.classifiers import default_architecture
    >>> default_architecture(np.zeros((5, 13)), None, 3)[0].__name__
    'DenseClassifier'
    """
    if image_shape is None or min(image_shape[1:]) < 8:
        moments = {"mean": rows.mean(0), "scale": rows.std(0)}
        return DenseClassifier, {"n_features": rows.shape[1], "n_classes": n_classes, **moments}
    images = rows.reshape(len(rows), *image_shape)
    moments = {
        name: np.asarray(moment, dtype=np.float32).reshape(-1, 1, 1)
        for name, moment in (("mean", images.mean((0, 2, 3))), ("scale", images.std((0, 2, 3))))
    }
    return ConvClassifier, {"image_shape": image_shape, "n_classes": n_classes, **moments}

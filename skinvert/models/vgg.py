"""The VGG-style classifiers of ReGene (Tables A.5 to A.7), in any width."""

from numpy.typing import ArrayLike
from torch import nn

from skinvert.models.classifiers import Standardize

__all__ = ["VGGClassifier"]

_SLOPE = 0.3


class VGGClassifier(nn.Sequential):
    """The classifiers of ReGene's Tables A.5 (28 pixels), A.7 (32) and A.6 (64), and of 128 pixels.

    Convolutions with batch normalisation and LeakyReLU(0.3), halved by max-pooling until 3 or 4
    pixels are left, and one linear layer on the flattened rest: its input is the latent,
    ``9 * width`` values at 28 pixels and ``16 * width`` otherwise.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        Any H and W from 8 up. 28, 32, 64 and 128 pixels have the paper's layers.
    n_classes : int
        Number of logits.
    width : int, default=128
        Channels of every convolution; 128 in the paper.
    large_kernels : bool or None, default=None
        Whether the last two convolutions are 9 × 9 and 11 × 11 (Table A.7) instead of 3 × 3. None
        asks for them at 32 pixels alone.
    mean, scale : float or array of shape (C, 1, 1), default=0.0 and 1.0
        The first layer standardises with them; the paper's takes images as they are.

    Raises
    ------
    ValueError
        For images of fewer than 8 pixels a side.

    Notes
    -----
    The paper gives no table for 128 pixels; one more halving is used there. Table A.7 flattens
    4 × 4 positions of 128 channels, 2048 values.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.vgg import VGGClassifier
    >>> net = VGGClassifier((1, 28, 28), 10, width=8)
    >>> net(torch.zeros(2, 1, 28, 28)).shape, net[-1].in_features
    (torch.Size([2, 10]), 72)
    """

    def __init__(
        self,
        image_shape: tuple,
        n_classes: int,
        width: int = 128,
        large_kernels: bool | None = None,
        mean: float | ArrayLike = 0.0,
        scale: float | ArrayLike = 1.0,
    ) -> None:
        channels, *sides = image_shape
        if min(sides) < 8:
            raise ValueError(f"VGGClassifier needs 8 pixels a side or more, got {image_shape}.")
        if large_kernels is None:
            large_kernels = sides == [32, 32]
        layers = [Standardize(mean, scale), *_convolution(channels, width)]
        layers += _convolution(width, width)
        while min(sides) >= 6:
            layers.append(nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
            if min(sides) >= 6:
                layers += _convolution(width, width)
        kernels = (9, 11) if large_kernels else (3, 3)
        for kernel in kernels:
            layers += _convolution(width, width, kernel)
        layers += [nn.Flatten(), nn.Linear(width * sides[0] * sides[1], n_classes)]
        super().__init__(*layers)


def _convolution(n_in, n_out, kernel=3):
    return [
        # The normalisation that follows has a shift of its own.
        nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.LeakyReLU(_SLOPE),
    ]

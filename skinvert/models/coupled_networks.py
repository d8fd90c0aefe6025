"""The generator and the encoder of the coupled network, at any image size and width.

Table 2 of Despraz et al. (IJCCI 2017), completed by what the authors released: each convolution is
followed by a ReLU and a batch normalisation; the first one of a block is "valid", the second one
"same"; the last two of 128 channels have 4 × 4 kernels, for with the 3 × 3 that the table prints
there would be neither 224 pixels at the end nor the 5,240,841 weights of Table 1.
"""

import math

import torch
from torch import nn

from skinvert.models.decoders import Crop

__all__ = [
    "CoupledDecoder",
    "CoupledEncoder",
    "CoupledGenerator",
    "DenseGenerator",
    "LatentWeights",
    "table_latents",
]

_PAPER_WIDTH = 512
_BLOCKS = ((2, 512), (3, 256), (3, 256), (3, 128), (4, 128))  # kernel and channels, Table 2
_EPS, _MOMENTUM = 1e-3, 0.01  # of a generator's normalisation, as the authors' library has them

# Image side: whether each block's first convolution is "same" rather than "valid". These are the
# first blocks of the table, and 5 pixels grow to just this side; 224 has one more doubling.
_SAME = {
    8: (True,),
    28: (False, False, False),
    32: (True, False, False),
    64: (False, True, False, False),
    224: (False, False, False, False, False),
}


def table_latents(image_shape, width):
    """Length of the latent that fills the first maps of the table, 128 × 5 × 5 at full width.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
    width : int

    Returns
    -------
    n_latents : int

    Examples
    --------
    >>> from skinvert.models.coupled_networks import table_latents
    >>> table_latents((3, 224, 224), 512)
    3200
    """
    return math.prod(_first_maps(image_shape, width))


def _first_maps(image_shape, width):
    side = max(image_shape[1:])
    start = 5 if side <= 224 else math.ceil((side + 96) / 64)
    return max(width // 4, 1), start, start


class LatentWeights(nn.Module):
    r"""The :math:`\alpha_i` of eq. 1: every latent times a weight of its own, no bias.

    Parameters
    ----------
    n_latents : int

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.coupled_networks import LatentWeights
    >>> LatentWeights(3)(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(self, n_latents):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_latents))

    def forward(self, latents):
        return self.weight * latents


class CoupledGenerator(nn.Sequential):
    """The generator of the untrained variant: its last batch normalisation is the image.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        Squares of 8, 28, 32, 64 and 224 pixels come out as they are; others are cropped from the
        next larger one, above 224 from larger first maps.
    width : int, default=512
        Channels of the first block; all others keep their ratio to it.
    n_latents : int, default=None
        None is the table's. Any other goes through a dense layer first.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.coupled_networks import CoupledGenerator
    >>> generator = CoupledGenerator((1, 28, 28), width=16)
    >>> generator(torch.ones(1, 100)).shape
    torch.Size([1, 1, 28, 28])
    >>> sum(weights.numel() for weights in CoupledGenerator((3, 224, 224)).parameters())  # Table 1
    5240841
    """

    def __init__(
        self, image_shape: tuple, width: int = _PAPER_WIDTH, n_latents: int | None = None
    ) -> None:
        channels, height, tall = image_shape
        n_in, layers = _trunk(image_shape, width, _MOMENTUM)
        n_table = table_latents(image_shape, width)
        n_latents = n_table if n_latents is None else n_latents
        super().__init__(
            LatentWeights(n_latents),
            *_dense(n_latents, n_table),
            nn.Unflatten(1, _first_maps(image_shape, width)),
            *layers,
            nn.Conv2d(n_in, channels, 3),
            nn.ReLU(),
            Crop(height, tall),
            _norm(channels, _MOMENTUM),
        )


class CoupledDecoder(nn.Sequential):
    """The generator of the pretrained variant: the decoder of an autoencoder.

    Parameters
    ----------
    n_latents : int
        Any length but the table's goes through a dense layer first.
    image_shape : tuple (C, H, W)
        As of `CoupledGenerator`.
    width : int, default=512
        Channels of the first block; all others keep their ratio to it.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.coupled_networks import CoupledDecoder
    >>> CoupledDecoder(20, (3, 32, 32), width=16).eval()(torch.zeros(2, 20)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, n_latents: int, image_shape: tuple, width: int = _PAPER_WIDTH) -> None:
        channels, height, tall = image_shape
        n_in, layers = _trunk(image_shape, width)
        n_table, n_head = table_latents(image_shape, width), max(width // 8, 1)
        super().__init__(
            *_dense(n_latents, n_table),
            nn.Unflatten(1, _first_maps(image_shape, width)),
            *layers,
            *_convolved(n_in, n_head, 3, same=False),
            *_convolved(n_head, n_head, 3, same=True),
            nn.Conv2d(n_head, channels, 3, padding=1),
            Crop(height, tall),
            _norm(channels),
        )


class CoupledEncoder(nn.Sequential):
    """The encoder of the autoencoder: blocks of 32, 64, 128, 256 and 512 channels.

    Each has two "valid" 3 × 3 convolutions, with ReLU and batch normalisation, and halves the size;
    small images have as many blocks as they feed. Two dense layers follow. Codes are standardised
    (a batch normalisation without weights), so that the generator's units are known: zero is the
    mean code, one a standard deviation.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
        H and W of at least 8.
    n_latents : int, default=3200
        Length of the code.
    n_hidden : int, default=2048
        Width of the first dense layer.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.coupled_networks import CoupledEncoder
    >>> CoupledEncoder((1, 28, 28), 20).eval()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 20])
    """

    def __init__(self, image_shape: tuple, n_latents: int = 3200, n_hidden: int = 2048) -> None:
        n_in, height, tall = image_shape
        layers = []
        for n_out in (32, 64, 128, 256, 512):
            if min(height, tall) < 8:
                break
            layers += _convolved(n_in, n_out, 3, same=False)
            layers += _convolved(n_out, n_out, 3, same=False)
            layers.append(nn.MaxPool2d(2))
            n_in, height, tall = n_out, (height - 4) // 2, (tall - 4) // 2
        super().__init__(
            *layers,
            nn.Flatten(),
            nn.Linear(n_in * height * tall, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_latents),
            nn.BatchNorm1d(n_latents, affine=False),
        )


class DenseGenerator(nn.Sequential):
    """A generator of rows that are no images: two dense layers and a scale for each feature.

    Parameters
    ----------
    n_latents : int
    n_features : int
    n_hidden : int, default=64

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.coupled_networks import DenseGenerator
    >>> DenseGenerator(16, 13)(torch.zeros(2, 16)).shape
    torch.Size([2, 13])
    """

    def __init__(self, n_latents, n_features, n_hidden=64):
        super().__init__(
            LatentWeights(n_latents),
            nn.Linear(n_latents, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_features),
            LatentWeights(n_features),
        )


def _dense(n_latents, n_table):
    return [] if n_latents == n_table else [nn.Linear(n_latents, n_table)]


def _trunk(image_shape, width, momentum=0.1):
    """Channels at the end, and the layers between the first maps and the head."""
    side = max(image_shape[1:])
    size = min((known for known in _SAME if known >= side), default=224)
    n_in = _first_maps(image_shape, width)[0]
    layers = []
    for (kernel, channels), same in zip(_BLOCKS, _SAME[size], strict=False):
        n_out = max(channels * width // _PAPER_WIDTH, 1)
        layers.append(nn.Upsample(scale_factor=2))
        layers += _convolved(n_in, n_out, kernel, same=same, momentum=momentum)
        layers += _convolved(n_out, n_out, kernel, same=True, momentum=momentum)
        n_in = n_out
    if size == 224:
        layers.append(nn.Upsample(scale_factor=2))
    return n_in, layers


def _convolved(n_in, n_out, kernel, *, same, momentum=0.1):
    layers = [nn.Conv2d(n_in, n_out, kernel), nn.ReLU(), _norm(n_out, momentum)]
    if same and kernel % 2:
        layers[0] = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)
    elif same:
        # Even kernels have no middle: one pixel more on the right and below.
        before, after = (kernel - 1) // 2, kernel // 2
        layers.insert(0, nn.ZeroPad2d((before, after, before, after)))
    return layers


def _norm(channels, momentum=0.1):
    return nn.BatchNorm2d(channels, eps=_EPS, momentum=momentum)

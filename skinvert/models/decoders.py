"""Decoders: networks from a latent to an image, those of the papers among them."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from skinvert.models.training import local_seed

__all__ = [
    "ConvDecoder",
    "DECODERS",
    "DenseDecoder",
    "ScaledDecoder",
    "VGGDecoder",
    "make_decoder",
    "resolve_range",
]

_MARGIN = 0.01  # of the range, at either end
_ROWS_AT_ONCE = 4096
_SLOPE = 0.3  # of every LeakyReLU in ReGene's tables A.5 to A.7


class ConvDecoder(nn.Sequential):
    """A dense layer and transposed convolutions that double the size twice: the small default.

    Parameters
    ----------
    n_latents : int
    image_shape : tuple (C, H, W)
    width : int, default=32
        Channels before the last doubling; twice as many before the first.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.decoders import ConvDecoder
    >>> ConvDecoder(128, (1, 28, 28))(torch.zeros(2, 128)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(self, n_latents: int, image_shape: Sequence[int], width: int = 32) -> None:
        channels, height, tall = image_shape
        start = (2 * width, math.ceil(height / 4), math.ceil(tall / 4))
        super().__init__(
            nn.Linear(n_latents, math.prod(start)),
            nn.Unflatten(1, start),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(_SLOPE),
            *_doubled(2 * width, width),
            *_doubled(width, max(width // 2, 4)),
            nn.Conv2d(max(width // 2, 4), channels, 3, padding=1),
            Crop(height, tall),
            nn.Sigmoid(),
        )


def _doubled(n_in, n_out):
    return [
        nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1),
        nn.BatchNorm2d(n_out),
        nn.LeakyReLU(_SLOPE),
    ]


class Crop(nn.Module):
    """The middle (H, W) of images that are at least so large.

    Parameters
    ----------
    height, tall : int

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.decoders import Crop
    >>> Crop(3, 2)(torch.zeros(1, 1, 4, 4)).shape
    torch.Size([1, 1, 3, 2])
    """

    def __init__(self, height: int, tall: int) -> None:
        super().__init__()
        self.height, self.tall = height, tall

    def forward(self, images: Tensor) -> Tensor:
        top, left = (images.shape[2] - self.height) // 2, (images.shape[3] - self.tall) // 2
        return images[:, :, top : top + self.height, left : left + self.tall]


class DenseDecoder(nn.Sequential):
    """Two hidden layers, for rows that are no images. Its outputs have no bounds.

    Parameters
    ----------
    n_latents : int
    n_features : int
    width : int, default=128

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.decoders import DenseDecoder
    >>> DenseDecoder(16, 13)(torch.zeros(2, 16)).shape
    torch.Size([2, 13])
    """

    def __init__(self, n_latents: int, n_features: int, width: int = 128) -> None:
        super().__init__(
            nn.Linear(n_latents, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, n_features),
        )


class VGGDecoder(nn.Sequential):
    """The decoders of ReGene's Tables A.5 (28 pixels), A.7 (32) and A.6 (64), and of 128 pixels.

    Blocks of three convolutions, each followed by LeakyReLU(0.3) and batch normalisation, with
    nearest-neighbour doubling between them, and a sigmoid at the end. The latent is reshaped to
    ``(C, 3, 3)`` for 28 pixels and to ``(C, 4, 4)`` otherwise, as the paper's classifiers flatten
    it; one that cannot be so divided goes through a dense layer first.

    Parameters
    ----------
    n_latents : int
        1152 and 2048 in the paper.
    image_shape : tuple (C, H, W)
        H = W, one of 28, 32, 64 and 128.
    width : int, default=256
        Channels of the later blocks; the first has twice as many. The paper's is 256.

    Raises
    ------
    ValueError
        For any other size.

    Notes
    -----
    For 128 pixels the paper gives no table; one more block of A.6 is used. Table A.6 prints
    ``Conv2D`` where the others have ``Conv2DTranspose``, which at stride 1 spans the same maps.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.decoders import VGGDecoder
    >>> VGGDecoder(1152, (1, 28, 28), width=8)(torch.zeros(2, 1152)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(self, n_latents: int, image_shape: Sequence[int], width: int = 256) -> None:
        channels, height, tall = image_shape
        if height != tall or height not in (28, 32, 64, 128):
            raise ValueError(
                f"VGGDecoder is for square images of 28, 32, 64 or 128 pixels, got {image_shape}. "
                "Use decoder='conv', or a module of your own."
            )
        side = 3 if height == 28 else 4
        n_channels, rest = divmod(n_latents, side**2)
        layers: list[nn.Module] = []
        if rest:
            n_channels = width
            layers.append(nn.Linear(n_latents, width * side**2))
        layers.append(nn.Unflatten(1, (n_channels, side, side)))
        # "valid" transposed convolutions grow 3 pixels to 5 and 7, the start of 28.
        paddings = (0, 0, 1) if height == 28 else (1, 1, 1)
        layers += self._block(n_channels, 2 * width, paddings)
        n_in, size = 2 * width, 7 if height == 28 else 4
        while size < height:
            layers += [nn.Upsample(scale_factor=2), *self._block(n_in, width, (1, 1, 1))]
            n_in, size = width, 2 * size
        layers += [nn.Conv2d(width, channels, 3, padding=1), nn.Sigmoid()]
        super().__init__(*layers)

    @staticmethod
    def _block(n_in, n_out, paddings):
        layers = []
        for padding in paddings:
            layers += [
                nn.ConvTranspose2d(n_in, n_out, 3, padding=padding),
                nn.LeakyReLU(_SLOPE),
                nn.BatchNorm2d(n_out),
            ]
            n_in = n_out
        return layers


DECODERS = {"conv": ConvDecoder, "vgg": VGGDecoder, "dense": DenseDecoder}
"""Decoders by the names that estimators take; each accepts ``width``."""


class ScaledDecoder(nn.Module):
    """A decoder in data space: its answers are stretched to the range or the moments of the data.

    Parameters
    ----------
    network : torch.nn.Module
        Latents (n, n_latents) to images or rows.
    output_shape : tuple of int
        (C, H, W), or (n_features,).
    offset, scale : float or array of shape `output_shape`, default=0.0 and 1.0
        The answer is ``offset + scale * network(z)``.
    reaches_ends : bool, default=False
        For networks that end in a sigmoid, which never reaches 0 and 1: once trained, answers
        within 1 % of them are taken for them, and those between are stretched by 2 %. An empty
        background is then empty.

    Raises
    ------
    ValueError
        From `check`, if the network's answer has another shape.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.decoders import DenseDecoder, ScaledDecoder
    >>> ScaledDecoder(DenseDecoder(4, 3), (3,), offset=5.0)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    offset: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        output_shape: Sequence[int],
        offset: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        reaches_ends: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.reaches_ends = reaches_ends
        self.output_shape = tuple(output_shape)
        for name, value in (("offset", offset), ("scale", scale)):
            self.register_buffer(name, torch.as_tensor(np.asarray(value, dtype=np.float32)))

    def forward(self, latents: Tensor) -> Tensor:
        answer = self.network(latents)
        if self.reaches_ends and not self.training:
            answer = ((1 + 2 * _MARGIN) * answer - _MARGIN).clamp(0, 1)
        return self.offset + self.scale * answer

    def check(self, n_latents: int) -> None:
        """Raise ValueError, naming both shapes, unless the network decodes such latents."""
        was_training = self.training
        try:
            with torch.no_grad():
                answer = self.eval().network(torch.zeros(2, n_latents, device=self.scale.device))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ValueError(
                f"the decoder does not take latents of shape (n, {n_latents}), which the layer "
                f"gives: {str(error).splitlines()[0]}"
            ) from None
        finally:
            self.train(was_training)
        found = tuple(answer.shape[1:])
        if found != self.output_shape:
            raise ValueError(
                f"the decoder gives images of shape {found}, but those of X have shape "
                f"{self.output_shape}; change its last layers, or reshape there."
            )


def make_decoder(
    decoder: str | nn.Module | None,
    n_latents: int,
    rows: NDArray[Any],
    *,
    image_shape: Sequence[int] | None = None,
    width: int | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> tuple[ScaledDecoder, Any]:
    """A decoder in data space, untrained, and the unit in which its errors are measured.

    Parameters
    ----------
    decoder : {"conv", "vgg", "dense"}, torch.nn.Module or None
        None takes "conv" for images of 8 pixels or more a side and "dense" otherwise. A module is
        copied; its answers are data as they are.
    n_latents : int
    rows : ndarray of shape (n, n_features)
        Training rows. "dense" is stretched to their moments.
    image_shape : tuple (C, H, W) or None
    width : int or None
        None is the decoder's own default.
    value_range : tuple (low, high)
        What the sigmoid at the end of "conv" and "vgg" is stretched to.
    seed : int, default=0

    Returns
    -------
    decoder : ScaledDecoder
    scale : ndarray of shape () or (n_features,)
        The range of values for images, the standard deviation of each feature otherwise.

    Raises
    ------
    ValueError
        For "conv" and "vgg" without an image shape, and for a module that ends in a sigmoid where
        rows leave [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.decoders import make_decoder
    >>> make_decoder(None, 16, np.zeros((5, 784)), image_shape=(1, 28, 28))[0].output_shape
    (1, 28, 28)
    """
    shape = (rows.shape[1],) if image_shape is None else tuple(image_shape)
    low, high = value_range
    span = np.float32(high - low if high > low else 1.0)
    if isinstance(decoder, nn.Module):
        _check_sigmoid(decoder, low, high)
        unit = span if image_shape is not None else _spread(rows)
        return ScaledDecoder(copy.deepcopy(decoder), shape), unit
    if decoder is None:
        decoder = "conv" if image_shape is not None and min(image_shape[1:]) >= 8 else "dense"
    arguments = {} if width is None else {"width": width}
    with local_seed(seed):
        if decoder != "dense":
            if image_shape is None:
                raise ValueError(
                    f"decoder={decoder!r} decodes images, but nothing says that rows of "
                    f"{rows.shape[1]} values are images; set image_shape=(C, H, W)."
                )
            network = DECODERS[decoder](n_latents, image_shape, **arguments)
            return ScaledDecoder(network, shape, low, span, reaches_ends=True), span
        network = DenseDecoder(n_latents, rows.shape[1], **arguments)
    network.append(nn.Unflatten(1, shape))
    spread = _spread(rows)
    centred = ScaledDecoder(network, shape, rows.mean(0).reshape(shape), spread.reshape(shape))
    return centred, spread.reshape(shape) if image_shape is None else span


def resolve_range(clip: str | Sequence[float], rows: NDArray[Any]) -> tuple[float, float]:
    """The range of values of a decoder's images.

    Parameters
    ----------
    clip : "auto" or tuple (low, high)
        "auto" is the range of the rows.
    rows : ndarray of shape (n, n_features)

    Returns
    -------
    value_range : tuple (low, high)

    Raises
    ------
    ValueError
        If rows leave the range.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.decoders import resolve_range
    >>> resolve_range("auto", np.array([[1.0, 3.0]]))
    (1.0, 3.0)
    """
    low, high = float(rows.min()), float(rows.max())
    if isinstance(clip, str):
        return low, high
    if len(clip) != 2 or not clip[0] < clip[1]:
        raise ValueError(f"clip must be 'auto' or (low, high), got {clip!r}.")
    if low < clip[0] or high > clip[1]:
        raise ValueError(
            f"X has values from {low:g} to {high:g}, which a decoder with clip={tuple(clip)} "
            "cannot reach. Scale X, widen clip, or set clip='auto'."
        )
    return float(clip[0]), float(clip[1])


def _spread(rows):
    """``rows.std(0)``, bit by bit, without a copy of the rows, which may lie on a disk."""
    mean, squares = rows.mean(0), []
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        # The sum so far is the first row of what is summed next, as if there were no blocks.
        squares = np.vstack([*squares, (rows[first : first + _ROWS_AT_ONCE] - mean) ** 2])
        squares = [squares.sum(0)]
    spread = np.sqrt(squares[0] / len(rows))
    return np.where(spread > 0, spread, 1.0).astype(np.float32)


def _check_sigmoid(decoder, low, high):
    layers = [layer for layer in decoder.modules() if not list(layer.children())]
    if layers and isinstance(layers[-1], nn.Sigmoid) and (low < 0 or high > 1):
        raise ValueError(
            f"the decoder ends in a sigmoid, but X has values from {low:g} to {high:g}, outside "
            "[0, 1]. Scale X, or stretch the decoder's answer in the module."
        )

"""One network a row, all of them at work in one batch.

A generator that is optimised for one image has weights of its own. Their convolutions, side by
side, are one grouped convolution, and batch normalisation over a batch of one row is the same
operation over the groups' channels: statistics of the row's own maps.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from skinvert.models.coupled_networks import LatentWeights

__all__ = ["RowwiseNetwork"]


class RowwiseNetwork:
    """A network of which every row of a batch has a copy with other weights.

    Parameters
    ----------
    network : torch.nn.Sequential
        Of `LatentWeights`, Linear, Unflatten, Conv2d, BatchNorm2d, and layers that know no weights
        and no channels (ReLU, Upsample, ZeroPad2d, Crop). Its own weights are of no account.
    output_shape : tuple of int
        Of what one row comes out as.

    Attributes
    ----------
    scale_place : int
        Which parameter holds the last layer's scales.
    n_weights : int
        Tensors to be optimised; they come first among the parameters. Means and variances that
        batch normalisations keep, which no optimiser touches, come after them.

    Raises
    ------
    TypeError
        For layers that no row can have a copy of.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.models.coupled_networks import CoupledGenerator
    >>> from skinvert.models.rowwise import RowwiseNetwork
    >>> rowwise = RowwiseNetwork(CoupledGenerator((1, 8, 8), width=16), (1, 8, 8))
    >>> first, second = (rowwise.start(RowNoise([seed])) for seed in (0, 1))
    >>> params = [torch.cat(pair) for pair in zip(first, second)]
    >>> rowwise(params, torch.ones(2, 100)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, network, output_shape):
        self.layers, self.output_shape = list(network), tuple(output_shape)
        for layer in self.layers:
            if not isinstance(layer, tuple(_WITH_WEIGHTS)) and list(layer.parameters()):
                raise TypeError(
                    f"{type(layer).__name__} has weights, but rows can have copies of "
                    f"{[kind.__name__ for kind in _WITH_WEIGHTS]} only."
                )
        self._weights_of = [list(layer.parameters()) for layer in self.layers]
        self.n_weights = sum(len(weights) for weights in self._weights_of)
        self.scale_place = self.n_weights - len(self._weights_of[-1])
        self._norms = [layer for layer in self.layers if isinstance(layer, nn.BatchNorm2d)]

    def start(self, noise):
        """First parameters of rows: Glorot's uniform weights, no biases, unit scales.

        Parameters
        ----------
        noise : RowNoise with n slots

        Returns
        -------
        params : tuple of Tensor (n, ...)
        """
        params = [
            _first(layer, weight, noise)
            for layer, weights in zip(self.layers, self._weights_of, strict=True)
            for weight in weights
        ]
        for norm in self._norms:
            ones = torch.ones(len(noise), norm.num_features, device=noise.device)
            params += [torch.zeros_like(ones), ones]
        return tuple(params)

    def scales(self, params):
        """Weights (n, n_channels) of the last layer: the γ of eq. 3."""
        return params[self.scale_place]

    def __call__(self, params, latents, *, learn=False, own_statistics=True):
        """One answer a row.

        Parameters
        ----------
        params : sequence of Tensor (n, ...)
        latents : Tensor of shape (n, n_latents)
        learn : bool, default=False
            Whether the running means and variances take this pass in, in place.
        own_statistics : bool, default=True
            Normalise with the statistics of the row's maps, or else with the running ones.

        Returns
        -------
        answers : Tensor of shape (n, *output_shape)
        """
        weights = iter(params[: self.n_weights])
        kept = iter(params[self.n_weights :])
        x = latents
        for layer, own in zip(self.layers, self._weights_of, strict=True):
            row_weights = [next(weights) for _ in own]
            if isinstance(layer, nn.BatchNorm2d):
                running = [next(kept).detach().view(-1) for _ in range(2)]
                if own_statistics and not learn:
                    running = [None, None]
                x = _normalise(layer, x, row_weights, running, own_statistics)
            elif isinstance(layer, nn.Unflatten):
                # From here on the rows lie side by side, as groups of channels.
                x = x.reshape(
                    1, len(latents) * layer.unflattened_size[0], *layer.unflattened_size[1:]
                )
            else:
                x = _WITH_WEIGHTS[type(layer)](layer, x, *row_weights) if own else layer(x)
        return x.reshape(len(latents), *self.output_shape)


def _scaled(layer, x, weight):
    return weight * x


def _linear(layer, x, weight, bias):
    # Sums of products row by row; a batched product's bits may depend on the place in the batch.
    return torch.baddbmm(bias[:, :, None], weight, x[:, :, None])[:, :, 0]


def _convolved(layer, x, weight, bias):
    return F.conv2d(
        x, weight.flatten(0, 1), bias.flatten(), padding=layer.padding, groups=len(weight)
    )


def _normalise(layer, x, weights, running, own_statistics):
    scale, shift = (weight.flatten() for weight in weights)
    return F.batch_norm(x, *running, scale, shift, own_statistics, layer.momentum, layer.eps)


_WITH_WEIGHTS = {
    LatentWeights: _scaled,
    nn.Linear: _linear,
    nn.Conv2d: _convolved,
    nn.BatchNorm2d: _normalise,
}


def _first(layer, weight, noise):
    """A starting value for one of the layer's weights, one a row."""
    shape = weight.shape
    if weight is getattr(layer, "bias", None):
        return torch.zeros(len(noise), *shape, device=noise.device)
    if isinstance(layer, nn.BatchNorm2d):
        return torch.ones(len(noise), *shape, device=noise.device)
    if isinstance(layer, LatentWeights):
        fans = 2 * math.sqrt(shape[0])
    else:
        fans = (shape[0] + shape[1]) * math.prod(shape[2:])
    return (2 * noise.uniform(*shape) - 1) * math.sqrt(6 / fans)

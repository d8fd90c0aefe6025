"""The paper's network: square linear layers with LeakyReLUs between them, and its exact inverse."""

import math

import torch
from torch import nn

from skinvert.flows.linear import BoundedLinear, SquareLinear, random_rotation

__all__ = ["LeakyReLU", "SquareFlow"]

_LINEAR_SIDE = 1.0  # standard deviations of whitened units


class LeakyReLU(nn.Module):
    """max(x, slope x), which is invertible for any positive slope.

    Its condition number is 1/slope: four layers of torch's own 0.01 may stretch by 1e8.

    Parameters
    ----------
    slope : float
        In (0, 1].

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.square import LeakyReLU
    >>> y, log_det = LeakyReLU(0.5)(torch.tensor([[2.0, -2.0]]))
    >>> y.tolist(), log_det.exp().tolist()
    ([[2.0, -1.0]], [0.5])
    """

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x, with_log_det=True):
        """Outputs (n, n_features) and log-determinants (n,), or None."""
        y = nn.functional.leaky_relu(x, self.slope)
        return y, _log_slopes(x, self.slope) if with_log_det else None

    def inverse(self, y):
        """Inputs of outputs (n, n_features)."""
        return torch.where(y < 0, y / self.slope, y)

    def condition_number(self):
        """1/slope."""
        return 1 / self.slope


def _log_slopes(x, slope):
    return (x < 0).to(x.dtype).sum(1) * math.log(slope)


class SquareFlow(nn.Module):
    """Linear layers as wide as the data, with a LeakyReLU after each of them or none.

    The paper's Base is four blocks, its Small one, its NoActivations four blocks without
    activation.

    Parameters
    ----------
    n_features : int
    n_blocks : int, default=4
    activation : bool, default=True
    negative_slope : float, default=0.01
    max_condition : float or None, default=None
        Bound on the condition number of every linear layer; None leaves the matrices free.
    axes, scales : Tensor of shape (n_features, n_features) and (n_features,), default=None
        First rotation and scales of bounded layers; a random rotation and ones if None.
    n_reflections : int, default=64
    seed : int, default=0

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.square import SquareFlow
    >>> flow = SquareFlow(5, n_blocks=2, negative_slope=0.5).double()
    >>> x = torch.randn(3, 5, dtype=torch.float64)
    >>> z, log_det = flow(x)
    >>> bool((flow.inverse(z) - x).abs().max() < 1e-10)
    True
    """

    conditional = False

    def __init__(
        self,
        n_features,
        *,
        n_blocks=4,
        activation=True,
        negative_slope=0.01,
        max_condition=None,
        axes=None,
        scales=None,
        n_reflections=64,
        seed=0,
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for block in range(n_blocks):
            if max_condition is None:
                layers.append(SquareLinear.default(n_features, generator))
            else:
                first = block == 0 and axes is not None
                layers.append(
                    BoundedLinear(
                        axes if first else random_rotation(n_features, generator),
                        scales if first else torch.ones(n_features),
                        n_reflections=n_reflections,
                        max_condition=max_condition,
                        generator=generator,
                    )
                )
                if activation:
                    # Most units start on their linear side, so that training starts from the
                    # Gaussian that whitening fits and bends it where that pays.
                    nn.init.constant_(layers[-1].bias, _LINEAR_SIDE)
            if activation:
                layers.append(LeakyReLU(negative_slope))
        self.layers = nn.ModuleList(layers)

    def forward(self, x, column=None, with_log_det=True):
        """Latent rows (n, n_features) and log-determinants (n,), or None.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        column : None
            All classes share the map.
        with_log_det : bool, default=True
        """
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device) if with_log_det else None
        for layer in self.layers:
            x, log_det = layer(x, with_log_det)
            if with_log_det:
                total = total + log_det
        return x, total

    def inverse(self, z, column=None):
        """Rows (n, n_features) of latent rows, by exact solves from the last layer to the first."""
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z

    def blocks(self):
        """The linear layers, each with the activation after it: list of lists of layers."""
        layers = list(self.layers)
        starts = [k for k, layer in enumerate(layers) if not isinstance(layer, LeakyReLU)]
        return [layers[a:b] for a, b in zip(starts, [*starts[1:], len(layers)], strict=True)]

    def condition_numbers(self):
        """Of the linear layers: a list of n_blocks floats."""
        return [block[0].condition_number() for block in self.blocks()]

    def first_broken_block(self, x, column=None):
        """Index of the first block whose answer to rows is not finite; None if all are."""
        for index, block in enumerate(self.blocks()):
            for layer in block:
                x, log_det = layer(x)
                if not (torch.isfinite(x).all() and torch.isfinite(log_det).all()):
                    return index
        return None

"""Affine coupling blocks between fixed rotations, conditioned on the class."""

import torch
from torch import nn

from skinvert.flows.linear import random_rotation
from skinvert.flows.preprocessing import log_normal

__all__ = ["AffineCoupling", "ClassWhitening", "CouplingFlow"]


class ClassWhitening(nn.Module):
    """Each class's rows to spherical ones along that class's own principal axes.

    Parameters
    ----------
    means, scales : Tensor of shape (n_classes, n_features)
        Of the classes, and their standard deviations along the axes.
    axes : Tensor of shape (n_classes, n_features, n_features)
        Orthogonal, one axis a column.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.coupling import ClassWhitening
    >>> whitening = ClassWhitening(
    ...     torch.zeros(1, 2), torch.tensor([[2.0, 1.0]]), torch.eye(2)[None])
    >>> whitening(torch.ones(1, 2), 0)[0].tolist()
    [[0.5, 1.0]]
    """

    def __init__(self, means, scales, axes):
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("scales", scales)
        self.register_buffer("axes", axes)

    def forward(self, x, column):
        """Coordinates (n, n_features) of rows of one class, and log-determinants (n,)."""
        log_det = -self.scales[column].log().sum()
        return (x - self.means[column]) @ self.axes[column] / self.scales[column], log_det.expand(
            len(x)
        )

    def inverse(self, z, column):
        """Rows (n, n_features) of coordinates."""
        return (z * self.scales[column]) @ self.axes[column].T + self.means[column]


class AffineCoupling(nn.Module):
    r"""One half of the coordinates scales and shifts the other, after a fixed rotation.

    :math:`(a, b) \mapsto (a,\; b\, e^{s(a, k)} + t(a, k))` with
    :math:`s = c \tanh(\cdot / c)`, so that neither direction can explode.

    Parameters
    ----------
    n_features : int
    n_classes : int
    hidden : int
        Width of the two hidden layers.
    clamp : float
        c: scales stay within :math:`e^{\pm c}`.
    dropout : float
        Share of hidden units that are left out while training.
    generator : torch.Generator

    Notes
    -----
    Dinh et al., "Density estimation using Real NVP", 2017; class-conditional as in Ardizzone et
    al., "Guided image generation with conditional invertible neural networks", 2019.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.coupling import AffineCoupling
    >>> block = AffineCoupling(4, 2, 8, 1.0, 0.0, torch.Generator())
    >>> x, onehot = torch.ones(3, 4), torch.eye(2)[[0, 1, 1]]
    >>> bool(torch.allclose(block.inverse(block(x, onehot)[0], onehot), x, atol=1e-5))
    True
    """

    def __init__(self, n_features, n_classes, hidden, clamp, dropout, generator):
        super().__init__()
        self.n_kept = n_features // 2
        self.clamp = clamp
        self.register_buffer("rotation", random_rotation(n_features, generator).float())
        self.net = nn.Sequential(
            nn.Linear(self.n_kept + n_classes, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 2 * (n_features - self.n_kept)),
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)
        # The flow starts as the identity, which after whitening is a Gaussian a class.
        nn.init.zeros_(self.net[-1].weight)

    def _scale_and_shift(self, kept, onehot):
        shift, raw = self.net(torch.cat([kept, onehot], dim=1)).chunk(2, dim=1)
        return self.clamp * torch.tanh(raw / self.clamp), shift

    def forward(self, x, onehot):
        """Outputs (n, n_features) and log-determinants (n,)."""
        kept, moved = (x @ self.rotation).tensor_split([self.n_kept], dim=1)
        log_scale, shift = self._scale_and_shift(kept, onehot)
        return torch.cat([kept, moved * log_scale.exp() + shift], dim=1), log_scale.sum(1)

    def inverse(self, z, onehot):
        """Inputs of outputs (n, n_features)."""
        kept, moved = z.tensor_split([self.n_kept], dim=1)
        log_scale, shift = self._scale_and_shift(kept, onehot)
        moved = (moved - shift) * (-log_scale).exp()
        return torch.cat([kept, moved], dim=1) @ self.rotation.T


class CouplingFlow(nn.Module):
    """Class-conditional whitening, then coupling blocks on the leading coordinates.

    What lies beyond the leading coordinates stays Gaussian.

    Parameters
    ----------
    whitening : ClassWhitening
    n_leading : int
        Coordinates that the blocks work on.
    n_blocks : int, default=8
    hidden : int, default=256
    clamp : float, default=2.0
    dropout : float, default=0.0
    seed : int, default=0

    Raises
    ------
    ValueError
        If there are fewer than two coordinates to couple.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.coupling import ClassWhitening, CouplingFlow
    >>> whitening = ClassWhitening(
    ...     torch.zeros(2, 3), torch.ones(2, 3), torch.eye(3).expand(2, 3, 3))
    >>> flow = CouplingFlow(whitening, 3, hidden=8)
    >>> x = torch.ones(5, 3)
    >>> bool(torch.allclose(flow.inverse(flow(x, 1)[0], 1), x, atol=1e-5))
    True
    """

    conditional = True
    takes_all_classes = False

    def __init__(
        self, whitening, n_leading, *, n_blocks=8, hidden=256, clamp=2.0, dropout=0.0, seed=0
    ):
        super().__init__()
        self.whitening = whitening
        self.n_classes, self.n_features = whitening.means.shape
        self.n_leading = min(n_leading, self.n_features)
        if self.n_leading < 2:
            raise ValueError(
                "a coupling block needs two features at least, one to keep and one to move; got "
                f"{self.n_leading}. Use architecture='sliced' or 'square' for a single feature."
            )
        generator = torch.Generator().manual_seed(seed)
        self.couplings = nn.ModuleList(
            AffineCoupling(self.n_leading, self.n_classes, hidden, clamp, dropout, generator)
            for _ in range(n_blocks)
        )

    def _onehot(self, column, like):
        columns = torch.as_tensor(column, device=like.device).expand(len(like))
        return nn.functional.one_hot(columns, self.n_classes).to(like.dtype)

    def forward(self, x, column, with_log_det=True):
        """Latent rows (n, n_features) and log-determinants (n,) under the map of one class.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
        column : int
        with_log_det : bool, default=True
            Coupling blocks have it for nothing.
        """
        x, log_det = self.whitening(x, column)
        z, inner = self.couple(x, self._onehot(column, x))
        return z, log_det + inner

    def log_density(self, x, column):
        """Log-density (n,) of rows under the map of one class, in nats."""
        z, log_det = self(x, column)
        return log_normal(z) + log_det

    def couple(self, x, onehot):
        """The blocks alone, on whitened rows (n, n_features) of any classes."""
        leading, rest = x.tensor_split([self.n_leading], dim=1)
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for block in self.couplings:
            leading, log_det = block(leading, onehot)
            total = total + log_det
        return torch.cat([leading, rest], dim=1), total

    def inverse(self, z, column):
        """Rows (n, n_features) of latent rows under the map of one class."""
        leading, rest = z.tensor_split([self.n_leading], dim=1)
        onehot = self._onehot(column, z)
        for block in reversed(self.couplings):
            leading = block.inverse(leading, onehot)
        return self.whitening.inverse(torch.cat([leading, rest], dim=1), column)

    def condition_numbers(self):
        """Of the whitening (the worst class), then what the clamp allows each coupling's scales."""
        scales = self.whitening.scales.double()
        first = float((scales.amax(1) / scales.amin(1)).max())
        widest = [float(torch.tensor(2 * block.clamp).exp()) for block in self.couplings]
        return [first, *widest]

    def first_broken_block(self, x, column):
        """Index of the first block whose answer to rows is not finite; None if all are."""
        x, _ = self.whitening(x, column)
        if not torch.isfinite(x).all():
            return 0
        leading, onehot = x[:, : self.n_leading], self._onehot(column, x)
        for index, block in enumerate(self.couplings, start=1):
            leading, log_det = block(leading, onehot)
            if not (torch.isfinite(leading).all() and torch.isfinite(log_det).all()):
                return index
        return None

"""Coupling of pixels, coarse to fine: each moved by a monotone map that those before it choose."""

import math

import torch
from torch import nn

from skinvert.flows.preprocessing import log_normal
from skinvert.flows.transports import normal_quantile

__all__ = ["CellMixture", "PixelCoupling"]

_FLOOR = 1e-4  # share of a uniform law, so that no cell is impossible
_N_LOGISTICS = 5
_KERNEL = 5
_LEAST_LOG_SCALE = -7.0
_LEAST_PLACE = 1e-12
_FAR = 1e6  # in scales of a logistic


class CellMixture:
    """Monotone maps of single values to a standard normal: mixtures of logistics in cells.

    Each cell of a grid on [-1, 1] has the mass that a mixture gives it (with the mixture's tails
    in the outer cells), spread evenly; the map is that law's distribution function, then the
    normal quantile. Under uniform dequantisation it is exactly the code of the discrete law.

    Parameters
    ----------
    raw : Tensor of shape (..., 3 * n_logistics)
        Unnormalised log-weights, means and log-scales.
    n_levels : int
        Cells.

    Notes
    -----
    Salimans et al., "PixelCNN++", ICLR 2017, for the law; Ho et al., "Flow++", ICML 2019, for a
    coupling by a mixture's distribution function.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.pixels import CellMixture
    >>> law = CellMixture(torch.zeros(1, 3).double(), 16)
    >>> z, log_density = law.forward(torch.tensor([7.25]).double())
    >>> round(law.inverse(z).item(), 6)
    7.25
    """

    def __init__(self, raw, n_levels):
        log_weights, self.means, log_scales = raw.chunk(3, dim=-1)
        self.log_weights = torch.log_softmax(log_weights, dim=-1) + math.log1p(-_FLOOR)
        self.scales = log_scales.clamp_min(_LEAST_LOG_SCALE).exp()
        self.n_levels = n_levels

    def _own(self, edge):
        """An edge of cells, counted from 0, in every logistic's own units; far out at the ends."""
        place = (2 * edge / self.n_levels - 1)[..., None]
        own = (place - self.means) / self.scales
        # Far, not infinite, for the gradients' sake.
        own = own.masked_fill((edge <= 0)[..., None], -_FAR)
        return own.masked_fill((edge >= self.n_levels)[..., None], _FAR)

    def _mixed(self, terms, uniform):
        floor = (uniform * _FLOOR).clamp_min(torch.finfo(uniform.dtype).tiny).log()[..., None]
        return torch.logsumexp(torch.cat([self.log_weights + terms, floor], dim=-1), dim=-1)

    def log_below(self, edge):
        """Logarithm of the mass of all cells below an edge."""
        return self._mixed(nn.functional.logsigmoid(self._own(edge)), edge / self.n_levels)

    def log_above(self, edge):
        """Logarithm of the mass of all cells above an edge."""
        return self._mixed(nn.functional.logsigmoid(-self._own(edge)), 1 - edge / self.n_levels)

    def log_mass(self, cell):
        """Logarithm of the mass of cells, given as whole numbers."""
        upper, lower = self._own(cell + 1), self._own(cell)
        width = 2 / self.n_levels / self.scales
        terms = nn.functional.logsigmoid(upper) + nn.functional.logsigmoid(-lower)
        inner = terms + torch.log(-torch.expm1(-width))
        # In the outer cells one side's tail is all there is.
        outer = ((cell <= 0) | (cell >= self.n_levels - 1))[..., None]
        return self._mixed(torch.where(outer, terms, inner), torch.ones_like(cell) / self.n_levels)

    def forward(self, place):
        """Standard normal values of places in [0, n_levels], and log-densities of the places."""
        cell = place.detach().floor().clamp(0, self.n_levels - 1)
        inside = (place - cell).clamp(_LEAST_PLACE, 1 - _LEAST_PLACE)
        mass = self.log_mass(cell)
        below = torch.logaddexp(self.log_below(cell), inside.log() + mass)
        above = torch.logaddexp(self.log_above(cell + 1), (-inside).log1p() + mass)
        side = torch.where(below < above, 1.0, -1.0).to(place.dtype)
        return side * normal_quantile(torch.minimum(below, above)), mass

    def inverse(self, z):
        """Places of standard normal values: the cell by bisection, then a straight line."""
        below, above = torch.special.log_ndtr(z), torch.special.log_ndtr(-z)
        low, high = torch.zeros_like(z), torch.full_like(z, self.n_levels)
        for _ in range(math.ceil(math.log2(self.n_levels))):
            middle = ((low + high) / 2).floor()
            is_above = torch.where(
                z < 0, below >= self.log_below(middle), above <= self.log_above(middle)
            )
            low = torch.where(is_above, middle, low)
            high = torch.where(is_above, high, middle)
        mass = self.log_mass(low)
        rise = ((below - mass).exp() - (self.log_below(low) - mass).exp()).clamp(0, 1)
        fall = ((above - mass).exp() - (self.log_above(low + 1) - mass).exp()).clamp(0, 1)
        return low + torch.where(z < 0, rise, 1 - fall)


class _Chooser(nn.Module):
    """What a group of pixels may be, from those before it, their places and the class."""

    def __init__(self, n_known, n_new, size, n_classes, hidden, n_blocks, generator):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(hidden, *size))
        self.classes = nn.Parameter(torch.zeros(n_classes, hidden))
        self.first = nn.Conv2d(n_known, hidden, _KERNEL, padding=_KERNEL // 2) if n_known else None
        self.blocks = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(n_blocks))
        self.last = nn.Conv2d(hidden, 3 * _N_LOGISTICS * n_new, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                bound = layer.weight[0].numel() ** -0.5
                nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.places.normal_(0, 0.1, generator=generator)
            bias = self.last.bias.view(n_new, 3, _N_LOGISTICS)
            bias[:, 1] = torch.linspace(-1, 1, _N_LOGISTICS)
            bias[:, 2] = -2.0

    def forward(self, known, columns):
        """Raw parameters (n, n_new, H, W, 3 * n_logistics)."""
        hidden = self.places + self.classes[columns][:, :, None, None]
        if self.first is not None:
            hidden = hidden + self.first(known)
        hidden = torch.relu(hidden)
        for block in self.blocks:
            hidden = hidden + torch.relu(block(hidden))
        raw = self.last(hidden)
        return raw.unflatten(1, (-1, 3 * _N_LOGISTICS)).movedim(2, -1)


class PixelCoupling(nn.Module):
    """Images, a few pixels first and then those between, each given all before it and the class.

    On a grid of twice the distance all is known; then come, each group in one step, the pixels in
    the middle of four known ones, those beside them and those above, and the grid is as fine as
    the next. The first grid of at most two by two is moved by its class and place alone.

    Parameters
    ----------
    image_shape : tuple (C, H, W)
    low, step : float
        Least edge and width of the quantisation cells, in the units of the rows.
    n_levels : int
        Cells.
    n_classes : int
    n_blocks : int, default=2
        Residual layers in each of the networks.
    hidden : int, default=64
    seed : int, default=0

    Notes
    -----
    The order of Reed et al., "Parallel multiscale autoregressive density estimation", ICML 2017.

    Examples
    --------
    >>> import torch
    >>> from skinvert.flows.pixels import PixelCoupling
    >>> flow = PixelCoupling((1, 4, 4), 0.0, 1.0, 16, n_classes=2, hidden=8).double()
    >>> x = 16 * torch.rand(3, 16, dtype=torch.float64)
    >>> z, log_det = flow(x, 1)
    >>> bool((flow.inverse(z, 1) - x).abs().max() < 1e-9)
    True
    """

    conditional = True
    takes_all_classes = True

    def __init__(
        self, image_shape, low, step, n_levels, *, n_classes, n_blocks=2, hidden=64, seed=0
    ):
        super().__init__()
        self.image_shape, self.n_levels = tuple(image_shape), n_levels
        self.low, self.step = low, step
        channels, height, width = image_shape
        self.coarsest = 2 ** int(math.log2(min(height, width)))
        self.padded = [-(-size // self.coarsest) * self.coarsest for size in (height, width)]
        generator = torch.Generator().manual_seed(seed)
        settings = (n_classes, hidden, n_blocks, generator)
        size = [side // self.coarsest for side in self.padded]
        choosers = [_Chooser(0, channels, size, *settings)]
        for distance in self._distances():
            size = [side // (2 * distance) for side in self.padded]
            choosers += [_Chooser(k * channels, channels, size, *settings) for k in (1, 2, 3)]
        self.choosers = nn.ModuleList(choosers)

    def _distances(self):
        distance = self.coarsest // 2
        while distance:
            yield distance
            distance //= 2

    def _groups(self):
        """Slices of each group's pixels, and of the pixels beside them that are known by then."""
        first = slice(None, None, self.coarsest)
        yield (first, first), []
        for distance in self._distances():
            even, odd = slice(None, None, 2 * distance), slice(distance, None, 2 * distance)
            order = [(even, even), (odd, odd), (even, odd), (odd, even)]
            for k in (1, 2, 3):
                yield order[k], order[:k]

    def _images(self, rows):
        _, height, width = self.image_shape
        padding = (0, self.padded[1] - width, 0, self.padded[0] - height)
        return nn.functional.pad(rows.reshape(-1, *self.image_shape), padding)

    def _rows(self, images):
        return images[:, :, : self.image_shape[1], : self.image_shape[2]].flatten(1)

    def _places(self, x):
        """Rows in units of cells, from 0 to `n_levels`."""
        places = (x - self.low) / self.step
        outside = (places < -1e-6) | (places > self.n_levels + 1e-6)
        if not self.training and bool(outside.any()):
            raise ValueError(
                "values lie outside the range that fit saw, and a coupling of pixels has no "
                "density there; clip X to value_range_."
            )
        return places.clamp(0, self.n_levels)

    def _laws(self, images, columns):
        """Each group's slices and law, given images of places."""
        known = 2 * images / self.n_levels - 1
        for chooser, (own, before) in zip(self.choosers, self._groups(), strict=True):
            context = torch.cat([known[:, :, a, b] for a, b in before], 1) if before else None
            yield own, CellMixture(chooser(context, columns), self.n_levels)

    def _columns(self, column, like):
        return torch.as_tensor(column, device=like.device).expand(len(like))

    def log_density(self, x, column):
        """Log-density (n,) of rows under the maps of their classes, an int or a Tensor (n,)."""
        images = self._images(self._places(x))
        found = torch.zeros_like(images)
        for (a, b), law in self._laws(images, self._columns(column, x)):
            cell = images[:, :, a, b].detach().floor().clamp(0, self.n_levels - 1)
            found[:, :, a, b] = law.log_mass(cell)
        return self._rows(found).sum(1) - x.shape[1] * math.log(self.step)

    def forward(self, x, column, with_log_det=True):
        """Latent rows (n, n_features) and log-determinants (n,) under the map of one class."""
        images = self._images(self._places(x))
        latents, found = torch.zeros_like(images), torch.zeros_like(images)
        for (a, b), law in self._laws(images, self._columns(column, x)):
            latents[:, :, a, b], found[:, :, a, b] = law.forward(images[:, :, a, b])
        z = self._rows(latents)
        log_density = self._rows(found).sum(1) - x.shape[1] * math.log(self.step)
        return z, log_density - log_normal(z)

    def inverse(self, z, column):
        """Rows (n, n_features) of latent rows under the map of one class."""
        columns, latents = self._columns(column, z), self._images(z)
        images = torch.zeros_like(latents)
        inside = self._images(torch.ones_like(z))
        # The networks see each group when it is there: laws are made as they are asked for.
        for chooser, ((a, b), before) in zip(self.choosers, self._groups(), strict=True):
            known = [2 * images[:, :, c, d] / self.n_levels - 1 for c, d in before]
            context = torch.cat(known, 1) if known else None
            law = CellMixture(chooser(context, columns), self.n_levels)
            images[:, :, a, b] = law.inverse(latents[:, :, a, b]) * inside[:, :, a, b]
        return self.low + self.step * self._rows(images)

    def condition_numbers(self):
        """What the floor under the cells' masses allows every step: a list of floats."""
        return [self.n_levels / _FLOOR] * len(self.choosers)

    def first_broken_block(self, x, column):
        """Index of the first step whose law of rows is not finite; None if all are."""
        images = self._images(self._places(x))
        for index, ((a, b), law) in enumerate(self._laws(images, self._columns(column, x))):
            cell = images[:, :, a, b].floor().clamp(0, self.n_levels - 1)
            if not torch.isfinite(law.log_mass(cell)).all():
                return index
        return None

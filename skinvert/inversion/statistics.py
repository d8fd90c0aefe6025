"""Statistics of a network's features: of an image, of a group of rows, of the data it learned from.

The mean and the spread of a channel say what is in a picture and not where. DeepInversion matches
them to those of the training data, IMAGINE to those of one reference picture.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from skinvert.inversion.features import check_layers, in_single
from skinvert.models.frozen import FrozenClassifier
from skinvert.models.norm_folding import Folding, shared_modules

__all__ = [
    "LayerStatistics",
    "channel_moments",
    "channel_statistics",
    "image_statistics",
    "measured_statistics",
    "record_features",
    "running_statistics",
    "shared_copy",
    "statistics_layers",
]

# Below it a channel is taken for constant: the root has no slope at zero.
_LEAST_VARIANCE = 1e-12

# Channels that hardly ever vary would rule a layer whose channels are measured in their own spread.
_LEAST_SHARE = 1e-3

_MAPPED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)


def channel_statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    r"""Mean :math:`\mu_l(x)` and standard deviation :math:`\sigma_l(x)` of each channel.

    IMAGINE, eq. 5 (CVPR 2021). The deviation is the biased one: a picture is all there is.

    Parameters
    ----------
    features : Tensor of shape (n, C, H, W), (n, n_tokens, C) or (n, C)
        What a layer answers: maps of a convolution, tokens of a transformer (channels last), or
        the values of a dense layer, which have one position each.

    Returns
    -------
    mean : Tensor of shape (n, C)
    std : Tensor of shape (n, C)
        At least 1e-6; its gradient is zero, not infinite, where a channel is constant.

    Raises
    ------
    ValueError
        For features of another number of dimensions.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.statistics import channel_statistics
    >>> mean, std = channel_statistics(torch.tensor([[[[1.0, 3.0]], [[5.0, 9.0]]]]))
    >>> mean.tolist(), std.tolist()
    ([[2.0, 7.0]], [[1.0, 2.0]])
    """
    mean, variance = channel_moments(features)
    return mean, variance.clamp_min(_LEAST_VARIANCE).sqrt()


def channel_moments(features: Tensor, group_size: int = 1) -> tuple[Tensor, Tensor]:
    r"""Mean :math:`\mu_l(x)` and biased variance :math:`\sigma_l^2(x)` of each channel.

    Parameters
    ----------
    features : Tensor of shape (n, C, H, W), (n, n_tokens, C) or (n, C)
        As of `channel_statistics`.
    group_size : int, default=1
        Neighbouring rows whose moments are taken together; it divides n.

    Returns
    -------
    mean : Tensor of shape (n / group_size, C)
    variance : Tensor of shape (n / group_size, C)

    Raises
    ------
    ValueError
        For features of another number of dimensions.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.statistics import channel_moments
    >>> mean, variance = channel_moments(torch.tensor([[1.0], [3.0]]), group_size=2)
    >>> mean.tolist(), variance.tolist()
    ([[2.0]], [[1.0]])
    """
    return _Moments.apply(by_position(features, group_size))


class _Moments(torch.autograd.Function):
    """Moments of (n, P, C) over P, whose gradient is one pass over the features."""

    @staticmethod
    def forward(ctx, features):
        mean, variance = moments_of(features)
        ctx.save_for_backward(features, mean)
        return mean, variance

    @staticmethod
    def backward(ctx, to_mean, to_variance):
        features, mean = ctx.saved_tensors
        slope = 2 / features.shape[1] * to_variance
        offset = to_mean / features.shape[1] - slope * mean
        return torch.addcmul(offset[:, None], features, slope[:, None])


def moments_of(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (n, C) over the positions of (n, P, C), without a gradient."""
    positions = in_single(positions)
    if positions.device.type != "cpu":
        variance, mean = torch.var_mean(positions, 1, correction=0)
        return mean, variance
    # What batch normalisation is trained with runs over channels-last maps as they lie in memory,
    # ten times faster than torch.var_mean; one image at a time, for it averages over all.
    found = [
        torch.batch_norm_update_stats(rows.t()[None, :, :, None], None, None, 0.0)
        for rows in positions.detach()
    ]
    means, variances = zip(*found, strict=True)
    return torch.stack(means), torch.stack(variances)


def by_position(features: Tensor, group_size: int = 1) -> Tensor:
    """Features as (n / group_size, positions, C)."""
    if features.ndim == 4:
        positions = features.permute(0, 2, 3, 1).flatten(1, 2)
    elif features.ndim == 3:
        positions = features
    elif features.ndim == 2:
        positions = features[:, None]
    else:
        raise ValueError(
            f"features have shape {tuple(features.shape)}; expected maps (n, C, H, W), tokens "
            "(n, n_tokens, C) or values (n, C). Choose another layer."
        )
    if group_size == 1:
        return positions
    return positions.reshape(-1, group_size * positions.shape[1], positions.shape[2])


def image_statistics(
    classifier: FrozenClassifier, images: Tensor, layers: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    r"""Channel statistics :math:`\mu_l(x^0), \sigma_l(x^0)` of given pictures, for eq. 5.

    Parameters
    ----------
    classifier : FrozenClassifier
        The network that is asked.
    images : Tensor of shape (n, C, H, W)
        In data units.
    layers : sequence of str
        Names as in ``classifier.network.named_modules()``.

    Returns
    -------
    statistics : dict of str to tuple (mean, std) of Tensor (n, n_channels)
        Of the layers' outputs.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinvert.inversion.statistics import image_statistics
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    >>> frozen = FrozenClassifier(net, (1, 8, 8))
    >>> mean, std = image_statistics(frozen, torch.zeros(2, 1, 8, 8), ["0"])["0"]
    >>> mean.shape, std.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """
    found: dict[str, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}
    with torch.no_grad():
        # One at a time, for another batch shape gives other bits.
        for image in images.split(1):
            _, activations = classifier.with_activations(image, layers)
            for layer in layers:
                found[layer].append(channel_statistics(activations[layer]))
    return {
        layer: (torch.cat([mean for mean, _ in parts]), torch.cat([std for _, std in parts]))
        for layer, parts in found.items()
    }


class LayerStatistics(nn.Module):
    r"""Moments of some layers' channels over the training data.

    The averages :math:`\langle\mu_l\rangle` and :math:`\langle\sigma_l^2\rangle` of DeepInversion,
    eq. 3 (Yin et al., CVPR 2020).

    Parameters
    ----------
    moments : dict of str to tuple (mean, variance) of Tensor (C,)
        By layer, as `running_statistics` and `measured_statistics` return them; copied.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.statistics import LayerStatistics
    >>> statistics = LayerStatistics({"features.0": (torch.zeros(3), torch.ones(3))})
    >>> list(statistics)
    ['features.0']
    >>> statistics["features.0"]
    (tensor([0., 0., 0.]), tensor([1., 1., 1.]))
    """

    def __init__(self, moments: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.layers = tuple(moments)
        for index, (mean, variance) in enumerate(moments.values()):
            self.register_buffer(f"mean_{index}", mean.detach().clone())
            self.register_buffer(f"variance_{index}", variance.detach().clone())
            least = max(_LEAST_SHARE * float(variance.mean()), _LEAST_VARIANCE)
            self.register_buffer(f"unit_{index}", variance.detach().clamp_min(least))

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, layer: str) -> tuple[Tensor, Tensor]:
        index = self.layers.index(layer)
        return getattr(self, f"mean_{index}"), getattr(self, f"variance_{index}")

    def unit(self, layer: str) -> Tensor:
        """Variances in whose units a layer's channels are measured: none is almost zero.

        Parameters
        ----------
        layer : str
            One of those that have moments.

        Returns
        -------
        unit : Tensor of shape (C,)
        """
        return getattr(self, f"unit_{self.layers.index(layer)}")


def statistics_layers(network: nn.Module) -> list[str]:
    """Layers whose statistics stand for the data, in order.

    Parameters
    ----------
    network : torch.nn.Module
        Only its modules are looked at; it is not run.

    Returns
    -------
    names : list of str
        Batch normalisations that keep running statistics; without them all convolutions and
        normalisations; without those all linear layers but the last, which says the class.

    Examples
    --------
    >>> from torch import nn
    >>> from skinvert.inversion.statistics import statistics_layers
    >>> statistics_layers(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    ['1']
    >>> statistics_layers(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)))
    ['0']
    """
    modules = dict(network.named_modules())
    kept = [name for name, module in modules.items() if keeps_statistics(module)]
    mapped = [name for name, module in modules.items() if isinstance(module, _MAPPED)]
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    return kept or mapped or linear[:-1]


def keeps_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


@contextlib.contextmanager
def record_features(network: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record what batch normalisations take in, and what other layers give out.

    Parameters
    ----------
    network : torch.nn.Module
        Run it inside the block.
    layers : iterable of str
        Names as in ``network.named_modules()``.

    Yields
    ------
    features : dict of str to Tensor
        Of the latest forward pass, attached to the graph. All hooks are gone afterwards.

    Raises
    ------
    ValueError
        If a name is unknown; near names are listed.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.statistics import record_features
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    >>> with record_features(net, ["0"]) as features:
    ...     _ = net(torch.zeros(5, 2))
    >>> features["0"].shape
    torch.Size([5, 3])
    """
    layers = list(layers)
    check_layers(network, layers)
    modules, handles = dict(network.named_modules()), []
    features: dict[str, Tensor] = {}

    def keep_input(name):
        return lambda module, inputs: features.__setitem__(name, in_single(inputs[0]))

    def keep_output(name):
        return lambda module, inputs, output: features.__setitem__(name, in_single(output))

    try:
        for name in layers:
            module = modules[name]
            if keeps_statistics(module):
                handles.append(module.register_forward_pre_hook(keep_input(name)))
            else:
                handles.append(module.register_forward_hook(keep_output(name)))
        yield features
    finally:
        for handle in handles:
            handle.remove()


def shared_copy(
    classifier: FrozenClassifier, layers: Collection[str] | None = None
) -> FrozenClassifier:
    """A copy of a `FrozenClassifier` on the same tensors: hooks on it are nobody else's.

    Two threads that hook one network would read each other's features.

    Parameters
    ----------
    classifier : FrozenClassifier
    layers : collection of str or None, default=None
        All that will be asked besides the answer: norms are folded in the copy, which is faster,
        unless one of these would then answer otherwise. None folds nothing, so that all can be.

    Returns
    -------
    copied : FrozenClassifier
        Its ``network`` is what answers, with and without activations.
    """
    copied = shared_modules(classifier)
    if layers is not None and classifier.folding().changed.isdisjoint(layers):
        copied.network = shared_modules(classifier.folding().network)
    copied._folded = Folding(copied.network)
    return copied


def running_statistics(
    network: nn.Module, layers: Iterable[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """What batch normalisations remember of the training data.

    Parameters
    ----------
    network : torch.nn.Module
        Only its modules are looked at; it is not run.
    layers : iterable of str
        Names as in ``network.named_modules()``.

    Returns
    -------
    moments : dict of str to tuple (mean, variance) of Tensor (C,)
        Of those among the layers that keep running statistics.

    Examples
    --------
    >>> from torch import nn
    >>> from skinvert.inversion.statistics import running_statistics
    >>> running_statistics(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), ["0", "1"])
    {'1': (tensor([0., 0.]), tensor([1., 1.]))}
    """
    modules = dict(network.named_modules())
    return {
        name: (modules[name].running_mean, modules[name].running_var)
        for name in layers
        if keeps_statistics(modules[name])
    }


def measured_statistics(
    classifier: FrozenClassifier, images: Tensor, layers: Iterable[str], *, batch_size: int = 64
) -> dict[str, tuple[Tensor, Tensor]]:
    """Moments of layers over all images at once, for networks that remember none.

    Parameters
    ----------
    classifier : FrozenClassifier
        The network that is asked.
    images : Tensor of shape (n, C, H, W) or (n, n_features)
        In data units.
    layers : iterable of str
        Names as in ``classifier.network.named_modules()``.
    batch_size : int, default=64
        Images that are shown to the network at once.

    Returns
    -------
    moments : dict of str to tuple (mean, variance) of Tensor (C,)

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinvert.inversion.statistics import measured_statistics
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> frozen = FrozenClassifier(nn.Sequential(nn.Identity(), nn.Linear(1, 3)), (1,))
    >>> measured_statistics(frozen, torch.tensor([[1.0], [3.0]]), ["0"])
    {'0': (tensor([2.]), tensor([1.]))}
    """
    classifier, layers = shared_copy(classifier), list(layers)
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}
    with torch.no_grad(), record_features(classifier.network, layers) as features:
        for batch in images.split(batch_size):
            classifier.answer(classifier.network, batch)
            for layer in layers:
                parts[layer].append(channel_moments(features[layer].double()))
    moments = {}
    for layer, found in parts.items():
        means, variances = (torch.cat(part) for part in zip(*found, strict=True))
        # Of all positions of all images, as batch normalisation takes it.
        variance = variances.mean(0) + means.var(0, correction=0)
        moments[layer] = means.mean(0).float(), variance.float()
    return moments

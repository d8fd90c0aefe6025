r"""What a reference picture says of the image to be made: statistics of its features (eq. 5).

IMAGINE (CVPR 2021) matches the mean and the standard deviation of every channel, at layers of
several depths. Shallow ones hold colour and texture, deep ones objects and their parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from skinvert.inversion.features import check_layers
from skinvert.inversion.objectives import Term
from skinvert.inversion.statistics import channel_statistics, image_statistics, shared_copy
from skinvert.models.frozen import FrozenClassifier

__all__ = [
    "FeatureMatching",
    "attribution_layer",
    "chosen_layers",
    "matching_of_references",
    "pick_layers",
]

_N_LAYERS = 4
# Padded maps have a resolution that nothing else has.
_PADDING = (nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)


@dataclass(eq=False, repr=False)
class FeatureMatching(Term):
    r"""Distance of the features' statistics from those of each row's reference.

    :math:`\sum_{l \in \Phi} \lVert\mu_l(\hat x) - \mu_l(x^0)\rVert_2 +
    \lVert\sigma_l(\hat x) - \sigma_l(x^0)\rVert_2`, IMAGINE's eq. 5.

    Parameters
    ----------
    weight : float, default=5.0
        The paper's λ.
    statistics : dict of str to tuple (mean, std) of Tensor (n_rows, C)
        For each layer l in Φ, those of the references.
    """

    weight: float = 5.0
    statistics: dict | None = None

    @property
    def layers(self):
        return tuple(self.statistics)

    def __call__(self, images, state):
        total = 0.0
        for layer, asked in self.statistics.items():
            found = channel_statistics(state.activations[layer])
            for here, there in zip(found, asked, strict=True):
                total = total + torch.linalg.vector_norm(here - there[state.rows], dim=1)
        return total


def matching_of_references(
    classifier: FrozenClassifier,
    references: Tensor,
    layers: Sequence[str] | None,
    *,
    n_rows: int,
    weight: float,
) -> FeatureMatching:
    """Eq. 5 towards pictures, one for all rows or one a row.

    Parameters
    ----------
    classifier : FrozenClassifier
        Not changed: hooks go to a copy.
    references : Tensor of shape (1, C, H, W) or (n_rows, C, H, W)
    layers : sequence of str or None
        None takes those of `pick_layers`, dense ones among them.
    n_rows : int
    weight : float

    Returns
    -------
    matching : FeatureMatching

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.guidance import matching_of_references
    >>> from skinvert.models.classifiers import ConvClassifier
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(ConvClassifier((1, 28, 28), 10), (1, 28, 28))
    >>> picture = torch.zeros(1, 1, 28, 28)
    >>> matching_of_references(net, picture, ["2"], n_rows=3, weight=5.0).statistics["2"][0].shape
    torch.Size([3, 32])
    """
    if layers is None:
        layers = pick_layers(classifier, references[:1], dense=True)
    statistics = image_statistics(shared_copy(classifier), references, layers)
    expanded = {
        layer: tuple(part.expand(n_rows, -1) for part in parts)
        for layer, parts in statistics.items()
    }
    return FeatureMatching(weight, expanded)


def chosen_layers(
    classifier: FrozenClassifier,
    layers: str | Sequence[str],
    example: Tensor,
    *,
    dense: bool = False,
) -> list[str]:
    """The layers that a user names, or those of `pick_layers` for "auto".

    Parameters
    ----------
    classifier : FrozenClassifier
    layers : "auto" or sequence of str
    example : Tensor of shape (1, C, H, W)
    dense : bool, default=False
        As of `pick_layers`.

    Returns
    -------
    names : list of str

    Raises
    ------
    ValueError
        For layers that the network does not have, and as `pick_layers`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.guidance import chosen_layers
    >>> from skinvert.models.classifiers import ConvClassifier
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(ConvClassifier((1, 28, 28), 10), (1, 28, 28))
    >>> chosen_layers(net, ("2", "9"), torch.zeros(1, 1, 28, 28))
    ['2', '9']
    """
    if isinstance(layers, str):
        return pick_layers(classifier, example, dense=dense)
    check_layers(classifier.network, layers)
    return list(layers)


def pick_layers(classifier, example, *, dense=False):
    """Four layers of a network, by depth, whose statistics shall be matched.

    Of every resolution that the network's maps have, the last layer, or block of layers, before it
    is left. Of five the first four are taken, which for a ResNet-50 are the paper's conv1_1,
    conv2_3, conv3_4 and conv4_6; of more than five four that are evenly spaced up to the last but
    one. Where there are fewer than four, the last hidden dense layer joins them, and then other
    maps, evenly spaced.

    Parameters
    ----------
    classifier : FrozenClassifier
    example : Tensor of shape (1, C, H, W)
    dense : bool, default=False
        Whether a network without maps will do, by its last two hidden layers.

    Returns
    -------
    names : list of str
        In the order in which the network runs them.

    Raises
    ------
    ValueError
        If no layer has maps and `dense` is False.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.guidance import pick_layers
    >>> from skinvert.models.classifiers import ConvClassifier
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(ConvClassifier((1, 28, 28), 10), (1, 28, 28))
    >>> pick_layers(net, torch.zeros(1, 1, 28, 28))
    ['2', '5', '6', '9']
    """
    maps, hidden = _outputs(classifier, example)
    if not maps and not (dense and hidden):
        raise ValueError(
            "the classifier has no layer with maps (n, C, h, w) of more than one position, so that "
            "an image's statistics say nothing of it. Pass a convolutional network or "
            "classifier=None, or name dense layers yourself: layers=[…]."
        )
    order = [*maps, *hidden]
    last = _last_of_each_resolution(maps)
    if len(last) > _N_LAYERS:
        # Of five the first four: what the deepest knows, the class, is asked for by name.
        places = np.round(np.linspace(0, len(last) - 2, _N_LAYERS)).astype(int)
        return [last[place] for place in places]
    chosen = [*last, *list(hidden)[-1 if maps else -2 :]][:_N_LAYERS]
    others = [name for name in maps if name not in chosen]
    n_missing = min(_N_LAYERS - len(chosen), len(others))
    places = np.linspace(0, len(others) - 1, n_missing + 2)[1:-1].round().astype(int)
    return sorted({*chosen, *(others[place] for place in places)}, key=order.index)


def _last_of_each_resolution(maps):
    """Blocks are asked rather than what is in them: the first layers of a block often have the
    resolution of the block before."""
    depths = {}
    for name, resolution in maps.items():
        depths[resolution] = min(depths.get(resolution, name.count(".")), name.count("."))
    blocks = {r: name for name, r in maps.items() if name.count(".") == depths[r]}
    return [name for name in maps if name in blocks.values()]


def _fits(resolution, example):
    """Whether maps have the image's aspect: those that hold channels last do not."""
    if len(resolution) == 1:
        return True
    (h, w), (height, width) = resolution, example.shape[2:]
    return abs(h * width - w * height) <= max(height, width)


def attribution_layer(classifier, example):
    """The last layer with maps, where Grad-CAM reads what the classifier looked at.

    Parameters
    ----------
    classifier : FrozenClassifier
    example : Tensor of shape (1, C, H, W)

    Returns
    -------
    name : str or None
    """
    maps, _ = _outputs(classifier, example)
    return list(maps)[-1] if maps else None


def _outputs(classifier, example):
    """Names of the layers with maps and their resolutions; names of hidden dense layers.

    Both in the order in which they last ran. Of layers that answer with one and the same tensor the
    outermost stands for all.
    """
    record, handles = [], []

    def keep(name):
        return lambda module, inputs, output: record.append((name, module, output))

    try:
        for name, module in classifier.network.named_modules():
            if name:
                handles.append(module.register_forward_hook(keep(name)))
        with torch.no_grad():
            logits = classifier.answer(classifier.network, example)
    finally:
        for handle in handles:
            handle.remove()
    calls = [(n, m, o) for n, m, o in record if isinstance(o, torch.Tensor) and o.shape[:1] == (1,)]
    names = {id(output): (name, output) for name, _, output in calls}
    mixes = [isinstance(module, (nn.Conv2d, nn.Linear)) for _, module, _ in calls]
    first = mixes.index(True) if True in mixes else len(calls)
    maps, hidden, seen_dense = {}, {}, False
    for name, module, output in calls[first:]:
        seen_dense = seen_dense or isinstance(module, nn.Linear)
        if names[id(output)][0] != name or output is logits or isinstance(module, _PADDING):
            continue
        resolution = output.shape[2:] if output.ndim == 4 else output.shape[1:2]
        if output.ndim in (3, 4) and resolution.numel() > 1 and _fits(resolution, example):
            maps.pop(name, None)
            maps[name] = tuple(resolution)
        elif output.ndim == 2 and seen_dense and output.shape != logits.shape:
            hidden.pop(name, None)
            hidden[name] = tuple(output.shape[1:])
    return maps, hidden

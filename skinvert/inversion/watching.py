"""A network whose features tell their moments while it runs, at little more than it costs anyway.

Norms are folded into their convolutions, so that the features met on the way are what the norms
give out. Moments are taken as the features pass, and their slopes are added to those that
come back through the same place: no slope is stored, fetched and summed up again.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from skinvert.inversion.features import check_layers, record_activations
from skinvert.inversion.statistics import by_position, keeps_statistics, moments_of
from skinvert.models.frozen import as_logits
from skinvert.models.norm_folding import Folding, fold_norms, shared_modules, slope_and_shift

__all__ = ["WatchedClassifier"]

# Values: at this size and above one image's slopes at a time stay in the cache.
_LARGE = 2**16
# Of a channel's scale in its norm, beside its shift: below it single precision has lost it.
_LEAST_SLOPE = 1e-4


class WatchedClassifier:
    """A frozen classifier that tells the moments of its features beside its answer.

    Parameters
    ----------
    classifier : FrozenClassifier
        Not touched; this is a copy of the modules on the same tensors.
    layers : sequence of str
        Watched: of batch normalisations what they take in, of other layers what they give out.
    activations : sequence of str, default=()
        Layers whose outputs are wanted as they are; where folding would change one, nothing is
        folded.
    group_size : int, default=1
        Neighbouring rows whose moments are taken together.

    Attributes
    ----------
    network : torch.nn.Module
        The copy.

    Raises
    ------
    ValueError
        If a name is unknown; near names are listed.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skinvert.inversion.watching import WatchedClassifier
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    >>> watched = WatchedClassifier(FrozenClassifier(net, (1, 8, 8)), ["1"])
    >>> logits, _, moments = watched(torch.zeros(2, 1, 8, 8))
    >>> [part.shape for part in moments["1"]]
    [torch.Size([2, 4]), torch.Size([2, 4])]
    """

    def __init__(self, classifier, layers, *, activations=(), group_size=1):
        check_layers(classifier.network, layers)
        self.classifier, self.activations = classifier, tuple(activations)
        folding = self._folding(layers)
        self.network = shared_modules(folding.network)
        self._inverses = {
            name: _inverse(folding.norms[name]) for name in layers if name in folding.norms
        }
        self.group_size, self.moments, self._awaited = group_size, {}, {}
        for module in self.network.modules():
            # What is watched must not be written over.
            if getattr(module, "inplace", False):
                module.inplace = False
        self._watch(layers, *self._habits(layers))

    def __call__(self, images):
        """Logits, activations by layer, and moments (mean, variance) by watched layer.

        Moments have shape (n / group_size, C); variances are biased, and None where a layer has
        one position an image and every image is a group.
        """
        self.moments.clear()
        self._awaited.clear()
        with record_activations(self.network, self.activations) as activations:
            answer = self.classifier.answer(self.network, images)
        for name, features in list(self._awaited.values()):
            # The network went another way than with the example.
            self._keep(name, features, *_Passing.apply(features, self.group_size)[1:])
        return as_logits(answer, self.classifier.outputs), dict(activations), dict(self.moments)

    def _folding(self, layers):
        """The network with norms folded, all but those whose channels would be lost in rounding."""
        classifier = self.classifier
        modules = dict(classifier.network.named_modules())
        kept = [
            name for name in layers if keeps_statistics(modules[name]) and _hides(modules[name])
        ]
        folding = classifier.folding()
        if not folding.norms.keys().isdisjoint(kept):
            folding = fold_norms(classifier.network, classifier.example(), kept=kept)
        if folding.changed.isdisjoint((*self.activations, *layers)):
            return folding
        return Folding(classifier.network)

    def _habits(self, layers):
        """Which watched outputs are rectified, and which are written over."""
        given, rectified, handles = {}, set(), []

        def note(name):
            return lambda module, inputs, output: given.__setitem__(
                id(output), (name, output, output._version)
            )

        def meet(module, inputs):
            rectified.update(given.get(id(inputs[0]), ())[:1])

        for module in self.network.modules():
            if type(module) in _RECTIFIERS:
                handles.append(module.register_forward_pre_hook(meet))
        for name in layers:
            module = self.network.get_submodule(name)
            if not keeps_statistics(module):
                handles.append(module.register_forward_hook(note(name)))
        with torch.no_grad():
            self.network(self.classifier.example())
        for handle in handles:
            handle.remove()
        overwritten = {name for name, output, before in given.values() if output._version != before}
        return rectified - overwritten, overwritten

    def _watch(self, layers, rectified, overwritten):
        for name in layers:
            module = self.network.get_submodule(name)
            if keeps_statistics(module):
                module.register_forward_pre_hook(self._pass_in(name))
            elif name in rectified:
                module.register_forward_hook(self._await(name))
            else:
                module.register_forward_hook(self._pass_out(name, name in overwritten))
        for module in self.network.modules():
            if rectified and type(module) in _RECTIFIERS:
                module.forward = self._rectifying(module)

    def _keep(self, name, features, mean, variance):
        if name in self._inverses:
            factor, offset = self._inverses[name]
            mean, variance = torch.addcmul(offset, mean, factor), variance * factor**2
        is_lone = features.ndim == 2 and self.group_size == 1
        self.moments[name] = mean, None if is_lone else variance

    def _pass_in(self, name):
        def hook(module, inputs):
            passed, *moments = _Passing.apply(inputs[0], self.group_size)
            self._keep(name, inputs[0], *moments)
            return passed, *inputs[1:]

        return hook

    def _pass_out(self, name, is_overwritten):
        def hook(module, inputs, output):
            passed, *moments = _Passing.apply(output, self.group_size)
            self._keep(name, output, *moments)
            return passed.clone() if is_overwritten else passed

        return hook

    def _await(self, name):
        return lambda module, inputs, output: self._awaited.__setitem__(id(output), (name, output))

    def _rectifying(self, module):
        plain, slope = module.forward, _RECTIFIERS[type(module)]

        def forward(features):
            name, _ = self._awaited.pop(id(features), (None, None))
            if name is None:
                return plain(features)
            rectified, *moments = _Rectifying.apply(features, self.group_size, plain, slope)
            self._keep(name, features, *moments)
            return rectified

        return forward


_RECTIFIERS = {
    nn.ReLU: lambda slopes, features: torch.ops.aten.threshold_backward(slopes, features, 0),
    nn.ReLU6: lambda slopes, features: torch.ops.aten.hardtanh_backward(slopes, features, 0, 6),
    nn.SiLU: torch.ops.aten.silu_backward,
}


def _hides(norm):
    """Whether some channel's answer is its shift, and hardly anything else."""
    if norm.weight is None:
        return False
    shift = 0.0 if norm.bias is None else norm.bias.abs()
    least = _LEAST_SLOPE * (1 + shift)
    return bool((norm.weight.abs() < least).any())


def _inverse(norm):
    """Factor and offset (C,) that lead from what a norm gives out to what it takes in."""
    slope, shift = slope_and_shift(norm)
    return 1 / slope, -shift / slope


class _Passing(torch.autograd.Function):
    """Features as they are, and their moments."""

    @staticmethod
    def forward(ctx, features, group_size):
        mean, variance = moments_of(by_position(features, group_size))
        ctx.save_for_backward(features, mean)
        ctx.group_size = group_size
        return features, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, slopes, to_mean, to_variance):
        features, mean = ctx.saved_tensors
        factor, offset = _line(features, mean, to_mean, to_variance, ctx.group_size)
        return torch.addcmul(slopes, features, factor).add_(offset), None


class _Rectifying(torch.autograd.Function):
    """Rectified features, and the moments that they had before."""

    @staticmethod
    def forward(ctx, features, group_size, rectify, slope):
        mean, variance = moments_of(by_position(features, group_size))
        ctx.save_for_backward(features, mean)
        ctx.group_size, ctx.slope = group_size, slope
        return rectify(features), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, slopes, to_mean, to_variance):
        features, mean = ctx.saved_tensors
        factor, offset = _line(features, mean, to_mean, to_variance, ctx.group_size)
        # The slopes below the rectifier are this function's own: they can be written over.
        below = ctx.slope(slopes, features)
        if below[0].numel() < _LARGE:
            return below.addcmul_(features, factor).add_(offset), None, None, None
        for row in zip(below, features, factor, offset, strict=True):
            row[0].addcmul_(row[1], row[2]).add_(row[3])
        return below, None, None, None


def _line(features, mean, to_mean, to_variance, group_size):
    """Factor and offset, (n, C, 1, 1) or as wide as features are, of the moments' slopes: both
    are linear in the features."""
    n_values = features.numel() // mean.numel()
    factor = 2 / n_values * to_variance
    offset = to_mean / n_values - factor * mean
    parts = (part.repeat_interleave(group_size, 0) for part in (factor, offset))
    if features.ndim == 3:
        return [part[:, None] for part in parts]
    return [part.reshape(*part.shape, *[1] * (features.ndim - 2)) for part in parts]

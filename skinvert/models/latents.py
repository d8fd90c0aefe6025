r"""The latent space of a classifier: what its last linear layer reads, or what named layers say.

ReGene (Neurocomputing 471, 2022) splits a classifier into an encoder :math:`f_{enc}`, from images
to latents :math:`z`, and a discriminator :math:`W^\top z + b` (eq. 1).
"""

import contextlib

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skinvert.inversion.features import check_layers, record_activations
from skinvert.models.frozen import as_logits

__all__ = ["LatentEncoder", "class_means", "fit_probe", "variance_ratio"]

PENULTIMATE = "penultimate"


class LatentEncoder(nn.Module):
    """Images to latents, through a frozen classifier.

    Parameters
    ----------
    classifier : FrozenClassifier
    sample : Tensor of shape (n, n_features) or (n, C, H, W)
        Some rows, to see what the network does with them.
    layer : str or sequence of str, default="penultimate"
        "penultimate" is the input of the last linear layer; other names are those of
        ``named_modules()``, whose outputs are flattened.
    merge : {"concatenate", "sum"}, default="concatenate"
        How several layers make one latent.

    Attributes
    ----------
    n_latents : int
        Length of a latent.
    head : torch.nn.Linear or None
        From latents to class scores, where the network itself ends in one: its largest score is
        the network's answer. None for other layers.

    Raises
    ------
    ValueError
        For unknown layers, networks without a linear layer (where "penultimate" is asked for), and
        sums of layers that differ in size.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifiers import DenseClassifier
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> from skinvert.models.latents import LatentEncoder
    >>> classifier = FrozenClassifier(DenseClassifier(5, 3, n_hidden=7), (5,))
    >>> encoder = LatentEncoder(classifier, torch.randn(4, 5))
    >>> encoder(torch.randn(2, 5)).shape, encoder.head.out_features
    (torch.Size([2, 7]), 3)
    """

    def __init__(self, classifier, sample, *, layer=PENULTIMATE, merge="concatenate"):
        super().__init__()
        self.classifier = classifier
        self.merge = merge
        self.layers = (layer,) if isinstance(layer, str) else tuple(layer)
        if not self.layers:
            raise ValueError("layer names no layer; expected 'penultimate' or names of layers.")
        check_layers(classifier.network, self._named())
        self.head, self._last_linear = None, None
        with torch.no_grad():
            if PENULTIMATE in self.layers:
                self._last_linear = _last_linear(classifier, sample)
            latents, logits, _ = self.answers(sample)
            self.n_latents = latents.shape[1]
            if self.layers == (PENULTIMATE,):
                self.head = self._own_head(latents, logits)

    def forward(self, images):
        """Latents (n, n_latents) of images (n, C, H, W) or rows (n, n_features)."""
        return self.answers(images)[0]

    def answers(self, images, extra_layers=()):
        """Everything that one pass through the classifier tells.

        Parameters
        ----------
        images : Tensor of shape (n, n_features) or (n, C, H, W)
        extra_layers : sequence of str, default=()

        Returns
        -------
        latents : Tensor of shape (n, n_latents)
        logits : Tensor of shape (n, n_classes)
        activations : dict of str to Tensor
            Outputs of the extra layers.
        """
        network, outputs = self.classifier.network, self.classifier.outputs
        names = dict.fromkeys([*self._named(), *extra_layers])
        with (
            _record_input(network, self._last_linear) as read,
            record_activations(network, names) as recorded,
        ):
            logits = as_logits(self.classifier.answer(network, images), outputs)
            parts = [
                (read[-1] if name == PENULTIMATE else _tensor(recorded[name], name)).flatten(1)
                for name in self.layers
            ]
            activations = {name: _tensor(recorded[name], name) for name in extra_layers}
        return self._merged(parts), logits, activations

    def _named(self):
        return [name for name in self.layers if name != PENULTIMATE]

    def _merged(self, parts):
        if self.merge == "concatenate":
            return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        sizes = {part.shape[1] for part in parts}
        if len(sizes) > 1:
            raise ValueError(
                f"layers {list(self.layers)} have {[part.shape[1] for part in parts]} values an "
                "image, and only layers of one size can be summed; set merge='concatenate'."
            )
        return torch.stack(parts).sum(0)

    def _own_head(self, latents, logits):
        """The last linear layer, if what it says of every row is what the network says."""
        layer = dict(self.classifier.network.named_modules())[self._last_linear]
        weight, bias = layer.weight, layer.bias
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if len(weight) == 1 and logits.shape[1] == 2:
            weight, bias = torch.cat([0 * weight, weight]), torch.cat([0 * bias, bias])
        if len(weight) != logits.shape[1]:
            return None
        scores = latents @ weight.T + bias
        agree = scores.argmax(1) == logits.argmax(1)
        return linear_layer(weight, bias) if bool(agree.all()) else None


def linear_layer(weight, bias):
    """A frozen torch.nn.Linear of these values."""
    weight, bias = (torch.as_tensor(value).detach().clone().float() for value in (weight, bias))
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return layer.requires_grad_(False)


def _last_linear(classifier, sample):
    """Name of the module that answers x W^T + b and is called last."""
    network, calls, handles = classifier.network, [], []
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.ndim == 2:

            def hook(layer, inputs, output, name=name):
                bias = getattr(layer, "bias", None)
                (read,) = inputs
                if read.ndim == 2 and read.shape[1] == layer.weight.shape[1]:
                    linear = nn.functional.linear(read, layer.weight, bias)
                    if linear.shape == output.shape and torch.allclose(linear, output):
                        calls.append(name)

            handles.append(module.register_forward_hook(hook))
    try:
        classifier.answer(network, sample)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise ValueError(
            "layer='penultimate' is the input of the last linear layer, and the classifier has "
            "none that reads (n, d). Name a layer: layer='…', one of "
            f"{[name for name, _ in network.named_modules() if name][-8:]}."
        )
    return calls[-1]


@contextlib.contextmanager
def _record_input(network, name):
    """Inputs of a named layer, as they come."""
    read = []
    if name is None:
        yield read
        return
    layer = dict(network.named_modules())[name]
    handle = layer.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    try:
        yield read
    finally:
        handle.remove()


def _tensor(output, name):
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ValueError(
            f"layer {name!r} gives {found}, expected one tensor (n, …); name another layer."
        )
    return output


def fit_probe(latents, columns, n_classes):
    """Separating hyperplanes for latents of which the classifier holds none.

    Lemma 1 of ReGene holds for any linear separation; for inner layers it has to be learned.

    Parameters
    ----------
    latents : ndarray of shape (n, n_latents)
    columns : ndarray of int of shape (n,)
        What the classifier says of each row.
    n_classes : int

    Returns
    -------
    head : torch.nn.Linear
        Multinomial logistic regression. Classes that no row has are never answered.
    agreement : float
        Share of the rows for which it says the same as the classifier.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.latents import fit_probe
    >>> latents = np.random.default_rng(0).normal(size=(60, 4))
    >>> fit_probe(latents, (latents[:, 0] > 0).astype(int), 3)[1] > 0.9
    True
    """
    present = np.unique(columns)
    weight, bias = np.zeros((n_classes, latents.shape[1])), np.full(n_classes, -1e9)
    if len(present) == 1:
        bias[present] = 0.0
        return linear_layer(weight, bias), 1.0
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(latents, columns)
    scaler, regression = probe
    learned, offset = regression.coef_ / scaler.scale_, regression.intercept_
    offset = offset - learned @ scaler.mean_
    if len(present) == 2:
        learned, offset = np.stack([-learned[0], learned[0]]) / 2, np.array([-1, 1]) * offset / 2
    weight[present], bias[present] = learned, offset
    return linear_layer(weight, bias), float(probe.score(latents, columns))


def class_means(latents, columns, n_classes):
    """Mean latent of every class, float64; NaN for classes without rows.

    Parameters
    ----------
    latents : ndarray of shape (n, n_latents)
    columns : ndarray of int of shape (n,)
    n_classes : int

    Returns
    -------
    means : ndarray of shape (n_classes, n_latents)

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.latents import class_means
    >>> class_means(np.array([[1.0], [3.0], [7.0]]), np.array([0, 0, 1]), 2).tolist()
    [[2.0], [7.0]]
    """
    means = np.full((n_classes, latents.shape[1]), np.nan)
    for column in np.unique(columns):
        means[column] = latents[columns == column].mean(0, dtype=np.float64)
    return means


def variance_ratio(latents, columns):
    r"""Within-class over between-class variance: :math:`\mathrm{tr}\,S_w / \mathrm{tr}\,S_b`.

    Long training drives it to zero (neural collapse): each class is then one point, from which
    nothing but one image can be decoded.

    Parameters
    ----------
    latents : ndarray of shape (n, n_latents)
    columns : ndarray of int of shape (n,)

    Returns
    -------
    ratio : float
        Infinite for one class.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.latents import variance_ratio
    >>> variance_ratio(np.array([[-1.0], [1.0], [9.0], [11.0]]), np.array([0, 0, 1, 1]))
    0.04
    """
    classes, codes, counts = np.unique(columns, return_inverse=True, return_counts=True)
    means = class_means(latents, codes, len(classes))
    within = sum(
        float(np.square(latents[codes == code] - means[code], dtype=np.float64).sum())
        for code in range(len(classes))
    )
    centre = counts @ means / len(latents)
    between = float(counts @ np.square(means - centre).sum(1))
    return within / between if between > 0 else float("inf")

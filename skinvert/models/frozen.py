"""Any classifier becomes a frozen, differentiable torch module from data space to logits.

Networks are copied, never touched; linear models and their pipelines are translated exactly; the
rest is distilled into a student network.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch import Tensor, nn

from skinvert.inversion.features import record_activations
from skinvert.models.norm_folding import Folding, fold_norms
from skinvert.models.student import distill
from skinvert.models.translate import NotTranslatable, translate, translate_transformer

__all__ = ["FrozenClassifier", "freeze"]

_TINY = 1e-12


class FrozenClassifier(nn.Module):
    """A classifier's private copy: images in data space in, logits out, nothing to train.

    Parameters
    ----------
    network : torch.nn.Module
        Not shared with anybody; it is set to eval mode and its weights are frozen.
    input_shape : tuple of int
        What the network takes of one image: (C, H, W), (H, W) or (n_features,).
    outputs : {"logits", "probabilities", "scores"}, default="logits"
        What the network returns; see `as_logits`.
    normalize : tuple (mean, std), torch.nn.Module or None, default=None
        Numbers or one value a channel; the network sees ``(image - mean) / std``. A module is a
        transform with these attributes.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    >>> FrozenClassifier(net, (1, 2, 2))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    mean: Tensor
    std: Tensor
    # "bfloat16": the network runs in that precision where torch holds it for safe; "compile": what
    # nobody listens to on the way is compiled; "bfloat16+compile": both.
    acceleration: str | None = None

    def __init__(
        self,
        network: nn.Module,
        input_shape: Sequence[int],
        *,
        outputs: str = "logits",
        normalize: Sequence[Any] | torch.nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        if any(isinstance(layer, nn.Conv2d) for layer in network.modules()):
            self.network.to(memory_format=torch.channels_last)
        self.input_shape = tuple(input_shape)
        self.outputs = outputs
        mean, std = (0.0, 1.0) if normalize is None else _mean_and_std(normalize)
        self.is_normalized = normalize is not None
        self.register_buffer("mean", _per_channel(mean, self.input_shape))
        self.register_buffer("std", _per_channel(std, self.input_shape))
        self._folded: Folding | None = None
        self._compiled: Callable[[Tensor], Tensor] | None = None
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In data units; reshaped to what the network takes.

        Returns
        -------
        logits : Tensor of shape (n, n_classes)
        """
        return as_logits(self.answer(self._fast_network(), images), self.outputs)

    def with_activations(
        self, images: Tensor, layers: Sequence[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and the outputs of the named layers of the network.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In data units; reshaped to what the network takes.
        layers : sequence of str
            Names as in ``network.named_modules()``.

        Returns
        -------
        logits : Tensor of shape (n, n_classes)
        activations : dict of str to Tensor of shape (n, ...)
            By layer, attached to the graph.
        """
        if not layers:
            return self(images), {}
        with record_activations(self.network, layers) as activations:
            logits = as_logits(self.answer(self.network, images), self.outputs)
            return logits, dict(activations)

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """What a network, fed as this module feeds its own, returns.

        Parameters
        ----------
        network : torch.nn.Module
            The own one, or a copy of it.
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In data units.

        Returns
        -------
        answer : Tensor of shape (n, n_classes), (n, 1) or (n,)
            Of the kind that `outputs` names.
        """
        inputs = self.prepared(images)
        if "bfloat16" not in (self.acceleration or ""):
            return network(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return network(inputs).to(inputs.dtype)

    def prepared(self, images: Tensor) -> Tensor:
        """What the network is fed for images.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W) or (n, n_features)
            In data units.

        Returns
        -------
        inputs : Tensor of shape (n, ...)
            Of `input_shape`, and normalised where a mean and a standard deviation were given.
        """
        inputs = images.reshape(-1, *self.input_shape)
        if self.is_normalized:
            inputs = (inputs - self.mean) / self.std
        if len(self.input_shape) == 3:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def folding(self) -> Folding:
        """The network with batch normalisation folded into its convolutions, where it can be.

        Returns
        -------
        folding : skinvert.models.norm_folding.Folding
        """
        if self._folded is None:
            self._folded = fold_norms(self.network, self.example())
        return self._folded

    def example(self) -> Tensor:
        """What the network is fed for one image of noise.

        A constant image would hide errors.

        Returns
        -------
        inputs : Tensor of shape (1, ...)
            As of `prepared`, the same at every call.
        """
        noise = torch.from_numpy(np.random.default_rng(0).random((1, *self.input_shape)))
        return self.prepared(noise.to(next(self.network.parameters(), self.mean)))

    def _fast_network(self):
        if "compile" not in (self.acceleration or ""):
            return self.folding().network
        if self._compiled is None:
            self._compiled = _compiled(self.folding().network, self.mean.device)
        return self._compiled

    def _apply(self, fn, recurse=True):
        self._folded = self._compiled = None
        return super()._apply(fn, recurse)

    def __getstate__(self):
        return {**super().__getstate__(), "_folded": None, "_compiled": None}


def _compiled(network, device):
    """The network in fused kernels, and on a GPU as CUDA graphs; compiled at the first call."""
    if device.type != "cuda":
        return torch.compile(network)
    graphs = torch.compile(network, mode="reduce-overhead")
    # The next replay writes over what a graph gave out.
    return lambda images: graphs(images).clone()


def _mean_and_std(normalize):
    """Of a pair, or of a transform such as the preset that torchvision's weights bring."""
    if not isinstance(normalize, nn.Module):
        return normalize
    if not hasattr(normalize, "mean") or not hasattr(normalize, "std"):
        raise ValueError(
            f"normalize={type(normalize).__name__}() has no mean and std; expected (mean, std), a "
            "Normalize transform, or weights.transforms() of torchvision."
        )
    return normalize.mean, normalize.std


def _per_channel(values, input_shape):
    values = torch.as_tensor(np.asarray(values, dtype=np.float32))
    if values.ndim == 1 and len(values) > 1:
        if len(input_shape) != 3 or len(values) != input_shape[0]:
            raise ValueError(
                f"normalize gives {len(values)} values, but the images have shape {input_shape}; "
                "expected numbers, or one value a channel of (C, H, W) images."
            )
        values = values.reshape(-1, 1, 1)
    return values


def as_logits(answer: Tensor, outputs: str) -> Tensor:
    """Logits with one column a class from whatever a network answers.

    Parameters
    ----------
    answer : Tensor of shape (n, n_classes), (n, 1) or (n,)
        One output is the score of the second of two classes.
    outputs : {"logits", "probabilities", "scores"}
        "scores" are logits that are taken as they are, one column a class even where it is one.

    Returns
    -------
    logits : Tensor of shape (n, n_classes), with 2 columns for one output

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.frozen import as_logits
    >>> as_logits(torch.tensor([[3.0]]), "logits")
    tensor([[0., 3.]])
    """
    if outputs == "scores":
        return answer
    if answer.ndim == 1:
        answer = answer[:, None]
    one_output = answer.shape[1] == 1
    if outputs == "probabilities":
        answer = torch.cat([1 - answer, answer], dim=1) if one_output else answer
        # The offset keeps a slope where a probability has underflowed; the clamp, which has none
        # at its edge, catches what rounding left below zero.
        return (answer.clamp_min(-_TINY / 2) + _TINY).log()
    return torch.cat([torch.zeros_like(answer), answer], dim=1) if one_output else answer


def freeze(
    classifier: Any,
    rows: NDArray[np.float32],
    *,
    image_shape: Sequence[int] | None = None,
    trailing_shape: tuple[int, ...] | None = None,
    normalize: Sequence[Any] | torch.nn.Module | None = None,
    outputs: str = "auto",
    classes: ArrayLike | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> tuple[FrozenClassifier, NDArray[Any], float | None]:
    """Freeze a trained classifier.

    Parameters
    ----------
    classifier : torch.nn.Module, fitted skorch net, or fitted scikit-learn classifier
        A FrozenEstimator is unwrapped.
    rows : ndarray of shape (n, n_features), float32
        Data that the classifier may be asked about: tells what its outputs are, and is what a
        student is distilled on.
    image_shape : tuple (C, H, W) or None, default=None
        Layout of the rows; None where they are no images.
    trailing_shape : tuple of int or None, default=None
        What X had beyond its rows. Where it is known a network is tried on images before it is
        tried on flat rows, otherwise after.
    normalize : tuple (mean, std), torch.nn.Module or None, default=None
        As of `FrozenClassifier`.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        "auto" takes outputs that lie in [0, 1] and sum to one on every row for probabilities.
    classes : array-like of shape (n_classes,) or None, default=None
        Names of the outputs, in order; None takes the classifier's own, or counts from 0.
    device : torch.device or str, default="cpu"
        Where the frozen network lies.
    seed : int, default=0
        For the student.

    Returns
    -------
    frozen : FrozenClassifier
    classes : ndarray of shape (n_classes,)
    fidelity : float or None
        Held-out agreement of a student with its teacher; None where nothing was distilled.

    Raises
    ------
    ValueError
        If the network takes neither the images nor the rows, is not differentiable, or `classes`
        does not fit its outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert.models.frozen import freeze
    >>> X, y = np.eye(4, dtype=np.float32), ["a", "b", "c", "a"]
    >>> frozen, classes, fidelity = freeze(LogisticRegression().fit(X, y), X)
    >>> frozen.input_shape, classes.tolist(), fidelity
    ((4,), ['a', 'b', 'c'], None)
    """
    if isinstance(classifier, FrozenEstimator):
        classifier = classifier.estimator
    fidelity = None
    if isinstance(classifier, (NeuralNet, nn.Module)):
        network = _network_of(classifier)
    elif isinstance(classifier, Pipeline) and isinstance(classifier[-1], NeuralNet):
        network, image_shape = _network_of_pipeline(classifier), None
    else:
        network, fidelity = _exact_or_student(classifier, rows, seed)
        outputs, image_shape = "scores", None
    frozen, answer = _fitting_layout(
        network.to(device), rows, image_shape, trailing_shape, normalize, device
    )
    frozen.outputs = _kind_of_outputs(answer) if outputs == "auto" else outputs
    _check_differentiable(frozen, rows, device)
    n_classes = as_logits(answer, frozen.outputs).shape[1]
    return frozen, _name_outputs(classifier, classes, n_classes), fidelity


def _network_of(classifier):
    """A private copy of a torch module, or of what a skorch net trained."""
    if isinstance(classifier, nn.Module):
        return copy.deepcopy(classifier)
    if not getattr(classifier, "initialized_", False):
        raise ValueError(
            "classifier holds a skorch net that was never fitted; fit it before it is frozen, or "
            "pass the net itself to have it trained."
        )
    return copy.deepcopy(classifier.module_)


def _network_of_pipeline(pipeline):
    before = [
        translate_transformer(step, dtype=torch.float32)
        for step in pipeline[:-1]
        if step not in (None, "passthrough")
    ]
    return nn.Sequential(*before, _network_of(pipeline[-1]))


def _exact_or_student(classifier, rows, seed):
    try:
        return translate(classifier, dtype=torch.float32), None
    except NotTranslatable:
        student = distill(classifier, rows, random_state=seed)
        return student.module, student.fidelity


def _fitting_layout(network, rows, image_shape, trailing_shape, normalize, device):
    """The frozen network in the layout that it takes, and its answer to some rows."""
    flat = (rows.shape[1],)
    layouts = [image_shape, flat] if trailing_shape is not None else [flat, image_shape]
    sample = torch.as_tensor(np.array(rows[:64]), device=device)  # a memory map may be read-only
    complaints = []
    for layout in dict.fromkeys(layout for layout in layouts if layout is not None):
        try:
            frozen = FrozenClassifier(network, layout, normalize=normalize).to(device)
            with torch.no_grad():
                answer = frozen.answer(network, sample)
                # A layer can take the batch for one image; a row alone then answers otherwise.
                alone = frozen.answer(network, sample[:1])
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            complaints.append(f"as {('n', *layout)}: {str(error).splitlines()[0]}")
            continue
        if not isinstance(answer, torch.Tensor):
            raise ValueError(
                f"the classifier must return one tensor of class scores, got "
                f"{type(answer).__name__}; wrap it in a module that picks the scores."
            )
        if answer.ndim in (1, 2) and len(answer) == len(sample):
            answer, alone = (a.reshape(len(a), -1) if a.ndim else a for a in (answer, alone))
            if alone.shape == answer[:1].shape and torch.allclose(
                alone, answer[:1], rtol=1e-2, atol=1e-3, equal_nan=True
            ):
                return frozen, answer
        complaints.append(f"as {('n', *layout)}: its output has shape {tuple(answer.shape)}")
    raise ValueError(
        "the classifier takes X neither as images nor as rows. " + "; ".join(complaints) + ". "
        "Check image_shape=(C, H, W) and the number of channels that the network expects."
    )


def _kind_of_outputs(answer):
    inside = bool(((answer >= 0) & (answer <= 1)).all())
    if answer.ndim == 1 or answer.shape[1] == 1:
        return "probabilities" if inside else "logits"
    sums_to_one = bool((answer.sum(1) - 1).abs().max() < 1e-3)
    return "probabilities" if inside and sums_to_one else "logits"


def _check_differentiable(frozen, rows, device):
    sample = torch.as_tensor(np.array(rows[:1]), device=device).requires_grad_()
    logits = frozen(sample)
    if not logits.requires_grad:
        raise ValueError(
            "the classifier is not differentiable: its scores do not depend on the images through "
            "torch operations (detach, numpy, argmax or no_grad inside?). Wrap its predict in a "
            "scikit-learn classifier to have a student distilled instead."
        )


def _name_outputs(classifier, classes, n_classes):
    """Labels of the outputs: what the user names, the classifier's own, or 0 to n - 1."""
    if classes is not None:
        classes = np.asarray(classes)
        if classes.ndim != 1 or len(classes) != n_classes:
            raise ValueError(
                f"classes names {classes.size} classes, but the classifier has {n_classes} "
                "outputs; give one label for each, in their order."
            )
        if len(set(classes.tolist())) != n_classes:
            raise ValueError("classes must name every output once, got repeated labels.")
        return classes
    own = None if isinstance(classifier, nn.Module) else getattr(classifier, "classes_", None)
    if own is not None and len(own) == n_classes:
        return np.asarray(own)
    # A skorch net lists the labels that it saw, and they can be fewer than its outputs.
    return np.arange(n_classes)

"""From what the user passes as `classifier` to a trained one: train the default, fit a clone, or
take what is trained already."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from skinvert.inversion.transforms import RandomAffine
from skinvert.models.classifiers import ConvClassifier, default_architecture
from skinvert.models.frozen import FrozenClassifier, freeze
from skinvert.models.resuming import Resume
from skinvert.models.training import TrainingNet, local_seed, pinned_threads
from skinvert.shards import fingerprint

__all__ = ["PreparedClassifier", "default_network", "prepare_classifier"]

TRAINING_BATCH = 64
TRAINING_VIEWS = (RandomAffine(degrees=10, translate=(0.07, 0.07), scale=(0.9, 1.1)),)


@dataclass
class PreparedClassifier:
    """A classifier ready to be inverted.

    Attributes
    ----------
    frozen : FrozenClassifier
    classes : ndarray of shape (n_classes,)
        Labels in the order of the outputs.
    fidelity : float or None
        Of a distilled student, on held-out rows.
    history : dict of str to ndarray of shape (n_epochs,)
        Training loss, where a network was trained.
    """

    frozen: FrozenClassifier
    classes: np.ndarray
    fidelity: float | None = None
    history: dict = field(default_factory=dict)


def prepare_classifier(
    classifier,
    rows,
    y,
    *,
    image_shape=None,
    trailing_shape=None,
    normalize=None,
    outputs="auto",
    classes=None,
    adversarial_radius=0.0,
    device="cpu",
    seed=0,
    checkpoint=None,
):
    """Train the classifier where that is asked for, and freeze it.

    Parameters
    ----------
    classifier : None, torch.nn.Module, FrozenEstimator, or unfitted estimator
        None trains `default_architecture`; an unfitted estimator (a skorch net, a Pipeline) is
        cloned and fitted; a module and a FrozenEstimator are taken as they are.
    rows : ndarray of shape (n, n_features), float32
    y : ndarray of shape (n,)
    image_shape, trailing_shape, normalize, outputs, classes, device, seed
        As of `skinvert.models.frozen.freeze`.
    adversarial_radius : float, default=0.0
        Of the default network's training; see `TrainingNet`.
    checkpoint : str or Path or None, default=None
        File that the default network's training goes on from, and stores every epoch in.

    Returns
    -------
    prepared : PreparedClassifier

    Raises
    ------
    ValueError
        For a fitted classifier that is not frozen, one class where training is needed, and
        parameters that do not apply to this kind of classifier.
    TypeError
        For anything that is not a classifier.
    """
    is_network = isinstance(classifier, nn.Module) or (
        isinstance(classifier, FrozenEstimator) and isinstance(classifier.estimator, NeuralNet)
    )
    if normalize is not None and not is_network:
        raise ValueError(
            "normalize=(mean, std) serves trained torch modules and frozen skorch nets; other "
            "classifiers see X as it is. Leave normalize=None, or scale inside a Pipeline."
        )
    if adversarial_radius and classifier is not None:
        raise ValueError(
            "adversarial_radius belongs to the default classifier; got a classifier of your own. "
            "Train that one on adversarial rows yourself, or set adversarial_radius=0."
        )
    history = {}
    if not is_network and not isinstance(classifier, FrozenEstimator):
        classifier, classes, history = _train(
            classifier,
            rows,
            y,
            image_shape,
            trailing_shape,
            classes,
            adversarial_radius,
            device,
            seed,
            checkpoint,
        )
    frozen, classes, fidelity = freeze(
        classifier,
        rows,
        image_shape=image_shape,
        trailing_shape=trailing_shape,
        normalize=normalize,
        outputs=outputs,
        classes=classes,
        device=device,
        seed=seed,
    )
    return PreparedClassifier(frozen, classes, fidelity, history)


def _train(
    classifier, rows, y, image_shape, trailing_shape, classes, radius, device, seed, checkpoint
):
    """The trained classifier, the labels of its outputs and its history."""
    _refuse_fitted(classifier)
    labels = np.unique(y)
    if len(labels) < 2:
        raise ValueError(
            f"a classifier has to be trained, but y holds one class, {labels.tolist()}; pass rows "
            "of at least two classes, or a trained classifier."
        )
    if classifier is None:
        net = default_network(
            rows, image_shape, len(labels), seed=seed, adversarial_radius=radius, device=device
        )
        if checkpoint is not None:
            _make_resumable(net, checkpoint, rows, y)
        shape = image_shape if net.module is ConvClassifier else rows.shape[1:]
        return (*_fit_net(net, rows, y, labels, shape, seed), _loss_of(net))
    classifier = clone(classifier)
    last = classifier[-1] if isinstance(classifier, Pipeline) else classifier
    if not isinstance(last, NeuralNet):
        with local_seed(seed, device):
            return classifier.fit(rows, y), classes, {}
    last.set_params(device=str(device))
    if last is classifier:
        shape, labels = _shape_and_labels(
            last, rows, labels, image_shape, trailing_shape, classes, device, seed
        )
    else:
        shape, labels = rows.shape[1:], labels if classes is None else np.asarray(classes)
    return (*_fit_net(classifier, rows, y, labels, shape, seed), _loss_of(last))


def default_network(rows, image_shape, n_classes, *, seed=0, adversarial_radius=0.0, device="cpu"):
    """The network that `fit` trains where the user brings none, untrained.

    Images are trained on under random views; the training is as long as so many rows need.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Training rows: their number and moments are read.
    image_shape : tuple (C, H, W) or None
    n_classes : int
    seed : int, default=0
    adversarial_radius : float, default=0.0
    device : torch.device or str, default="cpu"

    Returns
    -------
    net : TrainingNet

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.models.prepare import default_network
    >>> default_network(np.zeros((600, 64)), (1, 8, 8), 10).max_epochs
    60
    """
    module, arguments = default_architecture(rows, image_shape, n_classes)
    n_epochs = int(np.clip(60_000 // len(rows), 8, 60))
    n_batches = n_epochs * -(-len(rows) // TRAINING_BATCH)
    schedule = LRScheduler(
        OneCycleLR, max_lr=3e-3, total_steps=n_batches + 1, step_every="batch", monitor=None
    )
    return TrainingNet(
        module,
        transforms=TRAINING_VIEWS if module is ConvClassifier else (),
        adversarial_radius=adversarial_radius,
        seed=seed,
        device=str(device),
        max_epochs=n_epochs,
        batch_size=TRAINING_BATCH,
        callbacks=[("schedule", schedule)],
        **{f"module__{name}": value for name, value in arguments.items()},
    )


def _make_resumable(net, checkpoint, rows, y):
    facts = net.module.__qualname__, net.max_epochs, net.batch_size, net.seed
    hashed = fingerprint(*facts, net.adversarial_radius, rows, np.unique(y, return_inverse=True)[1])
    resume = Resume(checkpoint, hashed, part="classifier")
    net.set_params(callbacks=[*net.callbacks, ("resume", resume)])


def _refuse_fitted(classifier):
    if classifier is None:
        return
    is_estimator = hasattr(classifier, "fit") and hasattr(classifier, "get_params")
    if not is_estimator or isinstance(classifier, type):
        raise TypeError(
            f"classifier must be None, a torch.nn.Module, or a scikit-learn or skorch classifier, "
            f"got {classifier!r} of type {type(classifier).__name__}."
        )
    last = classifier[-1] if isinstance(classifier, Pipeline) else classifier
    if isinstance(last, NeuralNet):
        fitted = bool(getattr(last, "history_", None) or getattr(last, "history", None))
    else:
        try:
            check_is_fitted(classifier)
        except (NotFittedError, TypeError):
            fitted = False
        else:
            fitted = True
    if fitted:
        raise ValueError(
            f"classifier is a {type(classifier).__name__} that is already fitted, and fit would "
            "train a clone of it afresh. Wrap it to use it as it is: "
            "sklearn.frozen.FrozenEstimator(classifier); or pass sklearn.base.clone(classifier)."
        )


def _shape_and_labels(net, rows, labels, image_shape, trailing_shape, classes, device, seed):
    """Which layout an untrained skorch net takes, and what its outputs will stand for."""
    with local_seed(seed, device):
        trial = clone(net).initialize()
    frozen, outputs, _ = freeze(
        trial.module_,
        rows,
        image_shape=image_shape,
        trailing_shape=trailing_shape,
        outputs="logits",
        device=device,
    )
    n_outputs = len(outputs)
    if classes is not None:
        return frozen.input_shape, np.asarray(classes)
    if len(labels) == n_outputs:
        return frozen.input_shape, labels
    if set(labels.tolist()) <= set(range(n_outputs)):
        # A fold can lack a class of a net that has an output for it.
        return frozen.input_shape, np.arange(n_outputs)
    raise ValueError(
        f"the skorch net has {n_outputs} outputs, but y holds {len(labels)} classes; set the "
        "module's number of outputs, or name every output with classes=."
    )


def _fit_net(classifier, rows, y, labels, shape, seed):
    column = {label: index for index, label in enumerate(labels.tolist())}
    unknown = [label for label in np.unique(y).tolist() if label not in column]
    if unknown:
        raise ValueError(f"y holds labels that classes= does not name: {unknown[:5]}.")
    columns = np.array([column[label] for label in y.tolist()], dtype=np.int64)
    with local_seed(seed), pinned_threads(1):
        classifier.fit(rows.reshape(len(rows), *shape), columns)
    last = classifier[-1] if isinstance(classifier, Pipeline) else classifier
    if _was_stopped(last):
        raise KeyboardInterrupt("the training of the classifier was interrupted.")
    return classifier, labels


def _was_stopped(net):
    """Whether Ctrl-C ended a skorch net's training, which skorch keeps for itself.

    Early stopping looks alike, but comes after an epoch's end, where its duration is noted.
    """
    counts = dict(net.callbacks_).get("epoch_timer") is not None
    return counts and len(net.history) > 0 and "dur" not in net.history[-1]


def _loss_of(net):
    losses = [epoch["train_loss"] for epoch in net.history if "train_loss" in epoch]
    return {"train_loss": np.array(losses)} if losses else {}

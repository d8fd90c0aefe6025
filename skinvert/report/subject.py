"""What is audited: a trained classifier made differentiable, and rows with one purpose each."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet

from skinvert.display.images import images_of, shared_range
from skinvert.layout import columns_of, flatten_images
from skinvert.metrics._checks import check_labels
from skinvert.models.frozen import FrozenClassifier
from skinvert.models.prepare import prepare_classifier
from skinvert.models.training import resolve_device
from skinvert.models.trials import in_batches

__all__ = ["LEAST_ROWS", "Rows", "Subject", "fit_methods", "make_subject"]

LEAST_ROWS = 10  # of a class, so that it is among the learned, the judge's and the test rows
_BATCH = 256


@dataclass
class Rows:
    """Real images (n, C, H, W) and their labels (n,)."""

    images: np.ndarray
    y: np.ndarray

    def __len__(self):
        return len(self.y)

    @property
    def X(self):
        """The images as rows (n, n_features)."""
        return self.images.reshape(len(self.images), -1)

    def of(self, label):
        """Images of one class."""
        return self.images[self.y == label]


@dataclass
class Subject:
    """A trained classifier, ready to be asked, and the rows that it is asked about.

    Attributes
    ----------
    described : str
        The classifier as it prints itself.
    frozen : FrozenClassifier
    classes : ndarray of shape (n_classes,)
        Labels of the classifier's outputs.
    labels : ndarray of shape (n_labels,)
        Those that the report is about.
    fidelity : float or None
        Of a distilled student.
    as_parameters : dict
        What a generator's constructor is told of the classifier.
    everything, learned, judging, test : Rows
        All rows; those that the methods learn from, that the judge learns from, and that figures
        are taken on. `judging` is empty where the user brought a judge.
    value_range : tuple (low, high)
    device : torch.device
    """

    described: str
    frozen: FrozenClassifier
    classes: np.ndarray
    labels: np.ndarray
    fidelity: float | None
    as_parameters: dict
    everything: Rows
    learned: Rows
    judging: Rows
    test: Rows
    value_range: tuple
    device: torch.device

    @property
    def image_shape(self):
        return self.everything.images.shape[1:]

    def logits(self, images):
        """Scores (n, n_classes) of images (n, C, H, W), as numpy."""
        return in_batches(lambda batch: (self.frozen(batch),), images, _BATCH, self.device)[0]

    def probabilities(self, images):
        """Softmax of the scores (n, n_classes)."""
        logits = torch.from_numpy(np.asarray(self.logits(images), dtype=np.float64))
        return logits.softmax(1).numpy()

    def predict(self, images):
        """Columns (n,) of the classes that the classifier calls images."""
        return self.logits(images).argmax(1)


def make_subject(
    classifier, X, y, *, labels, judge, image_shape, classes, normalize, outputs, device, seed
):
    """Check what `audit` is given, freeze the classifier and divide the rows.

    Parameters
    ----------
    classifier, X, y, labels, judge, image_shape, classes, normalize, outputs, device
        As of `skinvert.report.audit`.
    seed : int
        Divides the rows, and trains the student where one is needed.

    Returns
    -------
    subject : Subject

    Raises
    ------
    TypeError, ValueError, NotFittedError
        As `skinvert.report.audit`.
    """
    images = images_of(X, image_shape)
    y = check_labels(y, len(images))
    rows, trailing_shape = flatten_images(X)
    trained, labels = _as_trained(classifier), _labels_to_report(labels, y)
    device = resolve_device(device)
    prepared = prepare_classifier(
        trained,
        np.asarray(rows, dtype=np.float32),
        y,
        image_shape=images.shape[1:],
        trailing_shape=trailing_shape,
        normalize=normalize,
        outputs=outputs,
        classes=classes,
        device=device,
        seed=seed,
    )
    columns_of(y, prepared.classes)
    everything = Rows(images[np.isin(y, labels)], y[np.isin(y, labels)])
    learned, judging, test = _divided(everything, judge is None, seed)
    as_parameters = {
        "classifier": trained,
        "classes": prepared.classes,
        "normalize": normalize,
        "outputs": outputs,
        "image_shape": images.shape[1:],
        "device": str(device),
    }
    if prepared.fidelity is not None:
        # One student for the report and all methods.
        as_parameters |= {"classifier": prepared.frozen.network, "outputs": "logits"}
    return Subject(
        described=repr(trained.estimator if isinstance(trained, FrozenEstimator) else trained),
        frozen=prepared.frozen,
        classes=prepared.classes,
        labels=labels,
        fidelity=prepared.fidelity,
        as_parameters=as_parameters,
        everything=everything,
        learned=learned,
        judging=judging,
        test=test,
        value_range=shared_range(None, images),
        device=device,
    )


def _as_trained(classifier):
    """The classifier in the form in which generators take one that is trained."""
    if isinstance(classifier, (torch.nn.Module, FrozenEstimator)):
        return classifier
    if isinstance(classifier, type) or not hasattr(classifier, "predict"):
        raise TypeError(
            "classifier must be a torch.nn.Module or a fitted scikit-learn or skorch classifier, "
            f"got {classifier!r} of type {type(classifier).__name__}."
        )
    is_net = isinstance(classifier, NeuralNet)
    try:
        fitted = bool(classifier.initialized_ and classifier.history) if is_net else True
        if not is_net:
            check_is_fitted(classifier)
    except (AttributeError, NotFittedError):
        fitted = False
    if not fitted:
        raise NotFittedError(
            f"this {type(classifier).__name__} is not fitted, and an audit trains no classifier. "
            "Call fit with its training rows first."
        )
    return FrozenEstimator(classifier)


def _labels_to_report(labels, y):
    present = np.unique(y)
    if labels is not None:
        asked = np.unique(np.asarray(labels))
        absent = [label for label in asked.tolist() if label not in present.tolist()]
        if asked.size == 0 or absent:
            raise ValueError(
                f"labels must name classes that y holds, got {absent or 'none'}; y holds "
                f"{present[:12].tolist()}."
            )
        present = asked
    if len(present) < 2:
        raise ValueError(
            f"a report needs rows of at least 2 classes, got {present.tolist()}; what a class has "
            "of its own shows only beside another."
        )
    counts = {label: int(np.sum(y == label)) for label in present.tolist()}
    few = {label: count for label, count in counts.items() if count < LEAST_ROWS}
    if few:
        raise ValueError(
            f"each class needs at least {LEAST_ROWS} rows, so that methods, judge and figures have "
            f"rows of their own; got {dict(list(few.items())[:5])}. Give more rows, or name the "
            "classes to report with labels=."
        )
    return present


def _divided(everything, for_judge, seed):
    """Rows to learn from, for the judge, and for the figures: 5 : 3 : 2, class by class."""
    order = np.arange(len(everything))

    def split(rows, share):
        return train_test_split(
            rows, test_size=share, stratify=everything.y[rows], random_state=seed
        )

    rest, test = split(order, 0.2)
    learned, judging = split(rest, 0.375) if for_judge else (rest, rest[:0])
    return tuple(
        Rows(everything.images[rows], everything.y[rows]) for rows in (learned, judging, test)
    )


def fit_methods(methods, subject, seed):
    """Fit clones of the methods to the subject; fitted ones are taken as they are.

    Parameters
    ----------
    methods : dict of str to generator
    subject : Subject
    seed : int
        For methods whose ``random_state`` is None.

    Returns
    -------
    fitted : dict of str to generator

    Raises
    ------
    TypeError, ValueError
        For what is no generator, a method that has a classifier of its own, and a fitted one that
        knows other classes or images.
    """
    if not isinstance(methods, dict) or not methods:
        raise TypeError(
            "methods must be a dict of names and at least one generator, got "
            f"{type(methods).__name__}: {{'drawn': InputOptimizationGenerator()}}, say."
        )
    return {str(name): _fitted(name, method, subject, seed) for name, method in methods.items()}


def _fitted(name, method, subject, seed):
    if isinstance(method, type) or not hasattr(method, "generate"):
        raise TypeError(
            f"method {name!r} must be a generator of skinvert, fitted or not, got {method!r}."
        )
    try:
        check_is_fitted(method)
    except NotFittedError:
        return _fit_clone(name, method, subject, seed)
    n_values = subject.learned.X.shape[1]
    known = np.asarray(method.classes_).tolist()
    if known != subject.classes.tolist() or method.n_features_in_ != n_values:
        raise ValueError(
            f"method {name!r} was fitted to {method.n_features_in_} features and the classes "
            f"{known[:12]}; the audit has {n_values} and {subject.classes.tolist()[:12]}. Fit it "
            "to the audited classifier, or pass it unfitted."
        )
    return method


def _fit_clone(name, method, subject, seed):
    known = method.get_params(deep=False)
    if "classifier" not in known or known["classifier"] is not None:
        raise ValueError(
            f"method {name!r} has a classifier of its own; the audit gives it the audited one. "
            "Leave classifier=None, or fit the method to the audited classifier beforehand."
        )
    told = {key: value for key, value in subject.as_parameters.items() if key in known}
    if known.get("random_state", 0) is None:
        told["random_state"] = seed
    return clone(method).set_params(**told).fit(subject.learned.X, subject.learned.y)

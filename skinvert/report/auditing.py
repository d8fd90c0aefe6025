"""The audit itself: what is asked of the classifier, in which order, and where it is written."""

import platform
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch
from numpy.typing import ArrayLike

import skinvert
from skinvert.input_optimization import InputOptimizationGenerator
from skinvert.layout import columns_of
from skinvert.regene import ReGene
from skinvert.report.concerns import concerns_of
from skinvert.report.counterfactuals import (
    confused_pairs,
    confusion_of,
    least_changes,
    series_between,
)
from skinvert.report.findings import (
    compare_methods,
    generate_prototypes,
    judge_of,
    sensitivity_of,
)
from skinvert.report.marks import find_marks
from skinvert.report.page import page_of
from skinvert.report.subject import Subject, fit_methods, make_subject

__all__ = ["Audit", "audit"]

_N_SERIES = 5
_LONGEST = 4000  # characters of a printed parameter
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")


@dataclass
class Audit:
    """What `audit` found.

    Attributes
    ----------
    html : str
        The page.
    concerns : list of Concern
        Warnings, with ``kind`` and ``words``, the gravest first.
    marks : list of Mark
        The most telling part of each class, whether or not it is a mark.
    prototypes : dict of str to Prototypes
        By method: ``images`` (n, C, H, W), their labels ``y``, the judge's probabilities, the
        nearest learned rows, and the evidence of all classes.
    comparison : Comparison
        Figures of all methods, as `skinvert.metrics.compare` gives them.
    changes : list of Change
        Counterfactuals of the pairs of classes that are confused most.
    series : list of tuple (name, images) or None
        For each of them, images from one class to the other.
    sensitivity : dict of str to Sensitivity or None
    confusion : ndarray of int of shape (n_labels, n_classes)
        Real rows of each label called each class.
    methods : dict of str to generator
        Fitted.
    sources : dict of str to dict of int to ndarray of shape (C, H, W)
        Typical images from which marks were cut, by name and column.
    subject : Subject
        The frozen classifier and the rows, divided.
    judge_name, judge_score, settings, title, created, n_prototypes
        What else the page prints.

    Examples
    --------
    See `audit`, which makes it.
    """

    title: str
    created: str
    subject: Subject
    judge_name: str
    judge_score: float | None
    methods: dict
    n_prototypes: int
    settings: dict
    prototypes: dict = field(default_factory=dict)
    comparison: dict = field(default_factory=dict)
    sources: dict = field(default_factory=dict)
    marks: list = field(default_factory=list)
    changes: list = field(default_factory=list)
    series: list = field(default_factory=list)
    sensitivity: dict = field(default_factory=dict)
    concerns: list = field(default_factory=list)
    confusion: np.ndarray | None = None
    html: str = ""

    @property
    def columns(self) -> Any:
        """Columns of the reported labels among the classifier's classes."""
        return columns_of(self.subject.labels, self.subject.classes)

    def column_of(self, label: Any) -> int:
        """Column of one label among the classifier's classes.

        Parameters
        ----------
        label : label
            One of those that were reported.

        Returns
        -------
        column : int
        """
        return int(columns_of([label], self.subject.classes)[0])

    @property
    def described(self) -> Any:
        """The classifier as it prints itself."""
        return _printed(self.subject.described)

    @property
    def parameters(self) -> Any:
        """Constructor parameters of every method, printed."""
        return {name: _parameters(method) for name, method in self.methods.items()}

    @property
    def versions(self) -> Any:
        """Versions of what made the report."""
        return {
            "skinvert": skinvert.__version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "PyTorch": torch.__version__,
            "skorch": skorch.__version__,
        }

    def __repr__(self):
        return (
            f"Audit(<{len(self.subject.labels)} classes, {len(self.prototypes)} methods, "
            f"{len(self.concerns)} warnings>)"
        )


def audit(
    classifier: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    path: str | Path | None = None,
    methods: dict[str, Any] | None = None,
    judge: Any = None,
    labels: ArrayLike | None = None,
    image_shape: tuple[int, ...] | None = None,
    classes: ArrayLike | None = None,
    normalize: Any = None,
    outputs: str = "auto",
    n_images: int = 20,
    n_prototypes: int = 4,
    n_pairs: int = 6,
    title: str = "What a classifier believes",
    random_state: int = 0,
    device: str = "auto",
) -> Audit:
    """Write a report on a trained classifier: one HTML file with all pictures in it.

    Images of every class are generated from the classifier by several methods. The report shows
    them beside the nearest real rows, and says what a judge calls them, which other classes they
    excite, which small part of them decides for the class (a planted mark, where it decides too
    much), how little turns confused classes into each other, and how much of all this depends on λ.

    Parameters
    ----------
    classifier : torch.nn.Module, or fitted scikit-learn or skorch classifier
        It is not changed. One that has no gradient is distilled once for all methods.
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        Real images, in the units that the classifier takes; at best rows that it never saw.
    y : array-like of shape (n,)
        Labels, at least ten rows of each and two classes.
    path : str or Path, default=None
        File to write. None writes none: the page is in the answer's ``html``.
    methods : dict of str to generator, default=None
        Unfitted ones with ``classifier=None`` are cloned and fitted to the audited classifier;
        fitted ones are used as they are. None takes three: "drawn" and "climbed" by
        `InputOptimizationGenerator` (images that are likely, and images that raise the score from
        noise, held by one Gaussian), and "ReGene". The first one draws the series between
        classes; the first one with a ``counterfactual`` makes the counterfactuals.
    judge : fitted classifier with ``predict_proba``, default=None
        One that saw neither the rows of the methods nor those of the classifier. None trains a
        `NeutralJudge` on three tenths of the rows.
    labels : array-like of shape (n_labels,), default=None
        Classes to report. None takes all of y; ten take well below 5 MB.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Needed for rows that are no one-channel squares.
    classes : array-like of shape (n_classes,), default=None
        Names of a module's outputs, in their order; ``0, 1, …`` if None.
    normalize : tuple (mean, std) or torch.nn.Module, default=None
        What a trained network expects of its input: numbers, one value a channel, or the transform
        that says so, ``weights.transforms()`` of torchvision.
    outputs : {"auto", "logits", "probabilities"}, default="auto"
        What a network returns. "auto" takes rows that sum to one for probabilities.
    n_images : int, default=20
        Images of each class behind the figures of a method; at least 10.
    n_prototypes : int, default=4
        How many of them are shown.
    n_pairs : int, default=6
        Pairs of classes that get counterfactuals.
    title : str, default="What a classifier believes"
        Heading of the page.
    random_state : int, default=0
        Seeds everything. The same call gives the same page but for its date, on the same machine.
    device : str, default="auto"
        "auto" is cuda, then mps, then cpu.

    Returns
    -------
    audit : Audit
        The findings, and the page as ``html``.

    Raises
    ------
    NotFittedError
        For a classifier that is not fitted.
    TypeError
        For what is no classifier, no generator or no judge.
    ValueError
        For rows that are no images, fewer than ten rows of a class or two classes, labels that the
        classifier doesn't know, methods that have another classifier, and a path whose folder is
        missing.

    See Also
    --------
    skinvert.metrics.compare : The figures alone.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinvert import InputOptimizationGenerator
    >>> from skinvert.report import audit
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=200).fit(X[:300], y[:300])
    >>> judge = LogisticRegression(max_iter=200).fit(X[300:], y[300:])
    >>> found = audit(classifier, X[:300], y[:300], judge=judge, n_images=10, methods={
    ...     "drawn": InputOptimizationGenerator(prior_weight=0.1),
    ...     "Gaussian": InputOptimizationGenerator(prior="gaussian")})
    >>> found.html[:15], found.prototypes["drawn"].images.shape
    ('<!DOCTYPE html>', (30, 1, 8, 8))
    """
    _check_numbers(n_images, n_prototypes, n_pairs, random_state)
    path = _checked_path(path)
    subject = make_subject(
        classifier,
        X,
        y,
        labels=labels,
        judge=judge,
        image_shape=image_shape,
        classes=classes,
        normalize=normalize,
        outputs=outputs,
        device=device,
        seed=random_state,
    )
    chosen = _default_methods() if methods is None else methods
    methods = fit_methods(chosen, subject, random_state)
    own_judge, judge = judge is None, judge_of(judge, subject, random_state)
    found = Audit(
        title=str(title),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        subject=subject,
        judge_name=type(judge).__name__,
        judge_score=float(judge.score(subject.test.X, subject.test.y)) if own_judge else None,
        methods=methods,
        n_prototypes=min(n_prototypes, n_images),
        settings=_facts(subject)
        | {
            "normalize": _printed(normalize),
            "outputs": subject.frozen.outputs,
            "n_images": n_images,
            "n_prototypes": n_prototypes,
            "n_pairs": n_pairs,
            "random_state": random_state,
            "device": subject.device,
            "judge": _printed(judge),
        },
    )
    _examine(found, judge, n_images, n_pairs, random_state)
    found.html = page_of(found)
    if path is not None:
        Path(path).write_text(found.html, encoding="utf-8", newline="\n")
    return found


def _facts(subject):
    """Of the data, as the page prints them."""
    return {
        "labels reported": len(subject.labels),
        "shape of the images (channels, rows, columns)": subject.image_shape,
        "range of values": subject.value_range,
        "real rows": len(subject.everything),
        "of them, for the methods": len(subject.learned),
        "of them, for the judge": len(subject.judging),
        "of them, for the figures": len(subject.test),
    }


def _default_methods():
    return {
        "drawn": InputOptimizationGenerator(),
        # The logit does not fade once the class is certain: what it asks for comes out in full.
        "climbed": InputOptimizationGenerator(
            prior="gaussian", objective="logit", init="noise", n_steps=60
        ),
        "ReGene": ReGene(),
    }


def _examine(found, judge, n_images, n_pairs, seed):
    """All findings of an audit, in their order."""
    subject, methods = found.subject, found.methods
    for name, method in methods.items():
        found.prototypes[name] = generate_prototypes(method, subject, judge, n_images, seed)
    found.comparison = compare_methods(found.prototypes, subject, judge, seed)
    found.sources = _sources(found)
    everything = subject.everything
    found.marks = find_marks(
        subject.predict,
        everything.images,
        columns_of(everything.y, subject.classes),
        found.sources,
        subject.classes,
        seed=seed,
    )
    found.confusion, probabilities = confusion_of(subject)
    pairs = confused_pairs(subject, probabilities, n_pairs)
    explains = ((n, m) for n, m in methods.items() if hasattr(m, "counterfactual"))
    found.changes = least_changes(pairs, subject, judge, next(explains, None), seed)
    name, first = next(iter(methods.items()))
    found.series = [
        (name, series_between(first, start, goal, _N_SERIES, subject, seed))
        for _, start, goal in pairs
    ]
    found.sensitivity = {
        name: sensitivity_of(method, subject, judge, seed) for name, method in methods.items()
    }
    found.concerns = concerns_of(found)


def _sources(found):
    """Typical images of each class: medians of what was generated, and the mean of real rows."""
    labels = list(zip(found.subject.labels, found.columns.tolist(), strict=True))
    everything = found.subject.everything
    sources = {
        name: {
            column: np.median(one.images[one.rows_of(label)], axis=0) for label, column in labels
        }
        for name, one in found.prototypes.items()
    }
    return sources | {
        "the mean row": {column: everything.of(label).mean(0) for label, column in labels}
    }


def _check_numbers(n_images, n_prototypes, n_pairs, random_state):
    for name, value, least in (
        ("n_images", n_images, 10),
        ("n_prototypes", n_prototypes, 1),
        ("n_pairs", n_pairs, 0),
        ("random_state", random_state, 0),
    ):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")


def _checked_path(path):
    """The path, or an error before an hour of work instead of after it."""
    if path is None:
        return None
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} lies in a folder that does not exist; make it first.")
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder; name a file in it, report.html say.")
    return path


def _parameters(method):
    return {
        name: "the audited classifier" if name == "classifier" else _printed(value)
        for name, value in method.get_params(deep=False).items()
    }


def _printed(value):
    """A value as it prints itself, without addresses in memory and cut where it is endless."""
    words = value if isinstance(value, str) else repr(value)
    words = _ADDRESS.sub("", words)
    return words if len(words) <= _LONGEST else words[:_LONGEST] + " …"

"""What a classifier's own images say of a class: kin, other classes' evidence, planted marks.

Sections 5.1 and 5.2 of Despraz et al. (IJCCI 2017): classes that were trained on biased samples
show the bias in the images generated for them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from skinvert.layout import columns_of, flatten_images
from skinvert.models.latents import LatentEncoder

__all__ = ["ClassReport", "Region", "explain_class"]

_N_PASTED = 200
_BATCH = 64


@dataclass(frozen=True)
class Region:
    """A square window of a class's generated images.

    Attributes
    ----------
    top, left, side : int
        In pixels.
    energy : float
        Mean square of what the mean generated image adds to the mean of all classes there.
    evidence : float
        By how much the label's log-probability rises, in the mean over real rows of other classes,
        once the window of a generated image is pasted on them.
    """

    top: int
    left: int
    side: int
    energy: float
    evidence: float


@dataclass(frozen=True)
class ClassReport:
    """What `explain_class` finds; prints as a table.

    Attributes
    ----------
    label : label
    images : ndarray of shape (n_images, ...)
        Generated, as the estimator lays images out.
    neighbours : ndarray of int of shape (n_images, n_neighbours)
        Rows of X that are nearest in the classifier's features, nearest first.
    neighbour_labels : ndarray of shape (n_images, n_neighbours)
    other_classes : ndarray of shape (n_classes - 1,)
        The strongest co-activation first.
    co_activation : ndarray of shape (n_classes - 1,)
        Mean rectified logit of each in the generated images, over that of the label.
    real_co_activation : ndarray of shape (n_classes - 1,)
        The same in the real rows of the label; NaN without any.
    regions : list of Region
        The most telling first: by their evidence. Empty for rows that are no images.
    """

    label: object
    images: np.ndarray
    neighbours: np.ndarray
    neighbour_labels: np.ndarray
    other_classes: np.ndarray
    co_activation: np.ndarray
    real_co_activation: np.ndarray
    regions: list

    def __str__(self):
        own = float(np.mean(self.neighbour_labels == self.label))
        lines = [
            f"class {self.label}: {len(self.images)} generated images",
            f"nearest training rows of the class itself: {own:.0%}",
            "",
            "co-activation  generated  real rows",
        ]
        for name, made, real in zip(
            self.other_classes[:5], self.co_activation, self.real_co_activation, strict=False
        ):
            lines.append(f"{str(name)[:13]:13}  {made:9.2f}  {real:9.2f}")
        if self.regions:
            lines += ["", "window (top, left, side)  energy  evidence"]
        for region in self.regions[:3]:
            window = f"({region.top}, {region.left}, {region.side})"
            lines.append(f"{window:24}  {region.energy:6.3f}  {region.evidence:8.2f}")
        return "\n".join(lines)


def explain_class(
    generator: Any,
    X: ArrayLike,
    y: ArrayLike,
    label: Any,
    *,
    n_images: int = 10,
    n_neighbours: int = 5,
    side: int | None = None,
    random_state: int | None = None,
) -> "ClassReport":
    """Look for what a class means to the classifier that a generator inverts.

    Parameters
    ----------
    generator : fitted generator
        With ``classifier_``: a `CoupledDreamer`, or any other that optimises images.
    X : array-like of shape (n, n_features), or images as `fit` took them
        Real rows, those of `fit` as a rule.
    y : array-like of shape (n,)
    label : label
        One of ``classes_``.
    n_images : int, default=10
        To generate.
    n_neighbours : int, default=5
        Rows of X that the classifier's features call nearest, for each image.
    side : int, default=None
        Of the windows, in pixels. None is a seventh of the image's smaller side, at least two.
    random_state : int or None, default=None
        None takes the generator's.

    Returns
    -------
    report : ClassReport

    Raises
    ------
    ValueError
        For an unknown label, and a side that is not between 1 and the image's.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skinvert import InputOptimizationGenerator
    >>> from skinvert.interpretability import explain_class
    >>> X, y = load_digits(return_X_y=True)
    >>> generator = InputOptimizationGenerator(random_state=0).fit(X, y)
    >>> report = explain_class(generator, X, y, 3)
    >>> report.neighbours.shape, len(report.other_classes)
    ((10, 5), 9)
    """
    check_is_fitted(generator)
    rows = np.ascontiguousarray(flatten_images(X)[0], dtype=np.float32)
    columns = columns_of(y, generator.classes_)
    (column,) = columns_of([label], generator.classes_)
    images = generator.generate(
        np.repeat(generator.classes_[column], n_images), random_state=random_state
    )
    made = images.reshape(n_images, -1)
    features, logits = _answers(generator, made)
    real_features, real_logits = _answers(generator, rows)
    nearest = NearestNeighbors(n_neighbors=min(n_neighbours, len(rows))).fit(real_features)
    neighbours = nearest.kneighbors(features, return_distance=False)
    shares = _co_activation(logits, column)
    own = columns == column
    real_shares = _co_activation(real_logits[own], column) if own.any() else np.nan * shares
    order = [c for c in np.argsort(-shares, kind="stable") if c != column]
    return ClassReport(
        label=label,
        images=images,
        neighbours=neighbours,
        neighbour_labels=np.asarray(y)[neighbours],
        other_classes=generator.classes_[order],
        co_activation=shares[order],
        real_co_activation=real_shares[order],
        regions=_regions(generator, made, rows, columns, column, side),
    )


def _answers(generator, rows):
    """The classifier's features and logits of rows; logits are the features of nets without any."""
    classifier, device = generator.classifier_, generator.device_
    parts = torch.from_numpy(rows).split(_BATCH)
    try:
        encoder = LatentEncoder(classifier, parts[0].to(device))
    except ValueError:  # no linear layer
        encoder = classifier
    with torch.no_grad():
        features = torch.cat([encoder(part.to(device)).cpu() for part in parts])
    return features.numpy(), _logits(generator, rows)


def _logits(generator, rows):
    with torch.no_grad():
        parts = torch.from_numpy(rows).split(_BATCH)
        answers = [generator.classifier_(part.to(generator.device_)).cpu() for part in parts]
    return torch.cat(answers).numpy()


def _co_activation(logits, column):
    """Mean rectified logit of every class, over that of the column."""
    evidence = np.maximum(logits, 0).mean(0)
    return evidence / max(evidence[column], np.finfo(np.float32).tiny)


def _regions(generator, made, rows, columns, column, side):
    """Windows at every half side, the most telling first."""
    shape = generator.image_shape_
    if shape is None:
        return []
    _, height, width = shape
    side = max(2, min(height, width) // 7) if side is None else side
    if not 1 <= side <= min(height, width):
        raise ValueError(
            f"side={side}: expected a window between 1 and {min(height, width)} pixels."
        )
    known = np.unique(columns)
    mean = np.mean([rows[columns == c].mean(0) for c in known], axis=0)
    added = (made.mean(0) - mean).reshape(shape) ** 2
    others = rows[columns != column]
    others = others[np.linspace(0, len(others) - 1, min(_N_PASTED, len(others))).astype(int)]
    step = max(side // 2, 1)
    regions = [
        Region(
            top,
            left,
            side,
            float(added[:, top : top + side, left : left + side].mean()),
            _evidence(generator, made, others, column, (top, left, side)),
        )
        for top in _starts(height, side, step)
        for left in _starts(width, side, step)
    ]
    return sorted(regions, key=lambda region: -region.evidence)


def _starts(length, side, step):
    """First pixels of windows, the last of which ends with the image."""
    return sorted({*range(0, length - side, step), length - side})


def _evidence(generator, made, others, column, window):
    """Mean rise of the column's log-probability in rows that a window is pasted on."""
    if not len(others):
        return float("nan")
    top, left, side = window
    images = others.reshape(-1, *generator.image_shape_).copy()
    given = made.reshape(-1, *generator.image_shape_)[np.arange(len(images)) % len(made)]
    place = np.s_[..., top : top + side, left : left + side]
    images[place] = given[place]
    before, after = (
        log_softmax(_logits(generator, rows), axis=1)[:, column] for rows in (others, images)
    )
    return float((after - before).mean())

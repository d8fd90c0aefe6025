r"""Counterfactual explanations: what would have to look otherwise for another class.

IMAGINE (CVPR 2021), section 4.5. "Why is this an A and not a B?" is answered by a region of the
picture, made anew after a region of a picture of B, so that the classifier says B.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skinvert.inversion.attribution import discriminant_maps, normalized, regions_of
from skinvert.inversion.references import places_of
from skinvert.models.trials import in_batches

__all__ = [
    "Counterfactuals",
    "changed_share",
    "check_questions",
    "find_regions",
    "nearest_references",
]


@dataclass
class Counterfactuals:
    """Answers to n questions.

    Attributes
    ----------
    images : ndarray of shape (n, n_features), or as `fit` saw images
        The queries, each with its region made anew.
    regions, reference_regions : ndarray of bool of shape (n, H, W)
        What was made anew, and the part of the reference that it was made after.
    references : ndarray of shape (n,)
        Which image of `fit` each was made after.
    classes : ndarray of shape (n, 2)
        The class that the classifier gave the query, and the one that was asked about.
    probabilities : ndarray of shape (n, 2)
        Of these two classes, for the query.
    new_probabilities : ndarray of shape (n, 2)
        For the image made of it.
    changed : ndarray of shape (n,)
        Share of the pixels that differ from the query by more than 1 % of the value range.
    """

    images: np.ndarray
    regions: np.ndarray
    reference_regions: np.ndarray
    references: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    new_probabilities: np.ndarray
    changed: np.ndarray

    def __len__(self):
        return len(self.images)


def check_questions(
    columns: NDArray[np.integer], reference_columns: NDArray[np.integer], classes: NDArray[Any]
) -> None:
    """Refuse questions that have their answer already, or nothing to be answered with.

    Parameters
    ----------
    columns : ndarray of int of shape (n, 2)
        The class that the classifier gives each query, and the one that is asked about.
    reference_columns : ndarray of int of shape (n_references,)
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        Where both classes are the same, and for classes without a reference.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.counterfactual import check_questions
    >>> check_questions(np.array([[0, 1]]), np.array([1]), np.array(["cat", "dog"]))
    """
    same = np.flatnonzero(columns[:, 0] == columns[:, 1])
    if len(same):
        label = classes.tolist()[columns[same[0], 1]]
        raise ValueError(
            f"the classifier calls row {same[0]} of X {label!r} already; ask about another class."
        )
    for column in np.unique(columns[:, 1]):
        places_of(column, reference_columns, classes)


def changed_share(
    rows: NDArray[np.float32],
    queries: NDArray[np.float32],
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float] | None,
) -> NDArray[np.float64]:
    """Share of the pixels that differ by more than 1 % of the value range, in any channel.

    Parameters
    ----------
    rows, queries : ndarray of shape (n, n_features)
    image_shape : tuple (C, H, W)
    value_range : tuple (low, high) or None
        None is taken for [0, 1].

    Returns
    -------
    changed : ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.counterfactual import changed_share
    >>> changed_share(np.array([[0.0, 0, 0, 1]]), np.zeros((1, 4)), (1, 2, 2), (0.0, 1.0)).tolist()
    [0.25]
    """
    low, high = value_range or (0.0, 1.0)
    moved = np.abs(rows - queries).reshape(-1, *image_shape).max(1) > 0.01 * (high - low)
    return moved.mean((1, 2))


def nearest_references(features, of_references, columns, reference_columns):
    """For each query the stored image of the wanted class whose deep features are nearest.

    Parameters
    ----------
    features, of_references : ndarray of shape (n, d) and (m, d)
    columns : ndarray of shape (n,)
        The wanted classes.
    reference_columns : ndarray of shape (m,)

    Returns
    -------
    places : ndarray of shape (n,)
    """
    places = np.empty(len(features), dtype=np.int64)
    for row, (feature, column) in enumerate(zip(features, columns, strict=True)):
        known = np.flatnonzero(reference_columns == column)
        places[row] = known[np.square(of_references[known] - feature).sum(1).argmin()]
    return places


def find_regions(classifier, layer, queries, references, columns, share, batch_size, device):
    """Where the query is of its class, and the reference of its own (SCOUT's discriminant regions).

    Parameters
    ----------
    classifier : FrozenClassifier
    layer : str
        Whose maps are read.
    queries, references : ndarray of shape (n, C, H, W)
    columns : ndarray of int of shape (n, 2)
        Class of the query, class of the reference.
    share : float
        Of the pixels.
    batch_size : int
    device : torch.device

    Returns
    -------
    regions, reference_regions : ndarray of bool of shape (n, H, W)
    """
    n_values, sides = int(np.prod(queries.shape[1:])), queries.shape[2:]
    packed = np.concatenate(
        [queries.reshape(len(queries), -1), references.reshape(len(queries), -1), columns], axis=1
    )

    def answer(rows):
        classes = rows[:, 2 * n_values :].long()
        mine = _maps(classifier, layer, rows[:, :n_values].unflatten(1, queries.shape[1:]), classes)
        theirs = _maps(
            classifier,
            layer,
            rows[:, n_values : 2 * n_values].unflatten(1, queries.shape[1:]),
            classes.flip(1),
        )
        # What the other class has and this one lacks leaves no trace in the query's own maps.
        return regions_of(mine + theirs, sides, share), regions_of(theirs, sides, share)

    return in_batches(answer, packed, batch_size, device)


def _maps(classifier, layer, images, classes):
    with torch.enable_grad():
        logits, activations = classifier.with_activations(images.clone().requires_grad_(), [layer])
        maps = discriminant_maps(logits, activations[layer], classes[:, 0], classes[:, 1])
    return normalized(maps.detach())

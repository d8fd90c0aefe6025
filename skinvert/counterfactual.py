r"""Counterfactual explanations: what would have to look otherwise for another class.

IMAGINE (CVPR 2021), section 4.5. "Why is this an A and not a B?" is answered by a region of the
picture, made anew after a region of a picture of B, so that the classifier says B.
"""

from dataclasses import dataclass

import numpy as np
import torch

from skinvert.inversion.attribution import discriminant_maps, normalized, regions_of
from skinvert.models.trials import in_batches

__all__ = ["Counterfactuals", "find_regions", "nearest_references"]


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

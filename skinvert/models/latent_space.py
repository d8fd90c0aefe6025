"""The latents of a data set: one pass through a classifier, and what is to be known of them."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from skinvert.models.latents import LatentEncoder, fit_probe, variance_ratio
from skinvert.models.trials import in_batches

__all__ = ["LatentSpace", "learn_latent_space"]

_COLLAPSED = 0.05  # within- over between-class variance: a class decodes to one image
_LEAST_AGREEMENT = 0.9
_LEAST_JUDGED = 10  # held-out rows of a class, for a confidence of its own
_TO_FIT = 4  # frames from a warning here to the line that called an estimator's fit


@dataclass
class LatentSpace:
    """Latents of rows, and the linear layer that tells their classes.

    Parameters
    ----------
    encoder : LatentEncoder
    latents : ndarray of shape (n, n_latents)
    head : torch.nn.Linear
        Latents to class scores.
    confidence : ndarray of shape (n,)
        The classifier's, in each row's own class.
    variance_ratio : float
        Within-class over between-class variance.
    """

    encoder: LatentEncoder
    latents: np.ndarray
    head: nn.Linear
    confidence: np.ndarray
    variance_ratio: float

    def mean_confidence(self, columns, rows, n_classes):
        """Mean confidence in some rows of each class, (n_classes,), NaN for classes without any.

        A class with fewer than ten of them gets the mean of all.
        """
        means, overall = np.full(n_classes, np.nan), self.confidence[rows].mean()
        for column in np.unique(columns):
            of_class = self.confidence[rows[columns[rows] == column]]
            means[column] = of_class.mean() if len(of_class) >= _LEAST_JUDGED else overall
        return means


def learn_latent_space(
    classifier, rows, columns, n_classes, *, layer, merge, latent_dtype, batch_size, device
):
    """Encode rows, once and for all, and see what the classifier says of them.

    Parameters
    ----------
    classifier : FrozenClassifier
    rows : ndarray of shape (n, n_features)
        May be a memory map: it is read batch by batch.
    columns : ndarray of int of shape (n,)
    n_classes : int
    layer, merge
        As of `LatentEncoder`.
    latent_dtype : {"float32", "float16"}
    batch_size : int
    device : torch.device

    Returns
    -------
    space : LatentSpace

    Raises
    ------
    ValueError
        For unknown layers, and for latents that are not finite.

    Warns
    -----
    UserWarning
        Where no linear layer tells the classes from such latents, and where they have collapsed.
    """
    sample = torch.as_tensor(np.array(rows[:64]), device=device)  # a memory map may be read-only
    encoder = LatentEncoder(classifier, sample, layer=layer, merge=merge)

    def answer(images):
        latents, logits, _ = encoder.answers(images)
        return latents.to(getattr(torch, latent_dtype)), logits

    latents, logits = in_batches(answer, rows, batch_size, device)
    if not np.isfinite(latents).all():
        raise ValueError(
            f"layer {layer!r} gives latents that are not finite in {latent_dtype}; "
            "set latent_dtype='float32', or check the classifier."
        )
    confidence = softmax(logits.astype(np.float64), axis=1)[np.arange(len(rows)), columns]
    head = encoder.head
    if head is None:
        head, agreement = fit_probe(latents, logits.argmax(1), n_classes)
        _warn_of_disagreement(layer, agreement)
    ratio = variance_ratio(latents, columns)
    _warn_of_collapse(ratio)
    return LatentSpace(encoder, latents, head, confidence, ratio)


def _warn_of_disagreement(layer, agreement):
    if agreement < _LEAST_AGREEMENT:
        warnings.warn(
            f"a linear layer on the latents of {layer!r} says what the classifier says of "
            f"{agreement:.0%} of the rows only: combinations of one class need not keep it "
            "(Lemma 1). Name a later layer.",
            UserWarning,
            stacklevel=_TO_FIT,
        )


def _warn_of_collapse(ratio):
    if ratio < _COLLAPSED:
        warnings.warn(
            f"the latents of a class vary {ratio:.3f} times as much as those of different classes "
            "(variance_ratio_): they have collapsed, and all images of a class will be much "
            "alike. Name an earlier layer or several, layer=[…], or train the classifier for "
            "fewer epochs.",
            UserWarning,
            stacklevel=_TO_FIT,
        )

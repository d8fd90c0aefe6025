"""What a frozen classifier says of many rows, in batches of one shape."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skinvert.models.frozen import FrozenClassifier
from skinvert.models.trials import in_batches

__all__ = ["features_of", "probabilities_of"]


def probabilities_of(
    classifier: FrozenClassifier,
    rows: NDArray[np.float32],
    batch_size: int,
    device: torch.device | str = "cpu",
) -> Any:
    """Class probabilities of rows.

    Parameters
    ----------
    classifier : FrozenClassifier
    rows : ndarray of shape (n, n_features)
    batch_size : int
        Rows at a time, padded to this size.
    device : torch.device or str, default="cpu"

    Returns
    -------
    probabilities : ndarray of shape (n, n_classes), float32

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.answers import probabilities_of
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(torch.nn.Linear(2, 3), (2,))
    >>> probabilities_of(net, np.zeros((4, 2), np.float32), 3).shape
    (4, 3)
    """

    def answer(batch: Tensor) -> tuple[Tensor]:
        return (torch.softmax(classifier(batch), dim=1),)

    return in_batches(answer, rows, batch_size, device)[0]


def features_of(
    classifier: FrozenClassifier,
    layer: str,
    rows: NDArray[np.float32],
    batch_size: int,
    device: torch.device | str = "cpu",
) -> Any:
    """What one layer of a classifier says of rows.

    Parameters
    ----------
    classifier : FrozenClassifier
    layer : str
    rows : ndarray of shape (n, n_features)
    batch_size : int
        Rows at a time, padded to this size.
    device : torch.device or str, default="cpu"

    Returns
    -------
    features : ndarray of shape (n, d), float32
        Flattened.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from skinvert.models.answers import features_of
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> net = FrozenClassifier(torch.nn.Sequential(torch.nn.Linear(2, 5)), (2,))
    >>> features_of(net, "0", np.zeros((4, 2), np.float32), 3).shape
    (4, 5)
    """

    def answer(batch: Tensor) -> tuple[Tensor]:
        _, activations = classifier.with_activations(batch, [layer])
        return (activations[layer].flatten(1),)

    return in_batches(answer, rows, batch_size, device)[0]

"""The four losses that ReGene compares for its classifier (6.7), each on logits and labels.

As in the paper, whose classifiers end in a softmax, all but the cross-entropy see probabilities.
"""

import torch
from torch import nn

__all__ = ["CLASSIFIER_LOSSES", "CosineLoss", "HingeLoss", "SquaredErrorLoss"]


class HingeLoss(nn.Module):
    r"""Multi-class hinge: :math:`\max(0, 1 + \max_{c \ne y} p_c - p_y)`, averaged over rows.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifier_losses import HingeLoss
    >>> HingeLoss()(torch.zeros(2, 4), torch.tensor([0, 1]))
    tensor(1.)
    """

    def forward(self, logits, labels):
        """Loss of logits (n, n_classes) and labels (n,); a scalar."""
        probabilities = logits.softmax(1)
        right = probabilities.gather(1, labels[:, None])
        wrong = probabilities.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
        return (1 + wrong - right).clamp_min(0).mean()


class CosineLoss(nn.Module):
    r"""One minus the cosine between probabilities and the label's unit vector.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifier_losses import CosineLoss
    >>> CosineLoss()(torch.zeros(2, 4), torch.tensor([0, 1]))
    tensor(0.5000)
    """

    def forward(self, logits, labels):
        """Loss of logits (n, n_classes) and labels (n,); a scalar."""
        probabilities = logits.softmax(1)
        right = probabilities.gather(1, labels[:, None])[:, 0]
        return (1 - right / probabilities.norm(dim=1)).mean()


class SquaredErrorLoss(nn.Module):
    """Mean squared error of probabilities against the label's unit vector.

    Examples
    --------
    >>> import torch
    >>> from skinvert.models.classifier_losses import SquaredErrorLoss
    >>> SquaredErrorLoss()(torch.zeros(2, 4), torch.tensor([0, 1]))
    tensor(0.1875)
    """

    def forward(self, logits, labels):
        """Loss of logits (n, n_classes) and labels (n,); a scalar."""
        wanted = nn.functional.one_hot(labels, logits.shape[1]).to(logits)
        return (logits.softmax(1) - wanted).square().mean()


CLASSIFIER_LOSSES = {
    "cross_entropy": nn.CrossEntropyLoss,
    "hinge": HingeLoss,
    "cosine": CosineLoss,
    "mean_squared_error": SquaredErrorLoss,
}
"""Figure 16's losses by name: each is a ``criterion`` of `TrainingNet`."""

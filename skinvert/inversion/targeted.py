"""A batch of images asked what its rows' targets ask: views, classifier, terms, in one call."""

import torch

from skinvert.inversion.objectives import Activation, State
from skinvert.inversion.views import staged_views

__all__ = ["TargetedObjective"]


class TargetedObjective:
    """An objective bound to a classifier and to what each row of a request wants excited.

    Parameters
    ----------
    objective : Objective
        Its excitation gives way to `Activation` where the target is a layer's.
    classifier : FrozenClassifier
    target : Target of length n_rows
    example : Tensor of shape (1, C, H, W)
        Any image, to learn how many units there are to excite.
    stages : sequence of sequences of transforms, default=((),)
        The classifier sees one random view of each image; terms on the image see it as it is.
        Several stages divide a row's steps in equal parts.
    n_steps : int, default=1
        Length of a row's run, which the stages divide.
    value_range : tuple (low, high) or None, default=None

    Raises
    ------
    ValueError
        If the target's layer, unit or position does not exist.

    Examples
    --------
    >>> import torch
    >>> from skinvert import Target
    >>> from skinvert.inversion.objectives import as_objective
    >>> from skinvert.inversion.targeted import TargetedObjective
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> frozen = FrozenClassifier(torch.nn.Linear(4, 3), (4,))
    >>> ask = TargetedObjective(
    ...     as_objective("logit"), frozen, Target([2, 0]), example=torch.zeros(1, 1, 2, 2))
    >>> ask(torch.zeros(2, 1, 2, 2), torch.arange(2), None, None)["logit"].shape
    torch.Size([2])
    """

    def __init__(
        self, objective, classifier, target, *, example, stages=((),), n_steps=1, value_range=None
    ):
        if target.layer is not None and not objective.excites_layers:
            objective = objective.excited_by(Activation)
        layers = objective.layers if target.layer is None else (*objective.layers, target.layer)
        self.objective, self.classifier, self.target = objective, classifier, target
        self.layers = tuple(dict.fromkeys(layers))
        self.stages, self.n_steps, self.value_range = stages, max(n_steps, 1), value_range
        weights = torch.from_numpy(target.matrix(self._n_units(example)))
        self.weights = weights.to(example.device)

    def _n_units(self, example):
        with torch.no_grad():
            logits, activations = self.classifier.with_activations(example, self.layers)
        if self.target.layer is None:
            return logits.shape[1]
        answer, position = activations[self.target.layer], self.target.position
        sizes = tuple(answer.shape[2:])
        if position is not None and (
            len(position) != len(sizes)
            or any(not 0 <= index < size for index, size in zip(position, sizes, strict=True))
        ):
            raise ValueError(
                f"position={position} does not lie in layer {self.target.layer!r}, whose channels "
                f"have the shape {sizes}."
            )
        return answer.shape[1]

    def answers(self, images, steps, noise):
        """What the classifier says to one view of every image, whatever is asked: its logits and
        the activations of the layers that matter."""
        if any(self.stages):
            stage = (steps * len(self.stages)) // self.n_steps
            images = staged_views(self.stages, images, noise, stage, self.value_range)
        return self.classifier.with_activations(images, self.layers)

    def values(self, images, answers, rows):
        """Weighted value (n,) of every term, by name, for what the classifier said."""
        logits, activations = answers
        state = State(
            logits, self.weights[rows], activations, self.target.layer, self.target.position, rows
        )
        return self.objective.evaluate(images, state)

    def __call__(self, images, rows, steps, noise):
        """Weighted value (n,) of every term, by name.

        Parameters
        ----------
        images : Tensor of shape (n, C, H, W)
        rows : LongTensor of shape (n,)
            Which row of the request each image answers.
        steps : LongTensor of shape (n,)
            How many steps each row has taken.
        noise : RowNoise with n slots
            Where views are drawn.
        """
        return self.values(images, self.answers(images, steps, noise), rows)

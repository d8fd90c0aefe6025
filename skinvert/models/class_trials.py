"""The two checks of ReGene (6.2): latents that keep their class, images that show it."""

import numpy as np

from skinvert.models.latent_samplers import ConvexSampler
from skinvert.models.trials import Trials

__all__ = ["ClassTrials"]


class ClassTrials:
    """Latents of classes, or of mixtures of classes, drawn and checked.

    A row that asks for one class is checked twice: its latent must be given that class by the head
    (Lemma 1), and its image at least the threshold's confidence. A row that asks for several has
    the weighted sum of one latent of each, drawn from the same numbers; it is not checked, for
    what lies between classes belongs to none.

    Parameters
    ----------
    weights : ndarray of shape (n_rows, n_classes)
        Class weights, each row summing to one.
    sampler : ConvexSampler or MixtureSampler
    head : torch.nn.Linear
        Latents to class scores.
    decode : callable ``Tensor (batch, n_latents) -> (images, probabilities)``
    thresholds : ndarray of shape (n_classes,)
    max_trials : int
    """

    def __init__(self, weights, sampler, head, decode, thresholds, max_trials):
        self.weights, self.sampler, self.thresholds = weights, sampler, thresholds
        self.head_weight, self.head_bias = (
            part.cpu().double().numpy() for part in (head.weight, head.bias)
        )
        self.columns = weights.argmax(1)
        self.is_pure = (weights > 0).sum(1) == 1
        self.confidence = np.zeros(len(weights), dtype=np.float32)
        self.recipes = {}
        if isinstance(sampler, ConvexSampler):
            shape = (len(weights), sampler.n_combine)
            self.recipes = {"sources": np.full(shape, -1), "ratios": np.full(shape, np.nan)}
        self.trials = Trials(self.draw, self.check_latents, decode, self.check_images, max_trials)

    def run(self, seeds, *, batch_size, device="cpu", callback=None):
        """Try until every row has an image; see `Trials.run`.

        Returns
        -------
        result : Result
            With ``confidence`` among its diagnostics, and with ``sources`` and ``ratios`` where
            rows were combined; -1 and NaN in rows of several classes.
        """
        result = self.trials.run(seeds, batch_size=batch_size, device=device, callback=callback)
        result.diagnostics |= {"confidence": self.confidence, **self.recipes}
        return result

    def draw(self, noise, rows):
        """One latent for each of some rows."""
        numbers, weights = self.sampler.numbers(noise), self.weights[rows].astype(np.float64)
        latents = np.zeros((len(rows), self.head_weight.shape[1]))
        for column in np.flatnonzero(weights.any(0)):
            needed = weights[:, column] > 0
            asked = np.full(needed.sum(), column)
            drawn = self.sampler.latents(numbers[needed], asked)
            latents[needed] += weights[needed, column, None] * drawn
        pure = self.is_pure[rows]
        if self.recipes and pure.any():
            found = self.sampler.recipes(numbers[pure], self.columns[rows[pure]])
            self.recipes["sources"][rows[pure]], self.recipes["ratios"][rows[pure]] = found
        return latents

    def check_latents(self, latents, rows):
        """Whether the head gives each latent the class that its row asks for."""
        # One product a row: a batch's bits could depend on its length.
        said = np.array([(self.head_weight @ z + self.head_bias).argmax() for z in latents])
        return (said == self.columns[rows]) | ~self.is_pure[rows]

    def check_images(self, probabilities, rows):
        """Whether the classifier is sure enough of each image."""
        columns = self.columns[rows]
        self.confidence[rows] = sure = probabilities[np.arange(len(rows)), columns]
        return (sure >= self.thresholds[columns]) | ~self.is_pure[rows]

"""From arg max to sampling: starts drawn from a prior and resampled by what the classifier says."""

from collections import Counter

import numpy as np
import torch

from skinvert.inversion.geometry import apply_view
from skinvert.inversion.loop import Problem
from skinvert.inversion.views import draw_view

__all__ = ["PosteriorSampler", "effective_sample_size", "resample"]


class PosteriorSampler:
    r"""Draws from :math:`f(x)_y^{\text{power}}\, p(x)`: resampled starts, then Langevin steps.

    The parameters of a row are the prior's own coordinates, in which the density is a standard
    normal; the component and the view that it was drawn with stay as they are.

    Parameters
    ----------
    prior : DensityPrior
    likelihood : TargetedObjective
        Minus :math:`\log f(x)_y`, and whatever terms stand beside it.
    seeds : sequence of int, length n_rows
    power : float
    n_candidates : int
        Draws of the prior among which each row chooses.
    image_shape : tuple (C, H, W)
    value_range : tuple (low, high) or None
        Images are clipped to it when they are rendered.
    augmentation : sequence of geometric transforms
        Every draw is shown under one view.

    Attributes
    ----------
    effective_sizes : ndarray of shape (n_rows,)
        Effective sample size of each row's candidates.
    """

    def __init__(
        self,
        prior,
        likelihood,
        seeds,
        *,
        power,
        n_candidates,
        image_shape,
        value_range,
        augmentation=(),
    ):
        self.prior, self.likelihood, self.seeds = prior, likelihood, seeds
        self.power, self.n_candidates = power, n_candidates
        self.image_shape, self.value_range = tuple(image_shape), value_range
        self.augmentation = augmentation
        self.effective_sizes = np.zeros(len(seeds))
        self._pools, self._uses_left = {}, Counter(int(seed) for seed in seeds)

    def problem(self):
        """What `skinvert.inversion.loop.optimize` needs."""
        return Problem(start=self.start, objective=self.energy, render=self.render)

    def render(self, params):
        """Images (n, C, H, W) of coordinates, components and views."""
        normal, component, view = params
        rows = self.prior.render(component.detach().long(), normal)
        images = rows.reshape(-1, *self.image_shape)
        images = apply_view(images, view.detach()) if self.augmentation else images
        return images if self.value_range is None else images.clamp(*self.value_range)

    def start(self, row, noise):
        """One of the row's candidates, drawn by its likelihood to the power."""
        params, images, answers, uniform = self._pool(int(self.seeds[row]), noise)
        asked = torch.full((self.n_candidates,), row, device=images.device)
        log_weights = -self.power * sum(self.likelihood.values(images, answers, asked).values())
        self.effective_sizes[row] = effective_sample_size(log_weights)
        chosen = resample(log_weights, uniform)
        return tuple(values[chosen][None] for values in params)

    def _pool(self, seed, noise):
        """Candidates and what the classifier says to them, kept for as long as rows share them:
        those that ask for different things have one seed."""
        pool = self._pools.pop(seed, None) or self._draw_pool(noise)
        self._uses_left[seed] -= 1
        if self._uses_left[seed] > 0:
            self._pools[seed] = pool
        # From here on a row must not know whether it drew the candidates or found them drawn.
        noise.restart(0, seed ^ 1)
        return pool

    @torch.no_grad()
    def _draw_pool(self, noise):
        component, normal = self.prior.draw(noise, self.n_candidates)
        view = normal[:, :0]
        children = noise.children(self.n_candidates)
        if self.augmentation:
            view = draw_view(self.augmentation, children, self.image_shape)
        params = (normal, component.to(normal.dtype), view)
        images = self.render(params)
        steps = torch.zeros(len(images), dtype=torch.long, device=images.device)
        answers = self.likelihood.answers(images, steps, children)
        return params, images, answers, float(noise.uniform(1))

    def energy(self, params, rows, steps, noise):
        """Terms of minus the log of the law that is drawn from, up to a constant."""
        terms = self.likelihood(self.render(params), rows, steps, noise)
        scaled = {name: self.power * value for name, value in terms.items()}
        return {**scaled, "prior": params[0].square().sum(1) / 2}


def resample(log_weights, uniform):
    """Choose one candidate with probability proportional to its weight.

    Parameters
    ----------
    log_weights : Tensor of shape (n_candidates,)
        Unnormalised.
    uniform : float
        A uniform draw in [0, 1): the same draw and weights choose the same candidate.

    Returns
    -------
    index : int

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.sampling import resample
    >>> resample(torch.tensor([0.0, -50.0, 0.0]), 0.7)
    2
    """
    cumulative = torch.softmax(log_weights.double(), dim=0).cumsum(0)
    index = torch.searchsorted(cumulative, float(uniform) * float(cumulative[-1]), right=True)
    return min(int(index), len(log_weights) - 1)


def effective_sample_size(log_weights):
    r"""How many candidates share the weight, :math:`(\sum w)^2 / \sum w^2`.

    Parameters
    ----------
    log_weights : Tensor of shape (n_candidates,)

    Returns
    -------
    size : float
        From 1 (one candidate has it all) to n_candidates.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.sampling import effective_sample_size
    >>> round(effective_sample_size(torch.tensor([0.0, 0.0, -50.0])), 3)
    2.0
    """
    return float(1 / torch.softmax(log_weights.double(), dim=0).square().sum())

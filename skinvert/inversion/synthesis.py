"""An image made after a reference, as a problem for the loop: IMAGINE's eq. 9, and 10 to 13.

The critic's weights are parameters of their row beside its image. One gradient serves both: the
image's term sees the critic with its weights held, the critic's sees the image held. So each row
trains a critic of its own, from the row's own noise, and no neighbour knows of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
import torch

from skinvert.inversion.attribution import Location
from skinvert.inversion.guidance import FeatureMatching
from skinvert.inversion.loop import Problem
from skinvert.inversion.objectives import Objective
from skinvert.inversion.optimizers import Adam, Cooldown, Intermittent
from skinvert.inversion.placing import (
    PlacedMatching,
    Placement,
    object_centres,
    placed_statistics,
)
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.statistics import channel_statistics, shared_copy
from skinvert.inversion.targeted import TargetedObjective
from skinvert.models.critics import draw_windows, window_of
from skinvert.models.trials import in_batches

__all__ = ["GuidedSynthesis", "Guides", "Schedule", "steps_of_both"]

_BETAS = (0.5, 0.9)
_CRITIC_BETAS = (0.5, 0.999)
_SMALL = 64  # pixels
_STEPS, _STEPS_OF_SMALL = (2000, 2000), (300, 100)


@dataclass
class Guides:
    """What each row of a request is made after. Images are rows (n, n_features), float32.

    Attributes
    ----------
    references : ndarray
        Whose statistics are matched (eq. 5), and whose patches the critic knows.
    shapes : ndarray or None
        Whose statistics are matched at the deepest layer instead (eq. 11).
    starts : ndarray or None
        First images; None starts from noise.
    maps : ndarray of shape (n, H, W) or None
        Where the classifier shall look (eq. 10), and the object shall be.
    queries : ndarray or None
        What stands outside the regions, and stays (eq. 13).
    regions, reference_regions : ndarray of bool of shape (n, H, W) or None
        Where the image is made anew, and what of the reference it is made after.
    """

    references: np.ndarray
    shapes: np.ndarray | None = None
    starts: np.ndarray | None = None
    maps: np.ndarray | None = None
    queries: np.ndarray | None = None
    regions: np.ndarray | None = None
    reference_regions: np.ndarray | None = None

    @property
    def is_style(self):
        """Whether the first image gives the content, and the reference the style (eq. 12)."""
        return self.starts is not None and self.queries is None

    def __getitem__(self, rows):
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Guides(**{name: None if p is None else p[rows] for name, p in parts.items()})


@dataclass
class Schedule:
    """Two stages: without the critic, then with it (section 3.3).

    Attributes
    ----------
    n_steps : tuple of int
    learning_rate : float
        In the units of the image's parameters.
    critic_learning_rate : float
    critic_interval : int
        The critic learns at every so-manieth step of the second stage.
    cooldown : float
        Last share of all steps over which the image's learning rate falls to zero.
    """

    n_steps: tuple
    learning_rate: float
    critic_learning_rate: float = 5e-4
    critic_interval: int = 5
    cooldown: float = 0.0

    def image_rule(self):
        """How the image moves."""
        n_steps = sum(self.n_steps)
        return Adam(Cooldown(self.learning_rate, n_steps, self.cooldown), betas=_BETAS)

    def critic_rule(self):
        """How the critic moves: not before the second stage, and not at every step."""
        rule = Adam(self.critic_learning_rate, betas=_CRITIC_BETAS)
        return Intermittent(rule, first=self.n_steps[0], interval=self.critic_interval)


def steps_of_both(n_steps: str | Sequence[int], sides: Sequence[int]) -> tuple[int, int]:
    """Steps of the two stages of a `Schedule`.

    Parameters
    ----------
    n_steps : "auto" or sequence (first, second)
        "auto" is the paper's (2000, 2000), and (300, 100) for images of less than 64 pixels.
    sides : tuple (H, W)
        Of the images.

    Returns
    -------
    n_steps : tuple (first, second)

    Raises
    ------
    ValueError
        For anything but two integers of at least 0.

    Examples
    --------
    >>> from skinvert.inversion.synthesis import steps_of_both
    >>> steps_of_both("auto", (28, 28)), steps_of_both([20, 0], (28, 28))
    ((300, 100), (20, 0))
    """
    if isinstance(n_steps, str):
        return _STEPS_OF_SMALL if min(sides) < _SMALL else _STEPS
    if len(n_steps) != 2 or any(not isinstance(n, Integral) or n < 0 for n in n_steps):
        raise ValueError(
            "n_steps must be 'auto' or two integers of at least 0, the steps of both stages, "
            f"got {n_steps!r}."
        )
    first, second = n_steps
    return first, second


class GuidedSynthesis:
    """Images that share statistics, patches or places with references, bound to a classifier.

    Parameters
    ----------
    classifier : FrozenClassifier
    target : Target of length n_rows
    guides : Guides of length n_rows
    canvas : fitted parameterization
    objective : Objective
        Terms that look at no reference: the class, eq. 2.
    layers : list of str
        Φ; in the order of their depth.
    feature_weight, patch_weight, location_weight : float
        The paper's λ, γ and ν.
    location_layer : str or None
        Where Grad-CAM is read.
    critic : PatchCritic or None
        None leaves eq. 8 out.
    window : int
        Side of the window that the critic sees at a step.
    schedule : Schedule
    stages : sequence of sequences of transforms, default=((),)
    batch_size : int
    device : torch.device
    """

    def __init__(
        self,
        classifier,
        target,
        guides,
        *,
        canvas,
        objective,
        layers,
        feature_weight,
        patch_weight,
        location_weight,
        location_layer,
        critic,
        window,
        schedule,
        stages=((),),
        batch_size,
        device,
    ):
        # Hooks belong to this run: in another thread another one may hook the same network.
        asked = {*layers, location_layer, *objective.layers}
        self.classifier = shared_copy(classifier, asked)
        self.shape = canvas.image_shape_
        self.canvas, self.guides, self.batch_size, self.device = canvas, guides, batch_size, device
        self.critic, self.window, self.schedule = critic, window, schedule
        self.patch_weight = patch_weight
        located = guides.maps is not None and location_weight
        self.placement = None
        if located and not guides.is_style:
            self.placement = self._placement(guides.references, target, location_layer)
        matching = Objective(
            [("feature", self._matching(layers, feature_weight, target, location_layer))]
        )
        if guides.regions is None:
            objective += matching
        if located:
            maps = torch.from_numpy(guides.maps).to(device)
            objective += Objective([("location", Location(location_weight, location_layer, maps))])
        settings = {
            "example": self._images(guides.references[:1]),
            "stages": stages,
            "n_steps": sum(schedule.n_steps),
            "value_range": canvas.value_range_,
        }
        self.whole = TargetedObjective(objective, self.classifier, target, **settings)
        self.inside = None
        if guides.regions is not None:
            self.inside = TargetedObjective(matching, self.classifier, target, **settings)
            self.regions, self.queries = self._masks(guides.regions), self._images(guides.queries)
        self.references = self._images(guides.references)

    def _images(self, rows):
        return torch.from_numpy(rows).to(self.device).reshape(-1, *self.shape)

    def _masks(self, masks):
        return torch.from_numpy(masks).to(self.device, torch.float32)[:, None]

    def _matching(self, layers, weight, target, location_layer):
        """Eq. 5, or 11 where another picture gives the shape, or the last part of 13."""
        guides = self.guides
        seen = guides.references
        if guides.reference_regions is not None:
            masks = guides.reference_regions[:, None].astype(np.float32)
            seen = (seen.reshape(-1, *self.shape) * masks).reshape(len(seen), -1)
        statistics = self._statistics(seen, layers, self.placement)
        if guides.shapes is not None:
            placement = self.placement and self._placement(guides.shapes, target, location_layer)
            statistics |= self._statistics(guides.shapes, layers[-1:], placement)
        if self.placement is None:
            return FeatureMatching(weight, statistics)
        return PlacedMatching(weight, statistics, self.placement.asked.to(self.device))

    def _placement(self, rows, target, layer):
        """Where the objects of some pictures are, and where they shall be."""
        with torch.no_grad():
            n_classes = self.classifier(self._images(rows[:1])).shape[1]
        centres = object_centres(
            self.classifier,
            layer,
            rows,
            target.matrix(n_classes),
            shape=self.shape,
            batch_size=self.batch_size,
            device=self.device,
        )
        return Placement(self.guides.maps, centres, self.shape[1:])

    def _statistics(self, rows, layers, placement):
        """Statistics of pictures by layer; those of their places where they have a placement."""
        n_values = rows.shape[1]
        if placement is not None:
            rows = np.concatenate([rows, placement.known.flatten(1).numpy()], axis=1)

        def answer(packed):
            images, maps = packed[:, :n_values].reshape(-1, *self.shape), packed[:, n_values:]
            _, activations = self.classifier.with_activations(images, layers)
            if placement is None:
                found = [channel_statistics(activations[name]) for name in layers]
            else:
                maps = maps.reshape(-1, *self.shape[1:])
                found = [placed_statistics(activations[name], maps) for name in layers]
            return [part for parts in found for part in parts]

        parts = [
            torch.from_numpy(part).to(self.device)
            for part in in_batches(answer, rows, self.batch_size, self.device)
        ]
        return {name: (parts[2 * k], parts[2 * k + 1]) for k, name in enumerate(layers)}

    def problem(self):
        """What the loop solves; its parameters are the canvas' and after them the critic's."""
        n_canvas = self._n_canvas()
        return Problem(
            start=self._start,
            objective=lambda params, *row: self._values(params[:n_canvas], params[n_canvas:], *row),
            render=lambda params: self.canvas.render(params[:n_canvas]),
            project=lambda params: self.canvas.project(params[:n_canvas]),
        )

    def rules(self):
        """An update rule for each parameter."""
        n_weights = 0 if self.critic is None else len(self.critic.shapes)
        image, critic = self.schedule.image_rule(), self.schedule.critic_rule()
        return [*[image] * self._n_canvas(), *[critic] * n_weights]

    def finish(self, images):
        """Finished images (n_rows, C, H, W) with all that was to stay put back, as an array."""
        if self.inside is None:
            return images
        regions = self.guides.regions[:, None]
        return np.where(regions, images, self.guides.queries.reshape(images.shape))

    def _n_canvas(self):
        return len(self.canvas.start(RowNoise([0])))

    def _start(self, row, noise):
        if self.guides.starts is None:
            params = self.canvas.start(noise)
        else:
            params = self.canvas.from_images(self._images(self.guides.starts[row : row + 1]))
        if self.placement is not None:
            image = self.canvas.render(params)
            params = self.canvas.from_images(
                self.placement.start(row, image, self.references[row : row + 1])
            )
        weights = () if self.critic is None else self.critic.start(noise)
        return (*params, *weights)

    def _values(self, params, weights, rows, steps, noise):
        images = self.canvas.render(params)
        if self.inside is not None:
            regions = self.regions[rows]
            images = torch.where(regions > 0, images, self.queries[rows])
        values = self.whole(images, rows, steps, noise)
        if self.inside is not None:
            values |= self.inside(images * regions, rows, steps, noise)
        return values | self._patches(images, weights, rows, steps, noise)

    def _patches(self, images, weights, rows, steps, noise):
        """Eq. 8 for the images, and WGAN-GP for the critics where they learn now."""
        if self.critic is None:
            return {}
        # Drawn in the first stage too: a row's numbers must not depend on its neighbours' stages.
        corners, others = (draw_windows(noise, self.shape[1:], self.window) for _ in range(2))
        mixing = noise.uniform()
        # Slots that are left over go on counting beyond the last step.
        refined = (steps >= self.schedule.n_steps[0]) & (steps < sum(self.schedule.n_steps))
        if not refined.any():
            return {}
        seen = window_of(images, corners, self.window)
        scores = self.critic(seen, [weight.detach() for weight in weights])
        values = {"patch": -self.patch_weight * torch.where(refined, scores, 0.0)}
        due = self.schedule.critic_rule().is_due(steps) & refined
        if due.any():
            known = window_of(self.references[rows], others, self.window)
            loss = self.critic.loss(seen, known, weights, mixing)
            values["critic"] = torch.where(due, loss, 0.0)
        return values

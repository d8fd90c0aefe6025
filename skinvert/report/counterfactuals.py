"""Which classes a classifier confuses, and how little turns one into the other."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from skinvert.inversion.loop import Problem, optimize
from skinvert.inversion.objectives import Margin, State
from skinvert.inversion.optimizers import Adam
from skinvert.layout import columns_of

__all__ = ["Change", "confusion_of", "confused_pairs", "least_changes", "series_between"]

_N_STEPS, _BATCH, _RATE = 100, 32, 0.03  # the rate is a share of the data's range
_SURE = 0.5  # margin of the logits at which a change is enough
_THRIFT = (0.05, 0.15, 0.3, 0.6)  # of the largest slope: what a pixel has to be worth
_KEPT = np.geomspace(0.01, 1, 16)  # shares of the changed values that are tried
_VISIBLE = 0.01  # of the range


@dataclass(frozen=True)
class Change:
    """A real image, the least change found that turns the classifier, and who follows it.

    Attributes
    ----------
    start, goal : label
    row : int
        Of ``subject.everything``.
    before, after : ndarray of shape (C, H, W)
    probability_before, probability_after : float
        The classifier's, of `goal`.
    turned : bool
        Whether the classifier calls `after` by `goal`.
    share : float
        Of the pixels that changed by more than 1 % of the range.
    judged : label
        What the judge calls `after`.
    method : str
        Who made it.
    """

    start: object
    goal: object
    row: int
    before: np.ndarray
    after: np.ndarray
    probability_before: float
    probability_after: float
    turned: bool
    share: float
    judged: object
    method: str


def confusion_of(subject):
    """The classifier's answers on all real rows of the audit.

    Returns
    -------
    counts : ndarray of int of shape (n_labels, n_classes)
        Rows of each label called each class.
    probabilities : ndarray of shape (n_rows, n_classes)
    """
    probabilities = subject.probabilities(subject.everything.images)
    called = probabilities.argmax(1)
    counts = np.array(
        [
            np.bincount(called[subject.everything.y == label], minlength=len(subject.classes))
            for label in subject.labels
        ]
    )
    return counts, probabilities


def confused_pairs(subject, probabilities, n_pairs):
    """The classes that the classifier confuses most, and an ordinary real row of each pair.

    Pairs are ranked by the mean probability of the second class in rows of the first. Of these
    rows, those that are called right, the one with the median probability is chosen: a doubtful
    one would be turned by anything.

    Returns
    -------
    pairs : list of tuple (row, start, goal)
        Row of ``subject.everything``, and labels.
    """
    y, columns = subject.everything.y, columns_of(subject.labels, subject.classes)
    ranked = sorted(
        (-float(probabilities[y == start, goal_column].mean()), place, goal_place)
        for place, start in enumerate(subject.labels)
        for goal_place, goal_column in enumerate(columns)
        if place != goal_place
    )
    pairs, called = [], probabilities.argmax(1)
    for _, place, goal_place in ranked:
        right = np.flatnonzero((y == subject.labels[place]) & (called == columns[place]))
        if len(right):
            doubts = probabilities[right, columns[goal_place]]
            row = right[np.argsort(doubts, kind="stable")[len(right) // 2]]
            pairs.append((int(row), subject.labels[place], subject.labels[goal_place]))
    return pairs[:n_pairs]


def least_changes(pairs, subject, judge, method, seed):
    """Change each pair's row as little as turns the classifier to the other class.

    A method with ``counterfactual(X, y)`` is asked. Else the margin of the goal over the best
    other class is raised at a price per changed value, for four prices; of what comes out only the
    largest changes are kept, as few as still turn the classifier, and the least of the four is
    taken.

    Parameters
    ----------
    pairs : list of tuple (row, start, goal)
    subject : Subject
    judge : fitted classifier
    method : tuple (name, generator) or None
    seed : int

    Returns
    -------
    changes : list of Change
    """
    if not pairs:
        return []
    before = subject.everything.images[[row for row, _, _ in pairs]]
    goals = columns_of([goal for _, _, goal in pairs], subject.classes)
    if method is None:
        name, after = "optimised change", _optimised(before, goals, subject)
    else:
        name, generator = method
        asked = [goal for _, _, goal in pairs]
        rows = before.reshape(len(before), -1)
        after = generator.counterfactual(rows, asked, random_state=seed).images
        after = np.asarray(after, dtype=np.float32).reshape(before.shape)
    was, now = subject.probabilities(before), subject.probabilities(after)
    judged = np.asarray(judge.predict(after.reshape(len(after), -1)))
    shares = _changed(before, after, subject).mean(1)
    return [
        Change(
            start=start,
            goal=goal,
            row=row,
            before=before[place],
            after=after[place],
            probability_before=float(was[place, goals[place]]),
            probability_after=float(now[place, goals[place]]),
            turned=bool(now[place].argmax() == goals[place]),
            share=float(shares[place]),
            judged=judged[place],
            method=name,
        )
        for place, (row, start, goal) in enumerate(pairs)
    ]


def series_between(method, start, goal, n_images, subject, seed):
    """Images (n_images, C, H, W) by a method, from one class to the other through mixtures."""
    ends = np.eye(len(subject.classes))[columns_of([start, goal], subject.classes)]
    ratios = np.linspace(0, 1, n_images)[:, None]
    weights = (1 - ratios) * ends[0] + ratios * ends[1]
    with warnings.catch_warnings():
        # Between two classes few draws serve; the series shows what came of it.
        warnings.simplefilter("ignore", UserWarning)
        images = method.generate(weights=weights, random_state=seed)
    return np.asarray(images, dtype=np.float32).reshape(n_images, *subject.image_shape)


def _optimised(before, goals, subject):
    """The least of several changes (n, C, H, W), each trimmed to what is needed."""
    n_pairs = len(before)
    # One row for each pair and price, pair by pair.
    starts = np.repeat(before, len(_THRIFT), axis=0)
    columns = np.repeat(goals, len(_THRIFT))
    far = _raised(starts, columns, np.tile(_THRIFT, n_pairs), subject)
    candidates = np.stack([_kept_largest(starts, far, share) for share in _KEPT], axis=1)
    flat = candidates.reshape(-1, *before.shape[1:])
    tried = np.repeat(columns, len(_KEPT))
    turned = subject.predict(flat) == tried
    cost = _changed(np.repeat(starts, len(_KEPT), axis=0), flat, subject).mean(1)
    cost = np.where(turned, cost, np.inf).reshape(n_pairs, -1)
    # Where nothing turned the classifier, the last is the whole change at the highest price.
    best = np.where(np.isfinite(cost).any(1), cost.argmin(1), cost.shape[1] - 1)
    return flat.reshape(n_pairs, -1, *before.shape[1:])[np.arange(n_pairs), best]


def _raised(starts, columns, thrift, subject):
    """Images in which the margin of a class was raised, at a price per changed value."""
    device, (low, high) = subject.device, subject.value_range
    images = torch.from_numpy(starts).to(device)
    weights = torch.eye(len(subject.classes), device=device)[torch.from_numpy(columns).to(device)]
    prices = torch.from_numpy(thrift).float().to(device) * _steepest(images, weights, subject)
    margin = Margin()

    def objective(params, rows, steps, noise):
        state = State(subject.frozen(params[0]), weights[rows])
        change = (params[0] - images[rows]).abs().flatten(1).sum(1)
        return {
            "margin": (margin(params[0], state) + _SURE).clamp_min(0),
            "change": prices[rows] * change,
        }

    problem = Problem(
        start=lambda row, noise: (images[row : row + 1].clone(),),
        objective=objective,
        render=lambda params: params[0],
        project=lambda params: params[0].clamp_(low, high),
    )
    rule = Adam(_RATE * (high - low))
    result = optimize(
        problem,
        range(len(starts)),
        batch_size=min(_BATCH, len(starts)),
        n_steps=_N_STEPS,
        optimizer=rule,
        device=device,
    )
    return np.asarray(result.images, dtype=np.float32)


def _steepest(images, weights, subject):
    """Largest slope (n,) of the margin in any value of each image."""
    steepest = []
    for first in range(0, len(images), _BATCH):
        batch = images[first : first + _BATCH].clone().requires_grad_()
        state = State(subject.frozen(batch), weights[first : first + _BATCH])
        (slope,) = torch.autograd.grad(Margin()(batch, state).sum(), batch)
        steepest.append(slope.abs().flatten(1).amax(1))
    return torch.cat(steepest)


def _kept_largest(before, after, share):
    """The changed images with but the largest changes, a share of all values."""
    change = (after - before).reshape(len(before), -1)
    n_kept = max(1, round(share * change.shape[1]))
    order = np.argsort(-np.abs(change), axis=1, kind="stable")[:, :n_kept]
    kept = np.zeros_like(change)
    np.put_along_axis(kept, order, np.take_along_axis(change, order, axis=1), axis=1)
    return before + kept.reshape(before.shape)


def _changed(before, after, subject):
    """Whether pixels (n, H · W) changed visibly, in any channel."""
    low, high = subject.value_range
    moved = np.abs(after - before) > _VISIBLE * (high - low)
    return moved.any(1).reshape(len(before), -1)

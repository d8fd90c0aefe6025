"""From an estimator's parameters and its rows to a network that is ready to be trained or used."""

import numpy as np
import torch

from skinvert.flows.bases import class_means, separated_means
from skinvert.flows.coupling import ClassWhitening, CouplingFlow
from skinvert.flows.linear import whitening
from skinvert.flows.network import FlowNetwork
from skinvert.flows.pixels import PixelCoupling
from skinvert.flows.preprocessing import Preprocessing
from skinvert.flows.settings import FlowSettings
from skinvert.flows.sliced import SlicedFlow
from skinvert.flows.square import SquareFlow
from skinvert.inversion.randomness import RowNoise
from skinvert.inversion.views import random_views

__all__ = ["FlowSettings", "augmented", "build_network"]

_ROWS_AT_ONCE = 1024
_ROWS_OF_MEANS = 5000


def build_network(settings, rows, columns, views=(), n_views=0, progress=None):
    """The network before training; "sliced" is fitted, which is all its training.

    Parameters
    ----------
    settings : FlowSettings
    rows : ndarray of shape (n, n_features)
    columns : ndarray of int of shape (n,)
    views : sequence of transforms, default=()
        Random views under which "sliced" sees its rows; the others see theirs in training.
    n_views : int, default=0
        Views of every row.
    progress : callable or None

    Returns
    -------
    network : FlowNetwork, float32 ("square", "coupling") or float64 ("sliced")

    Raises
    ------
    ValueError
        If the data have no spread in some direction and nothing gives them one.
    """
    preprocessing = _preprocessing(settings, rows)
    shares = np.bincount(columns, minlength=settings.n_classes) / len(columns)
    n_features = rows.shape[1]
    if settings.architecture == "square":
        flow = _square(settings, _standard(settings, preprocessing, rows), columns)
        means = class_means(
            settings.kind_of_means, settings.n_classes, n_features, settings.seed + 1
        )
    else:
        if settings.architecture == "sliced" and n_views:
            rows, columns = augmented(rows, columns, settings, views, n_views)
        standard = _standard(settings, preprocessing, rows)
        build = _sliced if settings.architecture == "sliced" else _coupling
        flow = build(settings, standard, columns, preprocessing, progress)
        means = separated_means(
            settings.kind_of_means, settings.n_classes, n_features, settings.seed + 1
        )
    network = FlowNetwork(
        preprocessing,
        flow,
        means,
        torch.from_numpy(np.log(shares)),
        objective=settings.objective,
        learn_means=settings.kind_of_means == "learned",
        noise=settings.noise,
        cross_entropy_weight=settings.cross_entropy_weight,
    )
    if settings.architecture == "sliced":
        return network.double()
    network = network.float()
    if settings.bounded and settings.kind_of_means == "learned" and not flow.conditional:
        _start_means_at_the_data(network, rows, columns)
    return network


def _preprocessing(settings, rows):
    preprocessing = Preprocessing(
        rows,
        is_image=settings.image_shape is not None,
        step=settings.step,
        logit=settings.logit,
    )
    if settings.objective in ("paper", "kl"):
        # The paper's networks see pixels as they are.
        preprocessing.shift.zero_()
        preprocessing.scale.fill_(1.0)
    elif not settings.noise and settings.step is None:
        constant = np.flatnonzero(rows.max(0) == rows.min(0))
        if len(constant):
            raise ValueError(
                f"{len(constant)} columns of X are constant (the first is column {constant[0]}), "
                "and a likelihood of them is unbounded. Set noise to a positive value, "
                "dequantize=True where the values are quantised, or drop the columns."
            )
    return preprocessing


def _standard(settings, preprocessing, rows):
    """Rows in standard units; spread over their cells where that is more than a variance."""
    parts = torch.from_numpy(np.asarray(rows, dtype=np.float64)).split(_ROWS_AT_ONCE)
    rng = np.random.default_rng(settings.seed)
    if _is_spread(settings):
        parts = [
            preprocessing.dequantize(part, torch.from_numpy(rng.random(part.shape)))
            for part in parts
        ]
    standard = torch.cat([preprocessing(part)[0] for part in parts]).numpy()
    if settings.architecture == "sliced" and settings.n_blocks and settings.noise:
        standard += settings.noise * rng.normal(size=standard.shape)
    return standard


def _is_spread(settings):
    """Whether cells are no intervals of one width, or splines are fitted to them."""
    is_spline = settings.architecture == "sliced" and settings.n_blocks > 0
    return settings.logit is not None or is_spline


def _extra_variance(settings, preprocessing):
    """Of the noise and of the spread within a quantisation cell, in standard units."""
    cells = 0.0 if _is_spread(settings) else preprocessing.cell_width() ** 2 / 12
    return settings.noise**2 + cells


def _square(settings, rows, columns):
    axes = scales = None
    if settings.bounded:
        axes, variances = whitening(rows, columns, settings.noise**2 + 1e-8)
        spreads = np.sqrt(variances + settings.noise**2 + 1e-8)
        axes, scales = torch.from_numpy(axes), torch.from_numpy(1 / spreads)
    return SquareFlow(
        rows.shape[1],
        n_blocks=settings.n_blocks,
        activation=settings.activation,
        negative_slope=settings.negative_slope,
        max_condition=settings.max_condition if settings.bounded else None,
        axes=axes,
        scales=scales,
        seed=settings.seed,
    )


def _coupling(settings, rows, columns, preprocessing, progress):
    if settings.coupled == "pixels":
        return _pixels(settings, preprocessing)
    variance = _extra_variance(settings, preprocessing)
    means, scales, axes = [], [], []
    for column in range(settings.n_classes):
        own = rows[columns == column]
        directions, variances = whitening(own, np.zeros(len(own), dtype=int), variance)
        means.append(own.mean(0))
        axes.append(directions)
        scales.append(np.sqrt(variances + variance))
    stacked = (torch.from_numpy(np.stack(values)).float() for values in (means, scales, axes))
    return CouplingFlow(
        ClassWhitening(*stacked),
        settings.n_components,
        n_blocks=settings.n_blocks,
        hidden=settings.hidden_size,
        seed=settings.seed,
    )


def _pixels(settings, preprocessing):
    # As the network will have them, whose training is in float32.
    scale, shift = (float(value[0].float()) for value in (preprocessing.scale, preprocessing.shift))
    low, span = float(preprocessing.low[0]), float(preprocessing.span[0])
    return PixelCoupling(
        settings.image_shape,
        (low - shift) / scale,
        preprocessing.step / scale,
        round(span / preprocessing.step),
        n_classes=settings.n_classes,
        n_blocks=settings.n_blocks,
        hidden=settings.hidden_size,
        seed=settings.seed,
    )


def _sliced(settings, rows, columns, preprocessing, progress):
    return SlicedFlow.fit(
        rows,
        columns,
        n_classes=settings.n_classes,
        noise_variance=_extra_variance(settings, preprocessing),
        n_leading=settings.n_components,
        n_mixture=settings.n_mixture,
        image_shape=settings.image_shape,
        n_blocks=settings.n_blocks,
        seed=settings.seed,
        progress=progress,
    )


def augmented(rows, columns, settings, views, n_views):
    """The rows, and `n_views` random views of each, clipped to the range of the rows.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    columns : ndarray of shape (n,)
    settings : FlowSettings
        ``image_shape`` and ``seed`` are read.
    views : sequence of transforms
    n_views : int
    """
    images = torch.from_numpy(np.asarray(rows, dtype=np.float32)).reshape(-1, *settings.image_shape)
    seen = [rows]
    for view in range(n_views):
        seeds = settings.seed * 1_000_003 + view * len(rows) + np.arange(len(rows))
        turned = random_views(views, images, RowNoise(seeds), value_range=None)
        seen.append(turned.reshape(len(rows), -1).numpy().clip(rows.min(), rows.max()))
    return np.concatenate(seen), np.tile(columns, n_views + 1)


@torch.no_grad()
def _start_means_at_the_data(network, rows, columns):
    """Class means where the untrained flow puts the classes."""
    some = np.random.default_rng(0).permutation(len(rows))[:_ROWS_OF_MEANS]
    z, _ = network.flow(network(torch.from_numpy(np.asarray(rows[some], dtype=np.float32))))
    for column in np.unique(columns[some]):
        network.means[column] = z[torch.from_numpy(columns[some] == column)].mean(0)

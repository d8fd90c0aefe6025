"""How near images are to natural pictures: colours, spectrum, what a network remembers of them."""

from itertools import pairwise

import numpy as np
import torch

from skinvert.inversion.statistics import (
    channel_moments,
    record_features,
    running_statistics,
    statistics_layers,
)

N_BINS = 16  # of a colour channel


def colour_histogram(images):
    """Shares of each channel's values (n, C, H, W) in equal bins of [0, 1], shape (C, bins)."""
    counts = [
        np.histogram(images[:, channel], bins=N_BINS, range=(0, 1))[0]
        for channel in range(images.shape[1])
    ]
    return np.array(counts) / images[:, 0].size


def histogram_distance(images, others):
    """Share of the pixels' values that would have to change bins, mean over the channels."""
    difference = colour_histogram(images) - colour_histogram(others)
    return float(np.abs(difference).sum(1).mean() / 2)


def distance_of_halves(images, n_splits=50):
    """Mean histogram distance between halves of some images: none can be told to be nearer."""
    rng, half = np.random.default_rng(0), len(images) // 2
    orders = [rng.permutation(len(images)) for _ in range(n_splits)]
    return np.mean([histogram_distance(images[o[:half]], images[o[half:]]) for o in orders])


def spectrum_slope(images):
    """Exponent of the radially averaged power spectrum, mean over images.

    A line is fitted to log power against log frequency from 1/56 to 1/4 cycles a pixel (at 224
    pixels: 4 to 56 cycles an image); about -2 in natural pictures.
    """
    grey = images.mean(1)
    window = np.hanning(grey.shape[1])[:, None] * np.hanning(grey.shape[2])
    grey = (grey - grey.mean((1, 2), keepdims=True)) * window
    power = np.abs(np.fft.fft2(grey)) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in grey.shape[1:])
    frequency = np.hypot(rows[:, None], columns)
    edges = np.geomspace(1 / 56, 1 / 4, 13)
    middles = np.sqrt(edges[:-1] * edges[1:])
    rings = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    profile = np.array([power[:, ring].mean(1) for ring in rings])
    slopes = np.polyfit(np.log(middles), np.log(profile + 1e-12), 1)[0]
    return float(slopes.mean())


def statistics_distance(frozen, images, batch_size=4):
    """Mean over images of eq. 3's distance, each channel in units of the running spread.

    Of every batch normalisation the root of the mean squared deviation of the image's channel
    means and of its channel variances from what the network remembers; their mean over layers.
    """
    network = frozen.network
    memory = running_statistics(network, statistics_layers(network))
    distances = []
    with torch.no_grad(), record_features(network, memory) as features:
        for batch in torch.from_numpy(images).split(batch_size):
            frozen.answer(network, batch)
            parts = []
            for layer, (mean, variance) in memory.items():
                unit = variance.clamp_min(1e-3 * variance.mean())
                own_mean, own_variance = channel_moments(features[layer])
                off = (own_mean - mean) / unit.sqrt(), (own_variance - variance) / unit
                parts.append(sum(part.square().mean(1).sqrt() for part in off))
            distances.append(torch.stack(parts).mean(0))
    return torch.cat(distances).numpy()

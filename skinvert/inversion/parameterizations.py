"""How free parameters become images: pixels, pyramid, Fourier, phase.

An optimiser that moves pixels finds adversarial noise first, because every frequency costs it the
same. The parameterizations here draw the same images with other coordinates, in which the slow,
correlated colours of natural images are near and noise is far. All but :class:`Pixels` draw on
an unbounded *canvas* that a sigmoid squashes into the value range, so that no step leaves it.

A parameterization is fitted to a layout, starts from a row's own noise, renders any batch of
parameters and never mixes rows: image i depends on the i-th slice of every parameter alone.
"""

from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

__all__ = ["Fourier", "Phase", "Pixels", "Pyramid"]

# The sigmoid reaches the ends of the value range nowhere, so images that touch them are moved one
# grey level of eight bits inside before it is inverted.
_MARGIN = 1 / 256

# Statistics are read from at most this many values, evenly spaced images of the training set.
_MAX_VALUES = 2**24

# Directions in which the training colours never vary keep this share of the largest variance:
# grey photographs stored with three channels stay nearly grey and the matrix stays invertible.
_VARIANCE_FLOOR = 1e-3

# Covariance of red, green and blue (values in [0, 1]) inside china.jpg and flower.jpg, the
# photographs that scikit-learn ships, averaged over the two.
_PHOTO_COVARIANCE = (
    (0.10824, 0.07312, 0.06263),
    (0.07312, 0.06987, 0.06991),
    (0.06263, 0.06991, 0.07910),
)


class _Parameterization(BaseEstimator):
    """What all four share: the layout, and the colours of those that decorrelate them."""

    def fit(self, images=None, *, image_shape, value_range):
        """Learn what the parameterization needs to know of the data.

        Parameters
        ----------
        images : ndarray or Tensor of shape (n, C, H, W), or None, default=None
            Training images. At most 16 million of their values are read, from evenly spaced images.
        image_shape : tuple (C, H, W)
            Shape of the images to render, and of the training images.
        value_range : tuple (low, high) or None
            Least and largest value that images may have; None stands for unbounded values.

        Returns
        -------
        self : object
            The fitted parameterization, with ``image_shape_`` and ``value_range_``.

        Raises
        ------
        ValueError
            For shapes, ranges or constructor parameters that make no sense; the message says what
            was expected.
        """
        _check_non_negative("init_scale", self.init_scale)
        images = _check_layout(images, image_shape, value_range)
        self.image_shape_, self.value_range_ = tuple(image_shape), value_range
        self._learn(images)
        return self

    def project(self, parameters):
        """Nothing to do: every parameter renders inside the value range.

        Parameters
        ----------
        parameters : tuple of Tensor of shape (n_slots, ...)
            As `start` returns them.
        """

    def _fit_colours(self, images):
        """Mean colour of the canvas, and the matrix from decorrelated channels to its colours."""
        n_channels = self.image_shape_[0]
        mean, covariance = torch.zeros(n_channels), torch.eye(n_channels, dtype=torch.float64)
        if images is not None:
            pixels = images.transpose(0, 1).flatten(1).double()
            covariance = torch.cov(pixels, correction=0).reshape(n_channels, n_channels)
            mean = _unsquash(pixels.mean(1), self.value_range_)
        elif n_channels == 3:
            covariance = torch.tensor(_PHOTO_COVARIANCE, dtype=torch.float64)
        # Logits of data values have no scale of their own, hence unit variance; without a sigmoid
        # the canvas is the data and keeps its scale.
        keep_scale = self.value_range_ is None and images is not None
        self.color_mean_ = mean.float()[:, None, None]
        self.color_matrix_ = _colour_matrix(covariance, keep_scale).float()

    def _colours(self, channels):
        """Decorrelated channels (B, C, H, W) -> canvas."""
        mixed = torch.einsum("dc,bchw->bdhw", self.color_matrix_.to(channels), channels)
        return mixed + self.color_mean_.to(channels)

    def _channels(self, canvas):
        """Canvas -> decorrelated channels (B, C, H, W)."""
        unmix = torch.linalg.inv(self.color_matrix_.double()).to(canvas)
        return torch.einsum("cd,bdhw->bchw", unmix, canvas - self.color_mean_.to(canvas))


class Pixels(_Parameterization):
    """The image is the parameter; projection keeps it in the value range.

    Parameters
    ----------
    init_scale : float, default=0.01
        Standard deviation of the starting noise, as a fraction of the value range (of the
        training images' standard deviation, or of one, where the range is unbounded). The noise
        lies around the training images' mean colour, or the middle of the range.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.parameterizations import Pixels
    >>> pixels = Pixels().fit(image_shape=(1, 2, 2), value_range=(0.0, 1.0))
    >>> parameters = pixels.from_images(torch.tensor([[[[0.0, 0.5], [1.0, 2.0]]]]))
    >>> pixels.project(parameters)
    >>> pixels.render(parameters).flatten().tolist()
    [0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, *, init_scale: float = 0.01) -> None:
        self.init_scale = init_scale

    def _learn(self, images):
        low, high = self.value_range_ or (-0.5, 0.5)
        self.center_ = torch.full((self.image_shape_[0], 1, 1), (low + high) / 2)
        self.spread_ = float(high - low)
        if images is not None:
            self.center_ = images.mean((0, 2, 3))[:, None, None]
        if images is not None and self.value_range_ is None:
            self.spread_ = float(images.std(correction=0)) or 1.0

    def start(self, noise: Any) -> Any:
        """Starting images: noise around the mean colour, inside the value range.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W)
        """
        drawn = noise.normal(*self.image_shape_) * (self.init_scale * self.spread_)
        parameters = (drawn + self.center_.to(drawn),)
        self.project(parameters)
        return parameters

    def from_images(self, images: Any) -> Any:
        """Parameters that render to given images: a copy of them.

        Parameters
        ----------
        images : Tensor of shape (n_slots, C, H, W)
            In the units of the training data.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W)
        """
        return (images.detach().clone(),)

    def render(self, parameters: Any) -> Any:
        """Images of parameters, which are the images.

        Parameters
        ----------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W)
            As `start` returns them.

        Returns
        -------
        images : Tensor of shape (n_slots, C, H, W)
        """
        return parameters[0]

    @torch.no_grad()
    def project(self, parameters: Any) -> None:
        """Clamp the parameters to the value range, in place.

        Parameters
        ----------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W)
            Left as they are where the range is unbounded.
        """
        if self.value_range_ is not None:
            parameters[0].clamp_(*self.value_range_)


class Pyramid(_Parameterization):
    """Sum of layers of several resolutions, each upsampled to the image: direct ascent synthesis.

    Each layer has half the resolution of the next, and the last that of the image; upsampling is
    bilinear. All move at the same rate, so what they agree on (low frequencies) moves most.

    Parameters
    ----------
    n_levels : int or None, default=None
        Number of layers, the full resolution among them; None halves down to a single pixel.
    init_scale : float, default=0.01
        Standard deviation of the starting noise of each layer, in units of the canvas (logits; data
        units where the value range is unbounded).

    References
    ----------
    Fort and Whitaker, "Direct Ascent Synthesis: Revealing Hidden Generative Capabilities in
    Discriminative Models", 2025 (arXiv 2502.07753): the multi-resolution sum. They use every
    resolution and a tanh; halvings and a sigmoid are used here.

    Examples
    --------
    >>> from skinvert.inversion.parameterizations import Pyramid
    >>> from skinvert.inversion.randomness import RowNoise
    >>> pyramid = Pyramid().fit(image_shape=(3, 7, 5), value_range=(0.0, 1.0))
    >>> parameters = pyramid.start(RowNoise([0, 1]))
    >>> [tuple(layer.shape[2:]) for layer in parameters]
    [(1, 1), (2, 2), (4, 3), (7, 5)]
    >>> pyramid.render(parameters).shape
    torch.Size([2, 3, 7, 5])
    """

    def __init__(self, *, n_levels: int | None = None, init_scale: float = 0.01) -> None:
        self.n_levels = n_levels
        self.init_scale = init_scale

    def _learn(self, images):
        if self.n_levels is not None and not self.n_levels >= 1:
            raise ValueError(
                f"n_levels={self.n_levels!r}: expected a whole number of at least 1, or None to "
                "halve down to one pixel."
            )
        _, height, width = self.image_shape_
        n_halvings = (max(height, width) - 1).bit_length()
        n_levels = n_halvings + 1 if self.n_levels is None else int(self.n_levels)
        powers = [2**k for k in reversed(range(min(n_levels, n_halvings + 1)))]
        self.resolutions_ = [(-(-height // power), -(-width // power)) for power in powers]

    def start(self, noise: Any) -> Any:
        """Starting layers, from coarse to fine, each of them noise.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.

        Returns
        -------
        parameters : tuple of Tensor of shape (n_slots, C, h, w)
            One for each of ``resolutions_``, in units of the canvas.
        """
        n_channels = self.image_shape_[0]
        return tuple(
            noise.normal(n_channels, *size) * self.init_scale for size in self.resolutions_
        )

    def from_images(self, images: Any) -> Any:
        """Parameters that render to given images: each layer explains what it can.

        Parameters
        ----------
        images : Tensor of shape (n_slots, C, H, W)
            In the units of the training data.

        Returns
        -------
        parameters : tuple of Tensor of shape (n_slots, C, h, w)
            From coarse to fine. Values at the ends of the range come back 1/256 of it inside.
        """
        rest, layers = _unsquash(images.detach(), self.value_range_), []
        for size in self.resolutions_[:-1]:
            layers.append(self._resize(rest, size, down=True))
            rest = rest - self._resize(layers[-1], size)
        return (*layers, rest)

    def render(self, parameters: Any) -> Any:
        """Images of parameters: the layers' sum, inside the value range.

        Parameters
        ----------
        parameters : tuple of Tensor of shape (n_slots, C, h, w)
            As `start` returns them.

        Returns
        -------
        images : Tensor of shape (n_slots, C, H, W)
        """
        canvas = parameters[-1]
        for layer, size in zip(parameters[:-1], self.resolutions_[:-1], strict=True):
            canvas = canvas + self._resize(layer, size)
        return _squash(canvas, self.value_range_)

    def _resize(self, images, size, down=False):
        # Two matrix products: the backward pass of interpolate is not deterministic on a GPU.
        for axis, (small, full) in enumerate(zip(size, self.image_shape_[1:], strict=True)):
            matrix = _upsampling(small, full, images.dtype, images.device)
            if down:
                matrix = matrix.T / matrix.sum(0)[:, None]
            images = matrix @ images if axis == 0 else images @ matrix.T
        return images


class Fourier(_Parameterization):
    """Scaled Fourier coefficients in decorrelated colours: natural frequencies are equally near.

    The coefficients of the real Fourier transform are multiplied by
    1/max(f, 1/max(H, W))^decay_power, f in cycles a pixel, and scaled so that coefficients drawn
    from a unit normal give a canvas of about unit variance. A square root of the training images'
    channel covariance (its axes times standard deviations) turns decorrelated channels into
    colours. Without training images, three channels use the covariance of two photographs
    (scikit-learn's china.jpg and flower.jpg) and other numbers of channels are left uncorrelated.

    Parameters
    ----------
    decay_power : float, default=1.0
        Exponent of the frequency scale; 0 is white, larger is smoother.
    init_scale : float, default=0.01
        Standard deviation of the starting coefficients.

    Attributes
    ----------
    color_mean_ : tensor of shape (C, 1, 1)
        Canvas at which all coefficients are zero: the training images' mean colour, else mid-range.
    color_matrix_ : tensor of shape (C, C)

    References
    ----------
    Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017, section "Preconditioning
    and Parameterization".

    Examples
    --------
    >>> from skinvert.inversion.parameterizations import Fourier
    >>> from skinvert.inversion.randomness import RowNoise
    >>> fourier = Fourier().fit(image_shape=(3, 7, 5), value_range=(0.0, 255.0))
    >>> (coefficients,) = fourier.start(RowNoise([0, 1]))
    >>> coefficients.shape  # real and imaginary parts of the half spectrum
    torch.Size([2, 3, 7, 3, 2])
    >>> fourier.render((coefficients,)).shape
    torch.Size([2, 3, 7, 5])
    """

    def __init__(self, *, decay_power: float = 1.0, init_scale: float = 0.01) -> None:
        self.decay_power = decay_power
        self.init_scale = init_scale

    def _learn(self, images):
        _check_non_negative("decay_power", self.decay_power)
        self._fit_colours(images)

    def start(self, noise: Any) -> Any:
        """Starting coefficients: noise of the same size at every frequency.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1, 2)
            Real and imaginary parts of the half spectrum.
        """
        n_channels, height, width = self.image_shape_
        return (noise.normal(n_channels, height, width // 2 + 1, 2) * self.init_scale,)

    def from_images(self, images: Any) -> Any:
        """Coefficients that render to given images.

        Parameters
        ----------
        images : Tensor of shape (n_slots, C, H, W)
            In the units of the training data.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1, 2)
            Values at the ends of the range come back 1/256 of it inside.
        """
        channels = self._channels(_unsquash(images.detach(), self.value_range_))
        spectrum = torch.fft.rfft2(channels, norm="ortho") / self._scale(channels)
        return (torch.view_as_real(spectrum),)

    def render(self, parameters: Any) -> Any:
        """Images of coefficients, inside the value range.

        Parameters
        ----------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1, 2)
            As `start` returns them.

        Returns
        -------
        images : Tensor of shape (n_slots, C, H, W)
        """
        (coefficients,) = parameters
        spectrum = torch.view_as_complex(coefficients) * self._scale(coefficients)
        channels = _inverse_transform(spectrum, self.image_shape_[2])
        return _squash(self._colours(channels), self.value_range_)

    def _scale(self, like):
        # Two parts of unit variance make a complex coefficient of variance two.
        scale = _spectrum(*self.image_shape_[1:], self.decay_power, like.dtype, like.device)
        return scale / 2**0.5


class Phase(_Parameterization):
    """Only the phase of the Fourier transform is free; its magnitude is that of natural images.

    The magnitude is the mean over the training images, per decorrelated channel, of the canvas'
    Fourier magnitude, or 1/f at unit variance without them; the mean colour is fixed too. The
    symmetry of real images is kept, so the magnitude is exact at every step, but for the bins that
    are their own mirror image (four at most): these are real and carry the cosine of their phase.

    Parameters
    ----------
    init_scale : float, default=1.0
        Half-width of the uniform starting phases, in units of π; 1 starts from all of them.

    Attributes
    ----------
    magnitude_ : tensor of shape (C, H, W // 2 + 1)
    color_mean_, color_matrix_ : as in :class:`Fourier`; the mean is that of the canvas

    Notes
    -----
    ``from_images`` keeps the phase and drops the magnitude: the images come back only as far as
    their magnitude is the fitted one (exactly where a single training image is the one asked for).

    References
    ----------
    Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
    Optimization", NeurIPS 2023, section 3.

    Examples
    --------
    >>> from skinvert.inversion.parameterizations import Phase
    >>> from skinvert.inversion.randomness import RowNoise
    >>> phase = Phase().fit(image_shape=(1, 8, 8), value_range=(0.0, 1.0))
    >>> (angles,) = phase.start(RowNoise([0, 1]))
    >>> angles.shape
    torch.Size([2, 1, 8, 5])
    >>> phase.render((angles,)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, *, init_scale: float = 1.0) -> None:
        self.init_scale = init_scale

    def _learn(self, images):
        self._fit_colours(images)
        n_channels, height, width = self.image_shape_
        if images is None:
            magnitude = _spectrum(height, width, 1.0, torch.float32, torch.device("cpu"))
            self.magnitude_ = magnitude.repeat(n_channels, 1, 1)
        else:
            canvas = _unsquash(images, self.value_range_)
            self.color_mean_ = canvas.mean((0, 2, 3))[:, None, None]
            self.magnitude_ = torch.fft.rfft2(self._channels(canvas), norm="ortho").abs().mean(0)
        self.magnitude_[:, 0, 0] = 0.0  # the mean colour is color_mean_

    def start(self, noise: Any) -> Any:
        """Starting phases: uniform draws around zero.

        Parameters
        ----------
        noise : RowNoise with n_slots slots
            Where each slot draws its own.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1)
            In radians.
        """
        n_channels, height, width = self.image_shape_
        drawn = noise.uniform(n_channels, height, width // 2 + 1)
        return ((drawn * 2 - 1) * (torch.pi * self.init_scale),)

    def from_images(self, images: Any) -> Any:
        """Phases of given images; their magnitude is dropped.

        Parameters
        ----------
        images : Tensor of shape (n_slots, C, H, W)
            In the units of the training data.

        Returns
        -------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1)
            In radians.
        """
        channels = self._channels(_unsquash(images.detach(), self.value_range_))
        return (torch.fft.rfft2(channels, norm="ortho").angle(),)

    def render(self, parameters: Any) -> Any:
        """Images of phases at the fitted magnitude, inside the value range.

        Parameters
        ----------
        parameters : tuple of one Tensor of shape (n_slots, C, H, W // 2 + 1)
            As `start` returns them, in radians.

        Returns
        -------
        images : Tensor of shape (n_slots, C, H, W)
        """
        (angles,) = parameters
        _, height, width = self.image_shape_
        mirror, sign = _mirror(height, width, angles.device)
        symmetric = angles.flatten(2)[..., mirror].reshape(angles.shape) * sign.to(angles)
        magnitude = self.magnitude_.to(angles).expand_as(angles)
        channels = _inverse_transform(torch.polar(magnitude, symmetric), width)
        return _squash(self._colours(channels), self.value_range_)


def _squash(canvas, value_range):
    if value_range is None:
        return canvas
    # lerp, for its rounding stays between the ends where that of a product and a sum may not.
    low, high = canvas.new_tensor(value_range)
    return torch.lerp(low, high, torch.sigmoid(canvas))


def _unsquash(images, value_range):
    if value_range is None:
        return images
    low, high = value_range
    return torch.logit((images - low) / (high - low), eps=_MARGIN)


def _inverse_transform(spectrum, width):
    # One axis at a time: what a transform over both makes of a half spectrum that no real image
    # has (free coefficients are such) is left open on a GPU.
    columns = torch.fft.ifft(spectrum, dim=-2, norm="ortho")
    return torch.fft.irfft(columns, n=width, dim=-1, norm="ortho")


@lru_cache(maxsize=16)
def _spectrum(height, width, decay_power, dtype, device):
    """1/f^decay_power on the half spectrum (H, W // 2 + 1), root mean square one over the whole."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    scale = frequency**-decay_power
    scale /= np.sqrt(np.mean(scale**2))
    return torch.tensor(scale[:, : width // 2 + 1], dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _mirror(height, width, device):
    """Where each bin of the half spectrum reads its phase, and with which sign.

    The first column, and the last one of an even width, hold both a bin and its conjugate; the
    second of each pair (rows past the middle) takes the first one's phase with the sign turned.
    """
    n_columns = width // 2 + 1
    source = np.arange(height * n_columns).reshape(height, n_columns)
    sign = np.ones((height, n_columns))
    later = np.arange(height // 2 + 1, height)
    for column in {0, width // 2} if width % 2 == 0 else {0}:
        source[later, column] = source[height - later, column]
        sign[later, column] = -1
    return torch.tensor(source.ravel(), device=device), torch.tensor(sign, device=device)


@lru_cache(maxsize=64)
def _upsampling(small, full, dtype, device):
    """Bilinear upsampling along one axis, as a (full, small) matrix."""
    unit = torch.eye(small, dtype=torch.float64)[None]
    matrix = torch.nn.functional.interpolate(unit, full, mode="linear", align_corners=False)
    return matrix[0].T.to(device, dtype)


def _colour_matrix(covariance, keep_scale):
    """A square root A of the covariance A Aᵀ, of mean channel variance one unless kept as it is."""
    variances, axes = torch.linalg.eigh(covariance)
    if not variances[-1] > 0:
        return torch.eye(len(covariance), dtype=covariance.dtype)
    variances = variances.clamp(min=_VARIANCE_FLOOR * variances[-1])
    # eigh leaves the sign of an axis open; the largest entry is made positive.
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    matrix = axes * largest.sign() * variances.sqrt()
    return matrix if keep_scale else matrix / variances.mean().sqrt()


def _check_non_negative(name, value):
    if not isinstance(value, Real) or not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value!r}: expected a number that is finite and not negative.")


def _check_layout(images, image_shape, value_range):
    """Validate what ``fit`` is told; images come back as float32 tensors, thinned out if many."""
    if len(image_shape) != 3 or not all(size >= 1 for size in image_shape):
        raise ValueError(
            f"image_shape={image_shape!r}: expected (channels, height, width), each at least 1."
        )
    if value_range is not None and (
        len(value_range) != 2
        or not np.isfinite(value_range).all()
        or value_range[0] >= value_range[1]
    ):
        raise ValueError(
            f"value_range={value_range!r}: expected finite (low, high) with low < high, or None "
            "for unbounded values."
        )
    if images is None:
        return None
    if len(images) == 0 or tuple(images.shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"images of shape {tuple(images.shape)}: expected at least one image in "
            f"(n, {', '.join(map(str, image_shape))}), as image_shape says. Reshape the images or "
            "change image_shape."
        )
    n_images = max(1, min(len(images), _MAX_VALUES // int(np.prod(image_shape))))
    chosen = np.linspace(0, len(images) - 1, n_images).astype(int)
    return torch.as_tensor(images[chosen], dtype=torch.float32).cpu()

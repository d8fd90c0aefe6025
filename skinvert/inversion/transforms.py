"""Random views of images, drawn row by row and applied as one batched operation.

A picture that only one exact crop of it excites is adversarial noise; one that holds under crops,
flips and noise looks like its class. The transforms bear the names and parameters of
torchvision.transforms.v2, which takes no generator and draws one set of parameters for a whole
batch. Here every row draws its own from its own generator, and its view depends on nothing else.

Each transform has two methods: ``draw(noise, image_shape)`` returns what the generators decided,
a tensor with one entry a row, and ``apply(images, drawn, value_range)`` is deterministic and
differentiable. The geometric ones draw 2 × 3 matrices that map the coordinates of the view to
those of the image (both run from -1 to 1 between the outer edges of the border pixels, x right
and y down); a run of them becomes one matrix, hence one bilinear resampling, which is all that
they cost. Places outside the image take the colour of its border: black corners would be a
pattern to exploit.
"""

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skinvert.inversion.geometry import (
    affine_matrices,
    apply_view,
    as_matrices,
    between,
    per_row,
    rectangle_sides,
    shifted,
)
from skinvert.inversion.randomness import RowNoise

__all__ = [
    "ColorJitter",
    "GaussianNoise",
    "RandomAffine",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "robust_stages",
]


def robust_stages() -> list[list[Any]]:
    """Views that photographs are made under: small, turned and shifted at first, then crops.

    An image of the class has to be found as a whole before its parts are worked out.

    Returns
    -------
    stages : list of two lists of transforms

    Examples
    --------
    >>> from skinvert.inversion.transforms import robust_stages
    >>> robust_stages()[1]
    [RandomResizedCrop(), RandomHorizontalFlip(), GaussianNoise(sigma=0.03)]
    """
    turned = RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.5, 1.2))
    return [
        [RandomHorizontalFlip(), turned, GaussianNoise(sigma=0.03)],
        [RandomResizedCrop(), RandomHorizontalFlip(), GaussianNoise(sigma=0.03)],
    ]


class RandomAffine(BaseEstimator):
    """Random rotation, shift and zoom about the centre.

    As in torchvision, shifts by whole pixels among it; shear is left out.

    Parameters
    ----------
    degrees : float or tuple (min, max), default=0
        Angles, clockwise; a number stands for (-degrees, degrees).
    translate : tuple (x, y) or None, default=None
        Largest shifts, as fractions of the width and of the height, between 0 and 1.
    scale : tuple (min, max) or None, default=None
        Magnifications; above 1 enlarges.

    Examples
    --------
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import RandomAffine
    >>> RandomAffine(degrees=10, translate=(0.1, 0.1)).draw(RowNoise([0, 1]), (3, 8, 8)).shape
    torch.Size([2, 2, 3])
    """

    def __init__(
        self,
        degrees: float | Sequence[float] = 0,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
    ) -> None:
        self.degrees = degrees
        self.translate = translate
        self.scale = scale

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw rotations, shifts and zooms.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        matrices : Tensor of shape (B, 2, 3)
            From the coordinates of the view to those of the image.

        Raises
        ------
        ValueError
            For a parameter out of its range.
        TypeError
            If `scale` is neither None nor a pair.
        """
        degrees = self.degrees
        if not isinstance(degrees, Sequence):
            _check("degrees", degrees, low=0)
            degrees = (-degrees, degrees)
        _check("degrees", degrees)
        for fraction in self.translate or ():
            _check("translate", fraction, low=0, high=1)
        if self.scale is not None:
            _check_pair("scale", self.scale, low=0)
        angle, x, y, zoom = noise.uniform(4).unbind(1)
        angle = torch.deg2rad(between(degrees, angle))
        largest_x, largest_y = self.translate or (0.0, 0.0)
        zoom = between(self.scale or (1.0, 1.0), zoom)
        _, height, width = image_shape
        # Whole pixels, as torchvision: a shift alone must not blur.
        x = torch.round(between((-largest_x, largest_x), x) * width) / width
        y = torch.round(between((-largest_y, largest_y), y) * height) / height
        return affine_matrices(angle, 2 * x, 2 * y, zoom, aspect=width / height)

    def matrices(self, drawn: Tensor) -> Tensor:
        """Matrices of what was drawn: the same.

        Parameters
        ----------
        drawn : Tensor of shape (B, 2, 3)
            What `draw` returned.

        Returns
        -------
        matrices : Tensor of shape (B, 2, 3)
            From the coordinates of the view to those of the image.
        """
        return drawn

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Turn, shift and zoom images as drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of shape (B, 2, 3)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Not used: what is drawn does not depend on it.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        shifts_alone = self.scale is None and self.degrees == 0
        if shifts_alone and torch.equal(
            drawn[:, :, :2], torch.eye(2).to(drawn).expand(len(drawn), 2, 2)
        ):
            return shifted(images, drawn)
        return apply_view(images, drawn)


class RandomResizedCrop(BaseEstimator):
    """A random part of the image, enlarged to the whole.

    As in torchvision, but that the view is as large as the image, ``ratio`` is relative to
    the image's own, the crop need not begin at a whole pixel, and sides too long for the
    image are cut to it in place of ten trials.

    Parameters
    ----------
    scale : tuple (min, max), default=(0.6, 1.0)
        Area of the crop as a fraction of the image's.
    ratio : tuple (min, max), default=(1.0, 1.0)
        Width by height of the crop, over that of the image; drawn on a logarithmic scale.

    Examples
    --------
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import RandomResizedCrop
    >>> RandomResizedCrop(scale=(0.6, 1.0)).draw(RowNoise([0, 1]), (3, 8, 8)).shape
    torch.Size([2, 2, 3])
    """

    def __init__(
        self, scale: Sequence[float] = (0.6, 1.0), ratio: Sequence[float] = (1.0, 1.0)
    ) -> None:
        self.scale = scale
        self.ratio = ratio

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw the parts of the images that are enlarged.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        matrices : Tensor of shape (B, 2, 3)
            From the coordinates of the view to those of the image.

        Raises
        ------
        ValueError
            For a parameter out of its range.
        TypeError
            If `scale` or `ratio` is no pair.
        """
        _check_pair("scale", self.scale, low=0, high=1)
        _check_pair("ratio", self.ratio, low=0)
        area, ratio, x, y = noise.uniform(4).unbind(1)
        width, height = rectangle_sides(self.scale, self.ratio, area, ratio)
        zero = torch.zeros_like(width)
        left, top = (2 * x - 1) * (1 - width), (2 * y - 1) * (1 - height)
        return as_matrices(width, zero, left, zero, height, top)

    def matrices(self, drawn: Tensor) -> Tensor:
        """Matrices of what was drawn: the same.

        Parameters
        ----------
        drawn : Tensor of shape (B, 2, 3)
            What `draw` returned.

        Returns
        -------
        matrices : Tensor of shape (B, 2, 3)
            From the coordinates of the view to those of the image.
        """
        return drawn

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Enlarge the parts of images that were drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of shape (B, 2, 3)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Not used: what is drawn does not depend on it.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        return apply_view(images, drawn)


class RandomHorizontalFlip(BaseEstimator):
    """Swap left and right with probability ``p``.

    Parameters
    ----------
    p : float, default=0.5
        In [0, 1].

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.transforms import RandomHorizontalFlip
    >>> images = torch.tensor([[[[1.0, 2.0]]], [[[1.0, 2.0]]]])
    >>> RandomHorizontalFlip().apply(images, torch.tensor([True, False])).flatten().tolist()
    [2.0, 1.0, 1.0, 2.0]
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw which rows are flipped.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        flipped : Tensor of bool of shape (B,)

        Raises
        ------
        ValueError
            For a parameter out of its range.
        """
        _check("p", self.p, low=0, high=1)
        return noise.uniform(1)[:, 0] < self.p

    def matrices(self, drawn: Tensor) -> Tensor:
        """Matrices of what was drawn.

        Parameters
        ----------
        drawn : Tensor of bool of shape (B,)
            What `draw` returned.

        Returns
        -------
        matrices : Tensor of shape (B, 2, 3)
            From the coordinates of the view to those of the image.
        """
        sign = 1 - 2 * drawn.float()
        zero, one = torch.zeros_like(sign), torch.ones_like(sign)
        return as_matrices(sign, zero, zero, zero, one, zero)

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Swap left and right where it was drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of bool of shape (B,)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Not used: what is drawn does not depend on it.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        return torch.where(per_row(drawn), images.flip(-1), images)


class RandomErasing(BaseEstimator):
    """Cover a random rectangle with the image's own mean colour, with probability ``p``.

    As in torchvision (Zhong et al., 2020), but that the rectangle takes the mean colour where
    torchvision takes black, and sides too long for the image are cut to it in place of ten trials.
    An image that must be known with any of its parts covered shows its class in many places.

    Parameters
    ----------
    p : float, default=0.5
        Probability that a row is covered anywhere, in [0, 1].
    scale : tuple (min, max), default=(0.02, 0.33)
        Area of the rectangle as a fraction of the image's.
    ratio : tuple (min, max), default=(0.3, 3.3)
        Width by height of the rectangle, over that of the image; drawn on a logarithmic scale.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.transforms import RandomErasing
    >>> image = torch.tensor([[[[4.0, 0.0], [0.0, 0.0]]]])
    >>> left_half = torch.tensor([[0.0, 0.0, 0.5, 1.0]])
    >>> RandomErasing().apply(image, left_half)[0, 0].tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
    ) -> None:
        self.p = p
        self.scale = scale
        self.ratio = ratio

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw the rectangles that are covered.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        rectangles : Tensor of shape (B, 4)
            Left, top, right and bottom as fractions of the sides; zeros where nothing is covered.

        Raises
        ------
        ValueError
            For a parameter out of its range.
        TypeError
            If `scale` or `ratio` is no pair.
        """
        _check("p", self.p, low=0, high=1)
        _check_pair("scale", self.scale, low=0, high=1)
        _check_pair("ratio", self.ratio, low=0)
        chance, area, ratio, x, y = noise.uniform(5).unbind(1)
        width, height = rectangle_sides(self.scale, self.ratio, area, ratio)
        left, top = x * (1 - width), y * (1 - height)
        rectangles = torch.stack([left, top, left + width, top + height], 1)
        return torch.where((chance < self.p)[:, None], rectangles, torch.zeros_like(rectangles))

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Cover the rectangles that were drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of shape (B, 4)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Not used: what is drawn does not depend on it.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        left, top, right, bottom = (per_row(side) for side in drawn.to(images).unbind(1))
        _, _, height, width = images.shape
        x = (torch.arange(width, device=images.device, dtype=images.dtype) + 0.5) / width
        y = (torch.arange(height, device=images.device, dtype=images.dtype) + 0.5) / height
        covered = (x >= left) & (x < right) & (y[:, None] >= top) & (y[:, None] < bottom)
        return torch.where(covered, images.mean((2, 3), keepdim=True), images)


class GaussianNoise(BaseEstimator):
    """Add independent normal noise to every value; the sum is not clipped.

    Parameters
    ----------
    mean, sigma : float, default=0.0 and 0.1
        Mean and standard deviation in units of the value range: 0.1 is a tenth of the way from
        its lowest to its highest value. Data units where the range is unbounded.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.randomness import RowNoise
    >>> from skinvert.inversion.transforms import GaussianNoise
    >>> transform, images = GaussianNoise(sigma=0.1), torch.zeros(1, 3, 64, 64)
    >>> drawn = transform.draw(RowNoise([0]), (3, 64, 64))
    >>> round(float(transform.apply(images, drawn, value_range=(0, 255)).std()))
    26
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1) -> None:
        self.mean = mean
        self.sigma = sigma

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw the noise of every value.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        drawn : Tensor of shape (B, C, H, W)
            In units of the value range.

        Raises
        ------
        ValueError
            For a parameter out of its range.
        """
        _check("mean", self.mean)
        _check("sigma", self.sigma, low=0)
        return noise.normal(*image_shape) * self.sigma + self.mean

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Add the noise that was drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of shape (B, C, H, W)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Of the images' values, the unit of the noise; None stands for a unit of one.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        low, high = value_range or (0.0, 1.0)
        return images + drawn.to(images) * (high - low)


class ColorJitter(BaseEstimator):
    """Random brightness, contrast and saturation, in this order.

    As in torchvision, but for the fixed order and the hue, which is left out. Values are cut to
    the value range after each of the three, as there, unless it is unbounded. Saturation changes
    images of three channels only.

    Parameters
    ----------
    brightness, contrast, saturation : float or tuple (min, max), default=0
        Range of the factors; a number stands for (max(0, 1 - number), 1 + number). Brightness
        multiplies the distance from black; contrast that from the image's mean grey, saturation
        that from every pixel's own grey.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.transforms import ColorJitter
    >>> images = torch.full((1, 3, 2, 2), 0.5)
    >>> ColorJitter().apply(images, torch.tensor([[0.5, 1.0, 1.0]])).unique().tolist()
    [0.25]
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation

    def draw(self, noise: RowNoise, image_shape: Sequence[int]) -> Tensor:
        """Draw factors of brightness, contrast and saturation.

        Parameters
        ----------
        noise : RowNoise with B slots
            Where each row draws its own.
        image_shape : tuple (C, H, W)
            Shape of the images.

        Returns
        -------
        factors : Tensor of shape (B, 3)

        Raises
        ------
        ValueError
            For a parameter out of its range.
        """
        factors = []
        uniform = noise.uniform(3).unbind(1)
        for name, drawn in zip(("brightness", "contrast", "saturation"), uniform, strict=True):
            limits = getattr(self, name)
            _check(name, limits, low=0)
            if not isinstance(limits, tuple | list):
                limits = (max(0.0, 1 - limits), 1 + limits)
            factors.append(between(limits, drawn))
        return torch.stack(factors, 1)

    def apply(
        self, images: Tensor, drawn: Tensor, value_range: tuple[float, float] | None = (0.0, 1.0)
    ) -> Tensor:
        """Change colours by the factors that were drawn.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Differentiable: gradients reach them.
        drawn : Tensor of shape (B, 3)
            What `draw` returned.
        value_range : tuple (low, high) or None, default=(0.0, 1.0)
            Of the images' values: black, and the limits; None stands for black at zero, no limits.

        Returns
        -------
        views : Tensor of shape (B, C, H, W)
        """
        low, high = value_range or (0.0, None)
        brightness, contrast, saturation = (per_row(f) for f in drawn.to(images).unbind(1))
        images = _blend(images, torch.full_like(images, low), brightness, low, high)
        images = _blend(images, _grey(images).mean((2, 3), keepdim=True), contrast, low, high)
        if images.shape[1] == 3:
            images = _blend(images, _grey(images), saturation, low, high)
        return images


def _blend(images, origin, factor, low, high):
    blended = origin + factor * (images - origin)
    return blended if high is None else blended.clamp(low, high)


def _grey(images):
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    luma = images.new_tensor([0.2989, 0.587, 0.114])  # ITU-R BT.601, as torchvision rounds it
    luma = luma / luma.sum()  # so that the grey of white is white wherever black lies
    return (images * luma[:, None, None]).sum(1, keepdim=True)


def _check(name, value, low=-inf, high=inf, *, above=False):
    """Raise unless a number, or (min, max) in order, is finite and within ``low`` and ``high``."""
    numbers = value if isinstance(value, tuple | list) else (value, value)
    fits = len(numbers) == 2 and all(isinstance(number, Real) for number in numbers)
    fits = fits and low <= numbers[0] <= numbers[1] <= high and abs(numbers[1]) < inf
    if not fits or abs(numbers[0]) == inf or (above and numbers[0] == low):
        bounds = "" if low == -inf else f", {'above' if above else 'at least'} {low}"
        bounds += "" if high == inf else f", at most {high}"
        expected = "(min, max), in order and" if numbers is value else "a number,"
        raise ValueError(f"{name}={value!r}: expected {expected} finite{bounds}.")


def _check_pair(name, value, low, high=inf):
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name}={value!r}: expected a pair (min, max).")
    _check(name, value, low, high, above=True)

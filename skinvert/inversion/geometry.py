"""Matrices of geometric views, and images looked at through them.

Matrices (B, 2, 3) map the coordinates of a view to those of the image; both run from -1 to 1
between the outer edges of the border pixels, x right and y down.
"""

import torch
from torch import Tensor

__all__ = [
    "affine_matrices",
    "apply_view",
    "as_matrices",
    "between",
    "compose",
    "per_row",
    "rectangle_sides",
    "shifted",
]


def affine_matrices(angle, x, y, zoom, aspect):
    """Inverse of: zoom, turn clockwise, shift by (x, y); ``aspect`` is width by height."""
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    # Coordinates are in half-widths and half-heights, a rotation is in pixels.
    xy, yx = sine / aspect, -sine * aspect
    return as_matrices(cosine, xy, -(cosine * x + xy * y), yx, cosine, -(yx * x + cosine * y))


def rectangle_sides(scale, ratio, area, elongation):
    """Width and height of rectangles, as fractions of the image's, from two uniform draws a row."""
    area = between(scale, area)
    low, high = torch.tensor(ratio).log().tolist()
    ratio = between((low, high), elongation).exp()
    return (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)


def as_matrices(*entries):
    return torch.stack(entries, 1).unflatten(1, (2, 3))


def compose(first, second):
    """Matrices of the view of a view: what ``second`` reads is where ``first`` looks."""
    # Sums of products, not bmm, whose bits may depend on the number of rows.
    linear = (first[:, :, :2, None] * second[:, None, :, :]).sum(2)
    shift = torch.cat([torch.zeros_like(first[:, :, :2]), first[:, :, 2:]], 2)
    return linear + shift


def apply_view(images: Tensor, matrices: Tensor) -> Tensor:
    """Look at images through matrices, with bilinear interpolation.

    Parameters
    ----------
    images : Tensor of shape (B, C, H, W)
        Differentiable: gradients reach them.
    matrices : Tensor of shape (B, 2, 3)
        From the coordinates of the view to those of the image, as of `draw_view`. Both run
        from -1 to 1 between the outer edges of the border pixels, x right and y down.

    Returns
    -------
    views : Tensor of shape (B, C, H, W)
        Places outside the image have the colour of its border.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.geometry import apply_view
    >>> mirror = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> apply_view(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), mirror).tolist()
    [[[[2.0, 1.0], [4.0, 3.0]]]]
    """
    height, width = images.shape[2:]
    matrices = matrices.to(images)
    x = (torch.arange(width, device=images.device, dtype=images.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device, dtype=images.dtype) * 2 + 1) / height - 1
    of_x, of_y, shift = matrices[:, None, None].unbind(-1)
    grid = of_x * x[:, None] + of_y * y[:, None, None] + shift
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def shifted(images, matrices):
    """`apply_view` for shifts by whole pixels: windows, with nothing to interpolate."""
    height, width = images.shape[2:]
    moves = (matrices[:, :, 2].cpu() * torch.tensor([width / 2, height / 2])).round().long()
    most_x, most_y = moves.abs().amax(0).tolist()
    margins = (most_x, most_x, most_y, most_y)
    wide = torch.nn.functional.pad(images, margins, mode="replicate")
    return torch.stack(
        [
            image[:, most_y + y :, most_x + x :][:, :height, :width]
            for image, (x, y) in zip(wide.unbind(0), moves.tolist(), strict=True)
        ]
    )


def per_row(values):
    return values[:, None, None, None]


def between(limits, uniform):
    """Uniform draws in [0, 1) moved to the limits (min, max)."""
    low, high = limits
    return low + (high - low) * uniform

"""A classifier that looks at images of a lower resolution, for stages that work on few pixels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from skinvert.models.frozen import FrozenClassifier

__all__ = ["at_resolution"]


def at_resolution(
    classifier: FrozenClassifier,
    image_shape: Sequence[int],
    factor: int,
    device: torch.device | str = "cpu",
) -> tuple[FrozenClassifier, Callable[[Tensor], Tensor]]:
    """The classifier for images of a `factor` less resolution, and what makes them of others.

    A network that takes no other size is shown them enlarged again.

    Parameters
    ----------
    classifier : FrozenClassifier
    image_shape : tuple (C, H, W)
        Of the images at full resolution.
    factor : int
        At least 1.
    device : torch.device or str, default="cpu"

    Returns
    -------
    classifier : FrozenClassifier
    resize : callable ``Tensor (n, C, H, W) -> Tensor (n, C, h, w)``

    Raises
    ------
    ValueError
        If the images have fewer pixels a side than `factor`.

    Examples
    --------
    >>> import torch
    >>> from skinvert.inversion.resolution import at_resolution
    >>> from skinvert.models.frozen import FrozenClassifier
    >>> flat = FrozenClassifier(
    ...     torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)), (1, 4, 4))
    >>> small, resize = at_resolution(flat, (1, 4, 4), 2)
    >>> small is flat, resize(torch.zeros(1, 1, 4, 4)).shape
    (True, torch.Size([1, 1, 4, 4]))
    """
    if factor == 1:
        return classifier, lambda images: images
    n_channels, height, width = image_shape
    if min(height, width) < factor:
        raise ValueError(
            f"the first stage works at 1/{factor} of the resolution, but images are {height} x "
            f"{width} pixels; ask for fewer stages: n_steps."
        )
    small = (n_channels, height // factor, width // factor)
    normalize = (classifier.mean.cpu(), classifier.std.cpu()) if classifier.is_normalized else None
    smaller = FrozenClassifier(
        classifier.network, small, outputs=classifier.outputs, normalize=normalize
    ).to(device)
    smaller.acceleration = classifier.acceleration
    try:
        with torch.no_grad():
            smaller.answer(smaller.network, torch.zeros(1, *small, device=device))
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return classifier, lambda images: interpolate(avg_pool2d(images, factor), [height, width])
    return smaller, lambda images: avg_pool2d(images, factor)

"""Photographs and textures that scikit-learn and scikit-image ship."""

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.utils import Bunch

__all__ = ["load_reference_images"]

# In the wheel of scikit-image; the others of skimage.data would be downloaded.
_SCIKIT_IMAGE = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "page",
    "retina",
    "rocket",
)


def load_reference_images(*, size: tuple | None = None) -> Bunch:
    """Real pictures without a download: two of scikit-learn, fifteen more of scikit-image.

    Where scikit-image is not installed only scikit-learn's ``"china"`` and ``"flower"`` are
    returned, which always come first.

    Parameters
    ----------
    size : tuple (H, W), default=None
        Crop the middle of each picture to this aspect and resize it (bilinear, antialiased). None
        leaves every picture as it is.

    Returns
    -------
    data : Bunch
        ``images``: list of (3, H, W) arrays, float32 in [0, 1], or one array (n, 3, H, W) where
        `size` is given, which also fills ``data`` (n, 3 * H * W). Grey pictures have three equal
        channels. ``names``: list of str. ``DESCR``.

    Raises
    ------
    ValueError
        If `size` is no pair of positive integers.

    Examples
    --------
    >>> from skinvert.datasets import load_reference_images
    >>> pictures = load_reference_images(size=(64, 96))
    >>> pictures.names[:2], pictures.images[0].shape
    (['china', 'flower'], (3, 64, 96))
    """
    if size is not None and (
        np.shape(size) != (2,) or any(int(side) != side or side < 1 for side in size)
    ):
        raise ValueError(f"size must be a pair (H, W) of positive integers, got {size!r}.")
    sample = load_sample_images()
    pictures = dict(zip(("china", "flower"), sample.images, strict=True))
    pictures.update(_scikit_image_pictures())
    images = [_channels_first(picture) for picture in pictures.values()]
    description = "Pictures that scikit-learn and scikit-image ship; their pages name the authors."
    data = Bunch(images=images, names=list(pictures), DESCR=description)
    if size is not None:
        data.images = np.stack([_resized(image, tuple(map(int, size))) for image in images])
        data.data = data.images.reshape(len(images), -1)
    return data


def _scikit_image_pictures():
    try:
        from skimage import data
    except ImportError:
        return {}
    return {name: getattr(data, name)() for name in _SCIKIT_IMAGE}


def _channels_first(picture):
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return np.ascontiguousarray(np.moveaxis(picture, -1, 0) / np.float32(255))


def _resized(image, size):
    from torch import from_numpy
    from torch.nn.functional import interpolate

    height, width = image.shape[1:]
    # The largest window of the wanted aspect, so that nothing is squeezed.
    scale = min(height / size[0], width / size[1])
    window = [max(1, round(side * scale)) for side in size]
    top, left = (height - window[0]) // 2, (width - window[1]) // 2
    image = image[:, top : top + window[0], left : left + window[1]]
    resized = interpolate(
        from_numpy(image)[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0].numpy().clip(0, 1)

"""Faces: CelebA, cut and scaled as the papers do it."""

from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from skinvert.datasets.packing import pack

__all__ = ["fetch_celeba"]

_SPLITS = {"train": "train", "validation": "valid", "test": "test", "all": "all"}


def fetch_celeba(
    *,
    subset: str = "train",
    attribute: str = "Male",
    image_size: int = 64,
    crop: int | None = 140,
    n_images: int | None = None,
    data_home: str | Path | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """CelebA: 202,599 faces in colour (Liu et al. 2015), labelled by one of forty attributes.

    The middle 140 × 140 pixels of the aligned images are scaled to 64 × 64, which is what ReGene,
    Wasserstein auto-encoders and others measure on; another crop gives other Fréchet distances.

    Parameters
    ----------
    subset : {"train", "validation", "test", "all"}, default="train"
        The official partition.
    attribute : str, default="Male"
        What the labels say: 1 where a face has it, 0 otherwise.
    image_size : int, default=64
        Pixels a side, in the end.
    crop : int or None, default=140
        Pixels a side that are cut from the middle of the 178 × 218 pixels. None takes the largest
        square.
    n_images : int, default=None
        Only the first so many of the subset; an image takes 48 KiB at 64 pixels.
    data_home : str or Path, default=None
        Where torchvision's folder ``celeba`` lies or goes; scikit-learn's data home if None.
    download_if_missing : bool, default=True
        Let torchvision download what is not here, for which it needs ``gdown``.
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` (n, 3 * size * size) float32 in [0, 1], ``images`` (n, 3, size, size), ``target``,
        ``target_names``, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing (FileNotFoundError) or can't be downloaded.
    ValueError
        For an unknown subset or attribute, and for a crop larger than the images.

    Examples
    --------
    >>> from skinvert.datasets import fetch_celeba
    >>> fetch_celeba(subset="test", n_images=100).images.shape  # doctest: +SKIP
    (100, 3, 64, 64)
    """
    if subset not in _SPLITS:
        raise ValueError(f"subset must be one of {list(_SPLITS)}, got {subset!r}.")
    faces = _opened(Path(get_data_home(data_home)), _SPLITS[subset], download_if_missing)
    names = [name for name in faces.attr_names if name]
    if attribute not in names:
        raise ValueError(f"attribute must be one of {names}, got {attribute!r}.")
    n_images = len(faces) if n_images is None else min(n_images, len(faces))
    data = np.empty((n_images, 3 * image_size**2), dtype=np.float32)
    target = np.empty(n_images, dtype=np.int64)
    column = names.index(attribute)
    for row in range(n_images):
        image, attributes = faces[row]
        data[row] = _scaled(image, crop, image_size)
        target[row] = attributes[column]
    description = (
        f"CelebA (Liu et al. 2015), subset {subset!r}: faces, the middle {crop} pixels scaled to "
        f"{image_size}; 1 is {attribute!r}."
    )
    shape = (3, image_size, image_size)
    return pack(data, target, shape, description, return_X_y, [f"not {attribute}", str(attribute)])


def _opened(home, split, download):
    from torchvision.datasets import CelebA

    try:
        return CelebA(home, split=split, target_type="attr", download=download)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        kind = OSError if download else FileNotFoundError
        raise kind(
            f"CelebA is not in {home / CelebA.base_folder}: {reason} Let it be downloaded where "
            "there is a network (download_if_missing=True), or put torchvision's files there."
        ) from error


def _scaled(image, crop, size):
    """The middle of a picture as a channels-first row in [0, 1]."""
    from PIL.Image import Resampling

    width, height = image.size
    crop = min(width, height) if crop is None else crop
    if crop > min(width, height):
        raise ValueError(
            f"crop must be at most {min(width, height)}, the shorter side of the images, got "
            f"{crop}; set crop=None for all of it."
        )
    left, top = (width - crop) // 2, (height - crop) // 2
    middle = image.convert("RGB").crop((left, top, left + crop, top + crop))
    pixels = np.asarray(middle.resize((size, size), Resampling.BILINEAR), dtype=np.float32)
    return np.moveaxis(pixels, -1, 0).ravel() / np.float32(255)

"""Images to PNG files that say where they come from, and image files to arrays, with a guard."""

import contextlib
import io
import json
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skinvert.layout import flatten_images, resolve_image_shape
from skinvert.shards import write_atomically

__all__ = ["load_images", "read_metadata", "save_images"]

MOST_PIXELS = 25_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # every further decoder is one more to be attacked
_KEYS = ("class", "seed", "settings", "value_range", "software")
_LONGEST_NAME = 40


def save_images(
    X: ArrayLike,
    directory: str | Path,
    *,
    y: ArrayLike | None = None,
    seed: ArrayLike | None = None,
    settings: BaseEstimator | Mapping[str, Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
) -> list[Path]:
    """Write images as PNG files, each with its class, seed and settings inside.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, H, W) or (n, C, H, W)
        With one or three channels. Bytes are written as they are, other values are spread from
        `value_range` to 0 … 255.
    directory : str or Path
        Made where it is missing. Files of the same name are replaced, each in one step.
    y : array-like of shape (n,), default=None
        Class of each image; it goes into the names of the files too.
    seed : int or array-like of shape (n,), default=None
        Of each image: ``info.seed`` of ``generate(..., return_info=True)``.
    settings : estimator or dict, default=None
        What the images were made with: an estimator's parameters, or anything by name.
    image_shape : tuple (H, W) or (C, H, W), default=None
        Of rows; one-channel squares are recognised.
    value_range : tuple (low, high), default=None
        Black and white. None is the least and the greatest value of X; values outside are clipped.

    Returns
    -------
    paths : list of Path
        In the order of X: ``00000-label.png`` ….

    Raises
    ------
    ValueError
        If X is not finite or has another number of channels, for an empty range, and for `y` and
        `seed` of another length.
    OSError
        If a file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from skinvert.images import load_images, read_metadata, save_images
    >>> X, y = load_digits(return_X_y=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = save_images(X[:3], folder, y=y[:3], seed=7, value_range=(0, 16))
    ...     images, about = load_images(paths), read_metadata(paths[2])
    >>> images.shape, about["class"], about["seed"]
    ((3, 1, 8, 8), 2, 7)
    >>> bool(abs(16 * images[0].ravel() - X[0]).max() < 0.1)
    True
    """
    images = _as_images(X, image_shape)
    labels = _one_for_each(y, "y", len(images))
    seeds = _one_for_each(seed, "seed", len(images))
    pixels, value_range = _as_bytes(images, value_range)
    about = {"settings": _plain_settings(settings), "value_range": value_range}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, image in enumerate(pixels):
        own = {"class": _plain(labels[index]), "seed": _plain(seeds[index])} | about
        name = "" if labels[index] is None else "-" + _file_name(labels[index])
        paths.append(directory / f"{index:05d}{name}.png")
        write_atomically(paths[-1], _png(image, own))
    return paths


def _as_images(X, image_shape):
    rows, trailing_shape = flatten_images(X)
    rows = np.asarray(rows)
    if rows.dtype.kind not in "buif" or not np.isfinite(rows).all():
        raise ValueError(f"images must be finite numbers, got values of type {rows.dtype}.")
    shape = resolve_image_shape(image_shape, trailing_shape, rows.shape[1])
    if shape is None or shape[0] not in (1, 3):
        raise ValueError(
            f"PNG files hold one or three channels, got images of shape {shape or rows.shape[1:]}; "
            "set image_shape=(H, W) or (3, H, W), or choose channels."
        )
    return rows.reshape(len(rows), *shape)


def _one_for_each(values, name, n):
    if values is None or np.ndim(values) == 0:
        return [values] * n
    values = np.asarray(values)
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape} for {n} images, expected ({n},).")
    return values.tolist()


def _as_bytes(images, value_range):
    """Pixels (n, C, H, W) as bytes, and the values of black and white."""
    if images.dtype == np.uint8 and value_range is None:
        return images, (0, 255)
    images = images.astype(np.float64)
    if value_range is None:
        value_range = (images.min(), images.max()) if images.size else (0, 1)
        if value_range[0] == value_range[1]:
            value_range = (value_range[0], value_range[0] + 1)
    low, high = (float(end) for end in value_range)
    if not low < high:
        raise ValueError(f"value_range must be (low, high) with low < high, got {value_range!r}.")
    places = np.clip((images - low) / (high - low), 0, 1)
    return np.round(255 * places).astype(np.uint8), (low, high)


def _plain(value):
    """A label or a parameter as JSON can say it."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _plain_settings(settings):
    if settings is None:
        return None
    if isinstance(settings, BaseEstimator):
        settings = {"estimator": type(settings).__name__} | settings.get_params()
    return {str(name): _plain(value) for name, value in dict(settings).items()}


def _file_name(label):
    """A label without what means something in a path."""
    return re.sub(r"[^\w.+-]+", "_", str(label)).strip(".")[:_LONGEST_NAME]


def _png(image, about):
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in (
        {"software": f"skinvert {sys.modules['skinvert'].__version__}"} | about
    ).items():
        if value is not None:
            info.add_itxt(f"skinvert:{key}", json.dumps(value, ensure_ascii=False))
    stream = io.BytesIO()
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def load_images(
    paths: str | Path | Sequence[str | Path], size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read image files as one array.

    Parameters
    ----------
    paths : sequence of str or Path, or one str or Path
        PNG, JPEG, WebP or BMP; a directory stands for the image files in it, by name.
    size : tuple (H, W), default=None
        To which all are resized (bilinear, without keeping proportions). None needs images of one
        size.

    Returns
    -------
    images : ndarray of shape (n, C, H, W), float32
        In [0, 1]. One channel if all are grey, else three; transparency is dropped, and pictures
        are turned as their camera says. Of an animation the first frame.

    Raises
    ------
    ValueError
        If an image has over 25 million pixels, which its header tells before anything is decoded;
        if it is of another format or broken; if sizes differ and `size` is None; if there are no
        images.
    OSError
        If a file can't be read.

    Notes
    -----
    Pillow's own guard against decompression bombs only warns up to twice its limit; here its
    warnings are errors, within this call.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skinvert.images import load_images, save_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_images(np.random.default_rng(0).random((2, 3, 9, 7)), folder)
    ...     load_images(folder, size=(4, 4)).shape
    (2, 3, 4, 4)
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size must be (H, W), both at least 1, got {size!r}.")
    files = _files(paths)
    pictures = [_pixels_of(path, size) for path in files]
    shapes = {picture.shape[:2] for picture in pictures}
    if len(shapes) > 1:
        raise ValueError(f"images have sizes {sorted(shapes)[:5]}; set size=(H, W) to resize them.")
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [_in_colour(picture) for picture in pictures]
    stacked = np.stack(pictures)
    return np.ascontiguousarray(
        stacked[:, None] if stacked.ndim == 3 else np.moveaxis(stacked, 3, 1)
    )


def _files(paths):
    if isinstance(paths, (str, Path)):
        paths = [paths]
    files = []
    for path in map(Path, paths):
        suffixes = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in inside if file is path or file.suffix.lower() in suffixes]
    if not files:
        raise ValueError("there is no image to read; give paths of image files or of a directory.")
    return files


def _in_colour(picture):
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


@contextlib.contextmanager
def _opened(path):
    """An image of which the header alone is read; what goes wrong inside names the file."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise Image.DecompressionBombError(
                        f"{width} x {height} are more than {MOST_PIXELS:,} pixels, which could "
                        "fill the memory. Make it smaller with a tool that you trust it to"
                    )
                yield picture
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f"{path} is refused: {error}.") from None
        except UnidentifiedImageError:
            raise ValueError(f"{path} is no image of the formats {', '.join(_FORMATS)}.") from None
        except (SyntaxError, EOFError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{path} is broken: {error}") from None


def _pixels_of(path, size):
    """Pixels (H, W) or (H, W, 3) in [0, 1]."""
    from PIL import Image, ImageOps

    with _opened(path) as picture:
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        deep = picture.mode.startswith("I")
        if not deep:
            grey = picture.mode in ("1", "L", "LA", "La")
            picture = picture.convert("L" if grey else "RGB")
        if size is not None:
            picture = picture.resize((int(size[1]), int(size[0])), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
    return pixels.astype(np.float32) / np.float32(65535 if deep else 255)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What `save_images` wrote into a PNG file.

    Parameters
    ----------
    path : str or Path
        Of a PNG file.

    Returns
    -------
    about : dict
        Of ``class``, ``seed``, ``settings`` (values that are no numbers or strings by their repr),
        ``value_range`` (low, high) and ``software`` those that were known.

    Raises
    ------
    ValueError
        If it is no such image, is too large, or what it says is broken.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skinvert.images import read_metadata, save_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = save_images(np.zeros((1, 4, 4)), folder, y=["cat"], settings={"n_steps": 3})
    ...     read_metadata(paths[0])["settings"], paths[0].name
    ({'n_steps': 3}, '00000-cat.png')
    """
    with _opened(path) as picture:
        # Pillow bounds what text may unpack to.
        found = {key: str(value) for key, value in picture.info.items() if isinstance(key, str)}
    about = {}
    for key in _KEYS:
        text = found.get(f"skinvert:{key}")
        if text is None:
            continue
        try:
            about[key] = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"what {path} says of its {key} is broken.") from None
    return about

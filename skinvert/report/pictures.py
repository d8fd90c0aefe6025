"""Images as text: small PNG and JPEG files in data URIs, which a page carries within itself."""

import base64
import io
import math

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["data_uri", "difference_uri", "outlined_uri"]

_LOSSLESS = 48  # up to so many pixels a side PNG is small enough
_MOST_BYTES = 8192
_ATTEMPTS = ((128, 85), (128, 60), (96, 60), (96, 40), (64, 40))  # side in pixels, quality
_OUTLINED = 128
_BRIGHTER, _DARKER = np.array([179, 88, 6]), np.array([33, 102, 172])  # told apart by all eyes


def data_uri(image, value_range):
    """An image as a ``data:`` URI.

    Parameters
    ----------
    image : ndarray of shape (C, H, W)
        One, three or four channels.
    value_range : tuple (low, high)
        What becomes black and white; values beyond are clipped.

    Returns
    -------
    uri : str
        A PNG up to 48 pixels a side, else a JPEG of at most 128 pixels and 8 KiB. An alpha
        channel is shown on white.

    Examples
    --------
    >>> import numpy as np
    >>> from skinvert.report.pictures import data_uri
    >>> data_uri(np.zeros((1, 2, 2)), (0, 1))[:22]
    'data:image/png;base64,'
    """
    return _encoded(_picture(image, value_range))


def outlined_uri(image, window, value_range):
    """An image, enlarged where it is small, with a window outlined in black and yellow.

    Parameters
    ----------
    image, value_range
        As of `data_uri`.
    window : tuple (top, left, height, width)
    """
    picture = _picture(image, value_range).convert("RGB")
    factor = max(1, math.ceil(_OUTLINED / max(picture.size)))
    size = tuple(side * factor for side in picture.size)
    picture = picture.resize(size, Image.Resampling.NEAREST)
    top, left, height, width = (value * factor for value in window)
    box = (left, top, left + width - 1, top + height - 1)
    line = max(2, max(size) // 48)
    pen = ImageDraw.Draw(picture)
    pen.rectangle(box, outline="black", width=2 * line)
    pen.rectangle(box, outline="yellow", width=line)
    return _encoded(picture)


def difference_uri(before, after, value_range):
    """Where an image became brighter (orange) and darker (blue), on white.

    Parameters
    ----------
    before, after : ndarray of shape (C, H, W)
        Channels are averaged.
    value_range : tuple (low, high)
        A change by all of it has the full colour.
    """
    low, high = value_range
    change = ((after - before).mean(0) / (high - low)).clip(-1, 1)[..., None]
    colour = np.where(change > 0, _BRIGHTER, _DARKER)
    # A root, so that small changes are seen.
    shown = 255 + np.sqrt(np.abs(change)) * (colour - 255)
    return _encoded(Image.fromarray(shown.round().astype(np.uint8), "RGB"))


def _picture(image, value_range):
    low, high = value_range
    bytes_ = (255 * ((image - low) / (high - low)).clip(0, 1)).round().astype(np.uint8)
    if len(bytes_) == 1:
        return Image.fromarray(bytes_[0], "L")
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(bytes_, 0, -1)))


def _encoded(picture):
    if max(picture.size) <= _LOSSLESS:
        return _as_uri("png", _saved(picture, "PNG", optimize=True))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB")
    for side, quality in _ATTEMPTS:
        smaller = picture.copy()
        smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
        content = _saved(smaller, "JPEG", quality=quality)
        if len(content) <= _MOST_BYTES:
            break
    return _as_uri("jpeg", content)


def _saved(picture, kind, **settings):
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def _as_uri(kind, content):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"

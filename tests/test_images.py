"""Image files: what is written is read again, says where it comes from, and can't be a bomb."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn.linear_model import LogisticRegression

import skinvert
from skinvert.images import load_images, read_metadata, save_images


@given(arrays(np.uint8, st.tuples(st.just(2), st.sampled_from([1, 3]), st.just(5), st.just(6))))
@settings(max_examples=20)
def test_bytes_come_back_exactly(tmp_path_factory, pixels):
    paths = save_images(pixels, tmp_path_factory.mktemp("images"))
    np.testing.assert_array_equal(np.round(255 * load_images(paths)), pixels)
    assert read_metadata(paths[0])["value_range"] == [0, 255]


@pytest.mark.parametrize("shape", [(3, 64), (3, 8, 8), (3, 1, 8, 8)])
def test_values_come_back_to_half_a_level(shape, tmp_path):
    X = np.random.default_rng(0).uniform(-3, 5, shape)
    paths = save_images(X, tmp_path, value_range=(-4, 6))
    low, high = read_metadata(paths[0])["value_range"]
    again = low + (high - low) * load_images(paths).reshape(shape)
    assert np.abs(again - X).max() <= 0.5 * 10 / 255 + 1e-6


def test_the_range_is_that_of_the_data_if_none_is_given(tmp_path):
    paths = save_images(np.array([[1.0, 1.0, 1.0, 3.0]]), tmp_path)
    assert read_metadata(paths[0])["value_range"] == [1.0, 3.0]
    assert load_images(paths).ravel().tolist() == [0, 0, 0, 1]


def test_constant_images_can_be_saved(tmp_path):
    assert load_images(save_images(np.full((1, 9), 7.0), tmp_path)).max() == 0


def test_images_say_where_they_come_from(tmp_path, digits):
    X, y = digits
    generator = skinvert.InputOptimizationGenerator(
        LogisticRegression(), prior="mean", init="noise", n_steps=2, random_state=0
    ).fit(X, y)
    images, info = generator.generate([3, 8], return_info=True)
    paths = save_images(
        images, tmp_path / "new" / "folder", y=[3, 8], seed=info.seed, settings=generator
    )
    assert [path.name for path in paths] == ["00000-3.png", "00001-8.png"]
    about = read_metadata(paths[1])
    assert about["class"] == 8
    assert about["seed"] == int(info.seed[1])
    assert about["settings"]["estimator"] == "InputOptimizationGenerator"
    assert about["settings"]["n_steps"] == 2
    assert about["settings"]["classifier"] == "LogisticRegression()"
    assert about["software"] == f"skinvert {skinvert.__version__}"


def test_other_files_have_no_metadata(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "plain.png")
    assert read_metadata(tmp_path / "plain.png") == {}


@pytest.mark.parametrize("label", ["../../etc/passwd", "..", "a/b", "C:\\x", "", "\0", "ä" * 500])
def test_labels_never_leave_the_directory(label, tmp_path):
    (path,) = save_images(np.zeros((1, 4)), tmp_path / "inside", y=np.array([label], dtype=object))
    assert path.parent == tmp_path / "inside"
    assert sorted(path.parent.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == [tmp_path / "inside"]
    assert read_metadata(path)["class"] == label


def test_files_are_replaced_in_one_step(tmp_path, monkeypatch):
    (path,) = save_images(np.zeros((1, 4)), tmp_path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        save_images(np.ones((1, 4)), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"X": np.zeros((2, 5))}, "image_shape"),
        ({"X": np.zeros((2, 2, 4, 4))}, "channels"),
        ({"X": np.full((1, 4), np.nan)}, "finite"),
        ({"X": np.zeros((2, 4)), "y": [1]}, "y has shape"),
        ({"X": np.zeros((2, 4)), "seed": [1, 2, 3]}, "seed has shape"),
        ({"X": np.zeros((2, 4)), "value_range": (1, 1)}, "value_range"),
    ],
)
def test_bad_images_are_refused(arguments, word, tmp_path):
    with pytest.raises(ValueError, match=word):
        save_images(directory=tmp_path, **arguments)


# Reading


def saved(tmp_path, name, picture, **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


def test_modes_become_grey_or_colour(tmp_path):
    ramp = Image.linear_gradient("L").resize((4, 4))
    grey = [
        saved(tmp_path, "l.png", ramp),
        saved(tmp_path, "la.png", ramp.convert("LA")),
        saved(tmp_path, "deep.png", Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)),
    ]
    images = load_images(grey)
    assert images.shape == (3, 1, 4, 4)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[1:], images[:1].repeat(2, 0), atol=1e-6)
    colour = [
        *grey[:1],
        saved(tmp_path, "rgb.png", ramp.convert("RGB")),
        saved(tmp_path, "rgba.png", ramp.convert("RGBA")),
        saved(tmp_path, "p.png", ramp.convert("RGB").quantize(256)),
        saved(tmp_path, "cmyk.jpg", ramp.convert("RGB").convert("CMYK")),
    ]
    images = load_images(colour)
    assert images.shape == (5, 3, 4, 4)
    np.testing.assert_allclose(images[:4], images[:1].repeat(4, 0), atol=0.02)


def test_a_directory_is_read_by_name(tmp_path):
    for level in (2, 0, 1):
        saved(tmp_path, f"{level}.png", Image.new("L", (2, 2), 100 * level))
    (tmp_path / "notes.txt").write_text("no image")
    np.testing.assert_allclose(load_images(tmp_path)[:, 0, 0, 0], np.array([0, 100, 200]) / 255)


def test_sizes_must_agree_or_be_given(tmp_path):
    paths = [saved(tmp_path, f"{n}.png", Image.new("L", (n, 4), 51)) for n in (4, 6)]
    with pytest.raises(ValueError, match="size="):
        load_images(paths)
    images = load_images(paths, size=(3, 5))
    assert images.shape == (2, 1, 3, 5)
    np.testing.assert_allclose(images, 0.2, atol=1e-6)


def test_pictures_are_turned_as_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright
    path = saved(tmp_path, "photo.jpg", Image.new("RGB", (6, 4)), exif=exif)
    assert load_images(path).shape == (1, 3, 6, 4)


def png_of(width, height, body=b""):
    """A PNG that claims a size, whatever it holds."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(5001, 5000), (14_000, 14_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(size, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(Image.Image, "load", lambda *_: decoded.append(1))
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"bomb\.png"):
            load_images(path, size=(8, 8))
        with pytest.raises(ValueError, match=r"bomb\.png"):
            read_metadata(path)
    assert decoded == []


def test_the_guard_is_pillow_s_own_too(tmp_path, monkeypatch):
    """A lower limit of the user's is kept, and set for nobody."""
    path = saved(tmp_path, "image.png", Image.new("L", (30, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match="refused"):
        load_images(path)
    assert Image.MAX_IMAGE_PIXELS == 500


def test_text_bombs_are_refused(tmp_path):
    stream = io.BytesIO()
    info = PngInfo()
    info.add_itxt("skinvert:settings", '"' + "a" * 2_000_000 + '"', zip=True)
    Image.new("L", (2, 2)).save(stream, "PNG", pnginfo=info)
    assert len(stream.getvalue()) < 10_000
    (tmp_path / "text.png").write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match=r"text\.png"):
        read_metadata(tmp_path / "text.png")


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", png_of(4, 4, b"short"), png_of(4, 4)[:-30], b"GIF89a" + b"\0" * 20],
    ids=["empty", "text", "short", "cut", "gif"],
)
def test_broken_files_are_named(content, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png"):
        load_images(path)


def test_broken_metadata_is_named(tmp_path):
    info = PngInfo()
    info.add_itxt("skinvert:seed", "{")
    path = saved(tmp_path, "broken.png", Image.new("L", (2, 2)), pnginfo=info)
    with pytest.raises(ValueError, match="seed is broken"):
        read_metadata(path)


def test_missing_files_and_sizes(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_images(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="no image"):
        load_images(tmp_path)
    with pytest.raises(ValueError, match="size"):
        load_images(tmp_path, size=(0, 3))

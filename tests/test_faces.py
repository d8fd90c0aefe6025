"""CelebA's faces are cut from the middle, whatever the files; on made pictures."""

import numpy as np
import pytest
from PIL import Image

from skinvert.datasets import fetch_celeba

torchvision = pytest.importorskip("torchvision")
N_FACES = 6


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Torchvision's folder with six pictures, whose checksums are taken for the true ones."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{k:06d}.png" for k in range(N_FACES)]
    for k, name in enumerate(names):
        picture = np.zeros((218, 178, 3), dtype=np.uint8)
        picture[39:179, 19:159] = [40 * k, 255, 0]  # the middle 140 pixels
        Image.fromarray(picture).save(folder / "img_align_celeba" / name)
    (folder / "list_attr_celeba.txt").write_text(
        f"{N_FACES}\nMale Smiling\n"
        + "".join(f"{name} {1 if k % 2 else -1} {-1}\n" for k, name in enumerate(names))
    )
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{name} {min(k // 2, 2)}\n" for k, name in enumerate(names))
    )
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} 1\n" for name in names))
    for name in ("list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        (folder / name).write_text(f"{N_FACES}\na b\n" + "".join(f"{n} 0 0\n" for n in names))
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    return tmp_path


def test_the_middle_is_kept(home):
    data = fetch_celeba(subset="all", data_home=home)
    assert data.images.shape == (N_FACES, 3, 64, 64)
    assert data.data.dtype == np.float32
    for k, image in enumerate(data.images):
        # No border is left: all of the middle has one colour.
        expected = np.array([40 * k, 255, 0], dtype=np.float32) / 255
        np.testing.assert_allclose(image, np.broadcast_to(expected[:, None, None], image.shape))
    np.testing.assert_array_equal(data.target, [0, 1] * 3)
    assert data.target_names.tolist() == ["not Male", "Male"]


def test_a_larger_crop_shows_the_border(home):
    X, _ = fetch_celeba(subset="all", crop=178, image_size=16, data_home=home, return_X_y=True)
    images = X.reshape(-1, 3, 16, 16)
    assert images[:, :, 0].max() < 0.1
    np.testing.assert_allclose(images[:, 1, 8, 8], 1)


@pytest.mark.parametrize(("subset", "first"), [("train", 0), ("validation", 2), ("test", 4)])
def test_subsets_are_the_official_ones(subset, first, home):
    X, y = fetch_celeba(subset=subset, attribute="Smiling", data_home=home, return_X_y=True)
    np.testing.assert_allclose(X[:, 0] * 255, [40 * first, 40 * (first + 1)], atol=1e-3)
    np.testing.assert_array_equal(y, [0, 0])


def test_few_images_are_read_where_few_are_asked_for(home):
    assert len(fetch_celeba(subset="all", n_images=3, data_home=home).data) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subset": "most"}, "subset must be"),
        ({"attribute": "Tall"}, "one of \\['Male'"),
        ({"crop": 200}, "at most 178"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, home):
    with pytest.raises(ValueError, match=message):
        fetch_celeba(data_home=home, **arguments)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="torchvision's files"):
        fetch_celeba(data_home=tmp_path, download_if_missing=False)

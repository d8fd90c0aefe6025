"""Data sets that are read where they lie, and downloaded by torchvision where they don't."""

import gzip
import hashlib
import pickle
import sys
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from skinvert.datasets.packing import pack

__all__ = ["fetch_cifar10", "fetch_fashion_mnist", "fetch_mnist"]

_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# Of the uncompressed files: Debian compresses them anew, so that torchvision's sums of the .gz
# files hold for torchvision's own download only.
_IDX_MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
_SYSTEM_PREFIXES = (sys.prefix, "/usr/local", "/usr")


def fetch_mnist(
    *,
    subset: str = "train",
    data_home: str | Path | None = None,
    directory: str | Path | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """MNIST: 60,000 and 10,000 handwritten digits of 28 × 28 pixels (LeCun et al. 1998).

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        "all" is the training images followed by the test images.
    data_home : str or Path, default=None
        Where a download lies or goes (``MNIST/raw`` below it); scikit-learn's data home if None.
    directory : str or Path, default=None
        A folder that holds the four idx files, compressed or not. Nothing else is looked at then.
    download_if_missing : bool, default=True
        Let torchvision download what is not here.
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` (n, 784) float32 in [0, 1], ``images`` (n, 28, 28), ``target``,
        ``target_names``, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing (FileNotFoundError), can't be downloaded or have a wrong checksum.
    ValueError
        For an unknown subset.

    Examples
    --------
    >>> from skinvert.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 784)
    """
    images, labels = _idx_arrays("MNIST", subset, data_home, directory, download_if_missing)
    description = f"MNIST (LeCun et al. 1998), subset {subset!r}: handwritten digits."
    return pack(_scaled(images), labels, (28, 28), description, return_X_y)


def fetch_fashion_mnist(
    *,
    subset: str = "train",
    data_home: str | Path | None = None,
    directory: str | Path | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST: 60,000 and 10,000 pieces of clothing of 28 × 28 pixels (Xiao et al. 2017).

    Looked for where Debian's package ``dataset-fashion-mnist`` puts it, in
    share/datasets/fashion-mnist below ``sys.prefix``, ``/usr/local`` and ``/usr``, then in
    `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        "all" is the training images followed by the test images.
    data_home : str or Path, default=None
        Where a download lies or goes (``FashionMNIST/raw`` below it); scikit-learn's data home if
        None.
    directory : str or Path, default=None
        A folder that holds the four idx files, compressed or not. Nothing else is looked at then.
    download_if_missing : bool, default=True
        Let torchvision download what is not here.
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` (n, 784) float32 in [0, 1], ``images`` (n, 28, 28), ``target`` from 0 to 9,
        ``target_names`` in words, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing (FileNotFoundError), can't be downloaded or have a wrong checksum.
    ValueError
        For an unknown subset.

    Examples
    --------
    >>> from skinvert.datasets import fetch_fashion_mnist
    >>> data = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> str(data.target_names[data.target[0]])  # doctest: +SKIP
    'Ankle boot'
    """
    from torchvision.datasets import FashionMNIST

    folders = [Path(prefix, "share", "datasets", "fashion-mnist") for prefix in _SYSTEM_PREFIXES]
    images, labels = _idx_arrays(
        "FashionMNIST", subset, data_home, directory, download_if_missing, folders
    )
    description = f"Fashion-MNIST (Xiao et al. 2017), subset {subset!r}: pieces of clothing."
    return pack(
        _scaled(images), labels, (28, 28), description, return_X_y, list(FashionMNIST.classes)
    )


def fetch_cifar10(
    *,
    subset: str = "train",
    data_home: str | Path | None = None,
    directory: str | Path | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """CIFAR-10: 50,000 and 10,000 colour photographs of 32 × 32 pixels (Krizhevsky 2009).

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        "all" is the training images followed by the test images.
    data_home : str or Path, default=None
        Where a download lies or goes (``cifar-10-batches-py`` below it); scikit-learn's data home
        if None.
    directory : str or Path, default=None
        A folder that holds the batches of the Python version (``data_batch_1``, …), or holds
        ``cifar-10-batches-py``. Nothing else is looked at then.
    download_if_missing : bool, default=True
        Let torchvision download what is not here.
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` (n, 3072) float32 in [0, 1], ``images`` (n, 3, 32, 32), ``target`` from 0 to 9,
        ``target_names`` in words, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing (FileNotFoundError), can't be downloaded or have a wrong checksum.
    ValueError
        For an unknown subset.

    Examples
    --------
    >>> from skinvert.datasets import fetch_cifar10
    >>> fetch_cifar10(subset="test").images.shape  # doctest: +SKIP
    (10000, 3, 32, 32)
    """
    from torchvision.datasets import CIFAR10

    lists = {"train": CIFAR10.train_list, "test": CIFAR10.test_list}
    sums = {name: md5 for part in _parts(subset) for name, md5 in lists[part]}
    meta = CIFAR10.meta["filename"]
    folder = _located(
        "CIFAR10", [*sums, meta], CIFAR10.base_folder, data_home, directory, download_if_missing
    )
    batches = [_unpickled(folder / name, md5) for name, md5 in sums.items()]
    names = _unpickled(folder / meta, CIFAR10.meta["md5"])[CIFAR10.meta["key"]]
    images = np.concatenate([batch["data"] for batch in batches])
    labels = np.concatenate([batch["labels"] for batch in batches])
    description = f"CIFAR-10 (Krizhevsky 2009), subset {subset!r}: colour photographs."
    return pack(_scaled(images), labels, (3, 32, 32), description, return_X_y, names)


def _scaled(images):
    """Bytes as rows of float32 in [0, 1]."""
    return images.reshape(len(images), -1) / np.float32(255)


def _parts(subset):
    if subset not in ("train", "test", "all"):
        raise ValueError(f"subset must be 'train', 'test' or 'all', got {subset!r}.")
    return ("train", "test") if subset == "all" else (subset,)


def _idx_arrays(name, subset, data_home, directory, download_if_missing, system=()):
    """Images (n, H, W) and labels (n,) as bytes, from idx files of torchvision's names."""
    parts = [_IDX_FILES[part] for part in _parts(subset)]
    names = [file for pair in parts for file in pair]
    folder = _located(
        name, names, Path(name, "raw"), data_home, directory, download_if_missing, system
    )
    arrays = {file: _read_idx(folder / file, _IDX_MD5[name][file]) for file in names}
    return [np.concatenate([arrays[file] for file in kind]) for kind in zip(*parts, strict=True)]


def _located(name, files, below, data_home, directory, download_if_missing, system=()):
    """The first folder that holds all files, filled by torchvision where none does."""
    if directory is not None:
        folders = [Path(directory), Path(directory, below)]
    else:
        home = Path(get_data_home(data_home))
        folders = [*system, home / below]
    found = _first_with(files, folders)
    if found is None and directory is None and download_if_missing:
        _download(name, home)
        found = _first_with(files, folders)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not on this machine: no folder of {[str(folder) for folder in folders]} "
            f"holds all of {files}. {_ways_to_get(name)}"
        )
    return found


def _first_with(files, folders):
    for folder in folders:
        if all(_present(folder / file) for file in files):
            return folder
    return None


def _present(path):
    """The path itself or its compressed twin, whichever exists."""
    twin = path.with_name(f"{path.name}.gz")
    return next((candidate for candidate in (path, twin) if candidate.is_file()), None)


def _download(name, home):
    import torchvision

    try:
        getattr(torchvision.datasets, name)(home, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{name} could not be downloaded: {reason}. {_ways_to_get(name)}") from error


def _ways_to_get(name):
    package = {"FashionMNIST": "install Debian's package dataset-fashion-mnist, or "}.get(name, "")
    return (
        f"Two ways to get it: let it be downloaded where there is a network "
        f"(download_if_missing=True); or, without one, {package}name a folder that holds the files "
        f"with directory=."
    )


def _checked(path, content, md5):
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise OSError(
            f"{path} is damaged or another file: its content has the md5 checksum {found}, "
            f"expected {md5}. Delete it and fetch it again."
        )
    return content


def _read_idx(path, md5):
    """An idx file, compressed or not; torchvision's own reader takes uncompressed files only."""
    path = _present(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise OSError(f"{path} is damaged ({error}). Delete it and fetch it again.") from error
    content = _checked(path, content, md5)
    n_axes = content[3]
    shape = np.frombuffer(content, ">i4", n_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def _unpickled(path, md5):
    # A pickle can run code, so that it is opened only after its checksum has vouched for it.
    return pickle.loads(_checked(path, path.read_bytes(), md5), encoding="latin1")

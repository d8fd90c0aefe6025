"""Splits that every claim is made on: disjoint, stratified, always the same."""

from functools import partial
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skinvert.datasets.bundled import load_mnist_5k
from skinvert.datasets.fetched import fetch_fashion_mnist

__all__ = ["split_fashion_mnist", "split_mnist_5k"]

_MNIST_5K = {"train": 2000, "tune": 500, "judge": 1500, "test": 1000}
_FASHION_MNIST = {"train": 40_000, "tune": 5_000, "judge": 15_000}


def split_mnist_5k() -> Bunch:
    """MNIST-5k in the parts that have one purpose each, always the same.

    Generators and the classifiers that they invert see ``train``; parameters are chosen on
    ``tune``; judges and extractors are trained on ``judge``; figures are taken on ``test``.

    Returns
    -------
    parts : Bunch of (X, y)
        ``train`` 2,000 rows, ``tune`` 500, ``judge`` 1,500, ``test`` 1,000; stratified, shuffled.

    Examples
    --------
    >>> from skinvert.datasets import split_mnist_5k
    >>> {name: len(y) for name, (X, y) in split_mnist_5k().items()}
    {'train': 2000, 'tune': 500, 'judge': 1500, 'test': 1000}
    """
    X, y = load_mnist_5k(return_X_y=True)
    return _divide(X, y, _MNIST_5K)


def split_fashion_mnist(
    *,
    data_home: str | Path | None = None,
    directory: str | Path | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Fashion-MNIST in the parts that have one purpose each, always the same.

    The 60,000 training images are divided as `split_mnist_5k` divides its rows; ``test`` is the
    data set's own.

    Parameters
    ----------
    data_home : str or Path, default=None
        As of `fetch_fashion_mnist`, like the two that follow.
    directory : str or Path, default=None
        A folder that holds the four idx files.
    download_if_missing : bool, default=True
        Let torchvision download what is not here.

    Returns
    -------
    parts : Bunch of (X, y)
        ``train`` 40,000 rows, ``tune`` 5,000, ``judge`` 15,000, ``test`` 10,000; float32 in
        [0, 1], 220 MB together. All but ``test`` are stratified and shuffled.

    Raises
    ------
    OSError
        As `fetch_fashion_mnist`.

    Examples
    --------
    >>> from skinvert.datasets import split_fashion_mnist
    >>> parts = split_fashion_mnist()  # doctest: +SKIP
    >>> parts.train[0].shape  # doctest: +SKIP
    (40000, 784)
    """
    fetch = partial(
        fetch_fashion_mnist,
        data_home=data_home,
        directory=directory,
        download_if_missing=download_if_missing,
        return_X_y=True,
    )
    X, y = fetch(subset="train")
    parts = _divide(X, y, _FASHION_MNIST)
    parts["test"] = fetch(subset="test")
    return parts


def _divide(X, y, sizes):
    """Parts of the given sizes, which add up to all rows."""
    parts, left = Bunch(), np.arange(len(y))
    *drawn, last = sizes.items()
    for name, size in drawn:
        rows, left = train_test_split(left, train_size=size, stratify=y[left], random_state=0)
        parts[name] = (X[rows], y[rows])
    parts[last[0]] = (X[left], y[left])
    return parts

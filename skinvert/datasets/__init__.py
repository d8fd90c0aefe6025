"""Image data sets as scikit-learn hands them out, and the splits that every claim is made on.

``load_*`` read what a package ships; ``fetch_*`` read files that are on this machine and download
them where they are not. Nothing is downloaded by an import.
"""

from skinvert.datasets.bundled import load_digits_images, load_mnist_5k
from skinvert.datasets.faces import fetch_celeba
from skinvert.datasets.fetched import fetch_cifar10, fetch_fashion_mnist, fetch_mnist
from skinvert.datasets.reference import load_reference_images
from skinvert.datasets.splits import split_fashion_mnist, split_mnist_5k

__all__ = [
    "load_digits_images",
    "load_mnist_5k",
    "load_reference_images",
    "fetch_mnist",
    "fetch_fashion_mnist",
    "fetch_cifar10",
    "fetch_celeba",
    "split_mnist_5k",
    "split_fashion_mnist",
]

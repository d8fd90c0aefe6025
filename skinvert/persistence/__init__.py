"""Fitted estimators in files that hold no code: JSON and tensors in one archive, no pickle."""

import platform
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import skorch
import torch
from sklearn.base import BaseEstimator

from skinvert.models.training import resolve_device
from skinvert.persistence.archive import pack, unpack
from skinvert.persistence.decoding import decode
from skinvert.persistence.encoding import encode
from skinvert.persistence.errors import (
    CorruptFileError,
    PersistenceError,
    UnknownVersionError,
    UntrustedError,
)
from skinvert.shards import write_atomically

__all__ = [
    "CorruptFileError",
    "PersistenceError",
    "UnknownVersionError",
    "UntrustedError",
    "load",
    "save",
]

FORMAT = 1


def save(estimator: BaseEstimator, path: str | Path) -> Path:
    """Write an estimator, fitted or not, to one file.

    The file is a zip of a JSON manifest (versions), JSON (parameters and fitted attributes) and
    safetensors (arrays and weights), with a digest at its end. Your own modules and classes are
    stored as an import path and their attributes; whoever loads the file must have the code and
    allow it by name.

    Parameters
    ----------
    estimator : estimator
        Of skinvert, or a scikit-learn estimator around one, a Pipeline for example.
    path : str or Path
        Written in full or not at all: an older file of that name stays until the new one is on
        disk.

    Returns
    -------
    path : Path

    Raises
    ------
    TypeError
        If it is no estimator, or if a part of it is code (a lambda, a hook, a class defined inside
        a function) or of an unknown kind; the message says where it sits.
    OSError
        If the file can't be written.

    See Also
    --------
    skinvert.load : Reads it back.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn.datasets import load_digits
    >>> import skinvert
    >>> X, y = load_digits(return_X_y=True)
    >>> flow = skinvert.InvertibleFlowClassifier(random_state=0).fit(X[:500], y[:500])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = skinvert.save(flow, pathlib.Path(folder, "flow.skinvert"))
    ...     again = skinvert.load(path)
    >>> bool((again.generate([3, 8]) == flow.generate([3, 8])).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"save takes an estimator of skinvert or scikit-learn, got {type(estimator).__name__}; "
            "weights of a bare module go to safetensors.torch.save_model."
        )
    path = Path(path)
    graph, tensors, needs = encode(estimator)
    write_atomically(path, pack(_manifest(estimator, needs), graph, tensors))
    return path


def _manifest(estimator, needs):
    kind = type(estimator)
    return {
        "format": FORMAT,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "needs": needs,
        "versions": {
            "skinvert": sys.modules["skinvert"].__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "skorch": skorch.__version__,
            "torch": torch.__version__,
        },
    }


def load(
    path: str | Path,
    *,
    device: str | torch.device | None = None,
    allowed: Collection[str] = (),
) -> Any:
    """Read an estimator that `save` wrote.

    Nothing in the file is run: no pickle is opened, no constructor of a class that holds more than
    data is called, and nothing is imported beyond skinvert, scikit-learn, skorch, torch and
    torchvision but what you allow. The digest tells accidents, not forgeries: who can change the
    file can change the numbers in it.

    Parameters
    ----------
    path : str or Path
        Of a file.
    device : str or torch.device or None, default=None
        Where the estimator shall work: "auto", "cpu", "cuda" …. None is where it was fitted, or
        the CPU where that device is missing.
    allowed : sequence of str, default=()
        Dotted names of further classes and functions that the file may use, ``"my_nets.Net"`` for
        example: importing them runs their module. The error of a load without them lists all.

    Returns
    -------
    estimator : estimator
        As it was saved: its `generate` gives the same bits on the same device with the same
        versions.

    Raises
    ------
    CorruptFileError
        If the file is truncated, changed, or not of `save`.
    UnknownVersionError
        If a later release wrote it.
    UntrustedError
        If it uses what was not allowed. All three are `skinvert.persistence.PersistenceError`, a
        ValueError.
    ValueError
        If `device` is not at hand.
    TypeError
        If `allowed` is one string.
    OSError
        If there is no such file.

    Warns
    -----
    InconsistentVersionWarning
        By scikit-learn, for its own estimators of another version.

    See Also
    --------
    skinvert.save : Writes it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import skinvert
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = skinvert.save(skinvert.ReGene(n_combine=3), pathlib.Path(folder, "decoder.zip"))
    ...     skinvert.load(path)
    ReGene(n_combine=3)
    """
    if isinstance(allowed, str):
        raise TypeError(f"allowed must be a sequence of names, got the string {allowed!r}.")
    device = None if device is None else resolve_device(device)
    manifest, graph, tensors = unpack(Path(path).read_bytes())
    version = manifest.get("format")
    if type(version) is not int or version != FORMAT:
        versions = manifest.get("versions")
        release = versions.get("skinvert") if isinstance(versions, dict) else None
        raise UnknownVersionError(
            f"the file has format {str(version)[:20]!r} (skinvert {str(release)[:40]}), and this "
            f"release reads format {FORMAT}. Upgrade skinvert, or save the estimator again here."
        )
    estimator = decode(graph, tensors, allowed=frozenset(allowed), device=device)
    if not isinstance(estimator, BaseEstimator):
        raise CorruptFileError(f"the file holds a {type(estimator).__name__}, no estimator.")
    return estimator

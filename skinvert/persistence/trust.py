"""Which classes and functions a file may name, and how names become them.

Importing a module runs it. Only modules of the libraries that skinvert itself stands on are
imported for a file, and what is taken out of them must be of a kind that holds data; everything
else has to be allowed by name.
"""

import importlib
import re
import sys
from types import BuiltinFunctionType, FunctionType

import torch
from sklearn.base import BaseEstimator
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)
from torch import nn

from skinvert.persistence.errors import CorruptFileError, UntrustedError

__all__ = ["dotted", "name_of", "resolve", "untrusted"]

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

# Some of skorch's callbacks write files or read pickles; these do neither.
_CALLBACKS = (
    BatchScoring,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
)

# Package -> the classes in it that hold nothing but data.
_FAMILIES = {
    "skinvert": (object,),
    "sklearn": (BaseEstimator,),
    "skorch": (NeuralNet, *_CALLBACKS),
    "torch.nn": (nn.Module,),
    "torch.optim": (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler),
    "torchvision": (nn.Module,),
}

_SINGLE_NAMES = frozenset(
    {
        "builtins:bool",
        "builtins:float",
        "builtins:int",
        "builtins:object",
        "builtins:print",
        "builtins:str",
        "numpy:bool",
        "numpy:float16",
        "numpy:float32",
        "numpy:float64",
        "numpy:int32",
        "numpy:int64",
        "numpy:uint8",
        "sklearn.calibration:_CalibratedClassifier",
        "sklearn.neural_network._stochastic_optimizers:AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers:SGDOptimizer",
        "skorch.dataset:Dataset",
        "skorch.dataset:ValidSplit",
        "torch.nn.functional:elu",
        "torch.nn.functional:gelu",
        "torch.nn.functional:leaky_relu",
        "torch.nn.functional:relu",
        "torch.nn.functional:sigmoid",
        "torch.nn.functional:silu",
        "torch.nn.functional:softplus",
        "torch.nn.functional:tanh",
        "torch.utils.data.dataloader:DataLoader",
    }
)


def name_of(thing):
    """``"module:qualified name"`` of a class or function, or None where that does not find it.

    Examples
    --------
    >>> from skinvert.persistence.trust import name_of
    >>> name_of(dict.fromkeys), name_of(lambda x: x), name_of(int)
    (None, None, 'builtins:int')
    """
    name = f"{thing.__module__}:{thing.__qualname__}"
    if not _NAME.fullmatch(name) or thing.__module__ not in sys.modules:
        return None
    return name if _walk(sys.modules[thing.__module__], thing.__qualname__) is thing else None


def dotted(name):
    """The name as one writes it in ``allowed``."""
    return name.replace(":", ".")


def _walk(module, qualified):
    found = module
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found


def untrusted(names, allowed):
    """Those of ``"module:qualified name"`` that neither a family nor the user vouches for.

    Nothing is imported that is not vouched for by its package.

    Parameters
    ----------
    names : iterable of str
    allowed : collection of str
        Dotted names.

    Returns
    -------
    names : list of str
        Dotted.

    Raises
    ------
    CorruptFileError
        For what is no name at all.
    """
    found = set()
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise CorruptFileError(f"{str(name)[:80]!r} is no name of a class or function.")
        if dotted(name) not in allowed and not _is_trusted(name):
            found.add(dotted(name))
    return sorted(found)


def _is_trusted(name):
    if name in _SINGLE_NAMES:
        return True
    module, _, qualified = name.partition(":")
    for package, kinds in _FAMILIES.items():
        if module == package or module.startswith(f"{package}."):
            found = _walk(_imported(module), qualified)
            # What a module merely imported is not its own: sklearn.x:os would be.
            is_own = isinstance(found, type) and name_of(found) == name
            return is_own and issubclass(found, kinds)
    return False


def _imported(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CorruptFileError(
            f"the file needs {module}, which cannot be imported here: {error}. Install the package "
            "in the version that the file was written with."
        ) from None


def resolve(name, allowed):
    """The class or function of a name that is vouched for.

    Parameters
    ----------
    name : str
        ``"module:qualified name"``.
    allowed : collection of str

    Returns
    -------
    thing : type or function

    Raises
    ------
    UntrustedError
        If nothing vouches for the name.
    CorruptFileError
        If it is not there, or is neither a class nor a function.

    Examples
    --------
    >>> from skinvert.persistence.trust import resolve
    >>> resolve("sklearn.decomposition._pca:PCA", allowed=())
    <class 'sklearn.decomposition._pca.PCA'>
    >>> resolve("os:system", allowed=())
    Traceback (most recent call last):
    ...
    skinvert.persistence.errors.UntrustedError: os.system is not allowed.
    """
    if untrusted([name], allowed):
        raise UntrustedError(f"{dotted(name)} is not allowed.", [dotted(name)])
    module, _, qualified = name.partition(":")
    found = _walk(_imported(module), qualified)
    if not isinstance(found, (type, FunctionType, BuiltinFunctionType)):
        raise CorruptFileError(
            f"{dotted(name)} is no class or function of the installed version of {module}."
        )
    return found

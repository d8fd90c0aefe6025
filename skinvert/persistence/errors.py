"""What can be wrong with a file, each with a type of its own."""

from typing import Any

__all__ = ["CorruptFileError", "PersistenceError", "UnknownVersionError", "UntrustedError"]


class PersistenceError(ValueError):
    """A file that `skinvert.load` refuses; the base of the three below.

    Examples
    --------
    >>> from skinvert.persistence import CorruptFileError, PersistenceError
    >>> issubclass(CorruptFileError, PersistenceError) and issubclass(PersistenceError, ValueError)
    True
    """


class CorruptFileError(PersistenceError):
    """The file is truncated or changed, or holds what `skinvert.save` never writes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import skinvert
    >>> from skinvert.persistence import CorruptFileError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.skinvert")
    ...     _ = path.write_bytes(b"no such thing")
    ...     try:
    ...         skinvert.load(path)
    ...     except CorruptFileError:
    ...         print("refused")
    refused
    """


class UnknownVersionError(PersistenceError):
    """The file has a format that this release does not know: a later release wrote it.

    Examples
    --------
    >>> from skinvert.persistence import PersistenceError, UnknownVersionError
    >>> issubclass(UnknownVersionError, PersistenceError)
    True
    """


class UntrustedError(PersistenceError):
    """The file names classes or functions that were not allowed.

    Attributes
    ----------
    names : tuple of str
        All of them, ready to be passed as ``allowed`` by who trusts them.

    Examples
    --------
    >>> from skinvert.persistence import UntrustedError
    >>> UntrustedError("no", ["my_nets.Net"]).names
    ('my_nets.Net',)
    """

    def __init__(self, message: Any, names: Any = ()) -> None:
        super().__init__(message)
        self.names = tuple(names)

    def __reduce__(self):
        return type(self), (str(self), self.names)

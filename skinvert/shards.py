"""Shards of a long generation on disk: written atomically, resumed where they were left."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

__all__ = ["ShardStore"]


class ShardStore:
    """Finished shards beside the ``.npy`` file that they will become.

    Parameters
    ----------
    path : str or Path
        The final file; shards lie in a folder of the same name with ``.parts`` appended.
    fingerprint : str
        Hash of everything that the result depends on. Shards of another one are refused.

    Raises
    ------
    ValueError
        If the folder holds shards of another request.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from skinvert.shards import ShardStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ShardStore(Path(folder) / "images.npy", "abc")
    ...     store.write(slice(0, 2), np.zeros((2, 4), np.float32))
    ...     store.has(slice(0, 2)), store.assemble([slice(0, 2)], (4,)).shape
    (True, (2, 4))
    """

    def __init__(self, path, fingerprint):
        self.path = Path(path)
        self.folder = self.path.with_name(self.path.name + ".parts")
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / "manifest.json"
        if manifest.exists():
            found = json.loads(manifest.read_text()).get("fingerprint")
            if found != fingerprint:
                raise ValueError(
                    f"out={str(path)!r} has unfinished shards of another request (other labels, "
                    f"seed, parameters or data). Delete {self.folder} or choose another path."
                )
        else:
            write_atomically(manifest, json.dumps({"fingerprint": fingerprint}).encode())

    def _file(self, rows):
        return self.folder / f"rows-{rows.start:012d}-{rows.stop:012d}.npy"

    def has(self, rows):
        """Whether the shard of these rows is on disk."""
        return self._file(rows).exists()

    def write(self, rows, images):
        """Store the images of a slice of rows."""
        with _replacing(self._file(rows)) as stream:
            np.save(stream, images, allow_pickle=False)

    def assemble(self, shards, trailing_shape):
        """Join all shards into the final file and return it as a read-only memory map.

        Parameters
        ----------
        shards : list of slice
        trailing_shape : tuple of int
            Shape of one row of the result.
        """
        unfinished = self.path.with_name(self.path.name + ".tmp")
        shape = (shards[-1].stop if shards else 0, *trailing_shape)
        joined = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
        for rows in shards:
            joined[rows] = np.load(self._file(rows), allow_pickle=False).reshape(
                -1, *trailing_shape
            )
        joined.flush()
        del joined
        os.replace(unfinished, self.path)
        shutil.rmtree(self.folder)
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


def fingerprint(*parts):
    """Hash of arrays, bytes and anything with a faithful repr."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            part = f"{part.dtype}{part.shape}".encode() + np.ascontiguousarray(part).tobytes()
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def write_atomically(path, content):
    """Write bytes so that the file holds all of them or is not there."""
    with _replacing(path) as stream:
        stream.write(content)


class _replacing:
    """A binary stream whose file appears under its name only when everything is on disk."""

    def __init__(self, path):
        self.path, self.unfinished = path, path.with_name(f"{path.name}.{os.getpid()}.tmp")

    def __enter__(self):
        self.stream = open(self.unfinished, "wb")
        return self.stream

    def __exit__(self, kind, *_):
        try:
            with self.stream:
                if kind is None:
                    self.stream.flush()
                    os.fsync(self.stream.fileno())
            if kind is None:
                os.replace(self.unfinished, self.path)
        finally:
            # Nothing half-written stays, where a disk is full for example.
            self.unfinished.unlink(missing_ok=True)
        if kind is None:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

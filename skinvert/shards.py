"""Shards of a long generation on disk: written atomically, resumed where they were left."""

import glob
import hashlib
import json
import os
import re
import shutil
import socket
import uuid
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
        # Workers may stand in another folder.
        self.path = Path(path).absolute()
        self.folder = self.path.with_name(self.path.name + ".parts")
        self.fingerprint = fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        found = self._found()
        if found is None:
            # The manifest is the first file to come: shards without it are a removal's remains.
            for stale in self.folder.glob("rows-*"):
                stale.unlink()
            write_atomically(self._manifest, json.dumps({"fingerprint": fingerprint}).encode())
        elif found != fingerprint:
            raise ValueError(
                f"out={str(path)!r} has unfinished shards of another request (other labels, "
                f"seed, parameters or data). Delete {self.folder} or choose another path."
            )

    @property
    def _manifest(self):
        return self.folder / "manifest.json"

    def _found(self):
        """Fingerprint in the folder, None where there is none."""
        if not self._manifest.exists():
            return None
        return json.loads(self._manifest.read_text()).get("fingerprint")

    def is_here(self):
        """Whether this process sees the folder, as one on another machine may not."""
        return self._found() == self.fingerprint

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
        remove_abandoned(self.path)
        shape = (shards[-1].stop if shards else 0, *trailing_shape)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        # Written, not mapped: on a full disk a memory map dies where a write raises.
        with _replacing(self.path) as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for rows in shards:
                stream.write(np.load(self._file(rows), allow_pickle=False).astype("<f4").tobytes())
        shutil.rmtree(self.folder)
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


def fingerprint(*parts):
    """Hash of arrays, bytes and anything with a faithful repr."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            # A view, not a copy: data may lie on a disk, and be larger than the memory.
            part = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        is_raw = isinstance(part, (bytes, np.ndarray))
        digest.update(part if is_raw else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def write_atomically(path, content):
    """Write bytes so that the file holds all of them or is not there."""
    with _replacing(path) as stream:
        stream.write(content)


class _replacing:
    """A binary stream whose file appears under its name only when everything is on disk."""

    def __init__(self, path):
        # Workers of two machines may have one number, and be given one shard.
        writer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
        self.path, self.unfinished = path, path.with_name(f"{path.name}.{writer}.tmp")

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
            _sync_folder(self.path.parent)


def _sync_folder(path):
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_abandoned(path):
    """Remove what writers of a file left half-written when they were killed on this machine.

    Parameters
    ----------
    path : Path
        The file; its unfinished versions lie beside it.
    """
    host = re.escape(f"{path.name}.{socket.gethostname()}")
    writer = re.compile(host + r"-(?P<process>\d+)-[0-9a-f]+\.tmp")
    for unfinished in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        found = writer.fullmatch(unfinished.name)
        if found and not _is_running(int(found["process"])):
            unfinished.unlink(missing_ok=True)


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

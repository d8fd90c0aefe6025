"""The file itself: a zip of three stored members, with one digest over all of it.

Nothing is ever unpacked to disk, nothing is compressed, and no member has a name of its own
choice, so that there is no path to slip out of and no size that grows.
"""

import hashlib
import io
import json
import struct
import zipfile

from skinvert.persistence.errors import CorruptFileError

__all__ = ["pack", "unpack"]

MANIFEST, GRAPH, TENSORS = "manifest.json", "estimator.json", "tensors.safetensors"
MEMBERS = (MANIFEST, GRAPH, TENSORS)

_MARK = b"skinvert sha256:"
_DIGITS = 64
_MOST_JSON = 2**27  # bytes of JSON: parsed, it takes some ten times as much memory
_MIDNIGHT = (1980, 1, 1, 0, 0, 0)  # the same estimator gives the same bytes, at any time


def pack(manifest, graph, tensors):
    """Bytes of a file.

    Parameters
    ----------
    manifest, graph : dict
        Of what JSON can say.
    tensors : bytes
        In the format of safetensors.

    Returns
    -------
    content : bytes

    Examples
    --------
    >>> from skinvert.persistence.archive import pack, unpack
    >>> unpack(pack({"format": 1}, {"root": None}, b"tensors"))
    ({'format': 1}, {'root': None}, b'tensors')
    """
    contents = (_as_json(manifest, indent=1), _as_json(graph), tensors)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in zip(MEMBERS, contents, strict=True):
            archive.writestr(zipfile.ZipInfo(name, _MIDNIGHT), content)
        archive.comment = _MARK + b"0" * _DIGITS
    packed = stream.getvalue()[:-_DIGITS]
    return packed + hashlib.sha256(packed).hexdigest().encode()


def _as_json(value, indent=None):
    return json.dumps(value, allow_nan=False, indent=indent).encode()


def unpack(content):
    """The manifest, the graph and the tensors of a file's bytes.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    manifest, graph : dict
    tensors : bytes

    Raises
    ------
    CorruptFileError
        If a bit is not as it was written, or if anything but the three members is there.
    """
    _check_digest(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive.infolist(), len(content))
            manifest, graph, tensors = (archive.read(name) for name in MEMBERS)
        return _from_json(manifest), _from_json(graph), tensors
    except (
        # All that zipfile and json raise on bytes that are made to break them.
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        KeyError,
        OSError,
        struct.error,
    ) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(f"the file is no archive of skinvert.save: {error}.") from None


def _check_digest(content):
    start = len(content) - _DIGITS
    if content[:2] != b"PK" or content[max(start - len(_MARK), 0) : max(start, 0)] != _MARK:
        raise CorruptFileError(
            "this is no file that skinvert.save wrote, or its end is missing; expected an archive "
            "that ends in its own digest. Save it again, or copy it again from where it is whole."
        )
    if hashlib.sha256(content[:start]).hexdigest().encode() != content[start:]:
        raise CorruptFileError(
            "the file was changed after it was written: its digest does not fit. Save it again, or "
            "copy it again from where it is whole."
        )


def _check_members(members, n_bytes):
    names = [member.filename for member in members]
    if sorted(names) != sorted(MEMBERS):
        raise CorruptFileError(
            f"the archive holds {names[:8]}, expected {list(MEMBERS)}, each once."
        )
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
            raise CorruptFileError(
                f"{member.filename} is compressed or encrypted; members are always stored."
            )
        if member.file_size != member.compress_size or member.file_size > n_bytes:
            raise CorruptFileError(
                f"{member.filename} claims {member.file_size} bytes in a file of {n_bytes}."
            )
        if member.filename != TENSORS and member.file_size > _MOST_JSON:
            raise CorruptFileError(
                f"{member.filename} has {member.file_size} bytes, at most {_MOST_JSON} are read."
            )


def _from_json(content):
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise CorruptFileError("the JSON is nested too deeply to be of skinvert.save.") from None
    if not isinstance(value, dict):
        raise CorruptFileError(f"the JSON holds a {type(value).__name__}, expected an object.")
    return value


def _refuse_constant(name):
    raise CorruptFileError(f"the JSON holds {name}, which is no number of JSON.")

"""What was finished stays finished: shards are whole or absent, and belong to one request."""

import json

import numpy as np
import pytest

from skinvert import shards
from skinvert.shards import ShardStore, fingerprint, write_atomically

SLICES = [slice(0, 3), slice(3, 6), slice(6, 7)]
IMAGES = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def test_shards_join_to_what_was_written_in_any_order(tmp_path):
    store = ShardStore(tmp_path / "images.npy", "one")
    for rows in reversed(SLICES):
        assert not store.has(rows)
        store.write(rows, IMAGES[rows])
        assert store.has(rows)
    joined = store.assemble(SLICES, (2, 2))
    np.testing.assert_array_equal(joined, IMAGES.reshape(-1, 2, 2))
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), joined)
    assert joined.dtype == np.float32
    assert isinstance(joined, np.memmap)
    assert not joined.flags.writeable


def test_nothing_is_left_beside_the_finished_file(tmp_path):
    store = ShardStore(str(tmp_path / "images.npy"), "one")
    for rows in SLICES:
        store.write(rows, IMAGES[rows])
    store.assemble(SLICES, (4,))
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_an_interrupted_request_is_resumed(tmp_path):
    ShardStore(tmp_path / "images.npy", "one").write(SLICES[1], IMAGES[SLICES[1]])
    again = ShardStore(tmp_path / "images.npy", "one")
    assert [again.has(rows) for rows in SLICES] == [False, True, False]


def test_shards_of_another_request_are_refused_and_kept(tmp_path):
    first = ShardStore(tmp_path / "images.npy", "one")
    first.write(SLICES[0], IMAGES[SLICES[0]])
    with pytest.raises(ValueError, match=r"another request.*Delete .*images\.npy\.parts"):
        ShardStore(tmp_path / "images.npy", "two")
    assert first.has(SLICES[0])


def test_two_files_of_one_folder_do_not_meet(tmp_path):
    first, second = ShardStore(tmp_path / "a.npy", "one"), ShardStore(tmp_path / "b.npy", "two")
    first.write(SLICES[0], IMAGES[SLICES[0]])
    assert first.has(SLICES[0])
    assert not second.has(SLICES[0])


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no except Exception stops it."""


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    store = ShardStore(tmp_path / "images.npy", "one")
    store.write(SLICES[0], IMAGES[SLICES[0]])
    before = sorted(path.name for path in store.folder.iterdir())

    def half_a_file(stream, *_, **__):
        stream.write(b"half")
        raise Interrupted

    monkeypatch.setattr(shards.np, "save", half_a_file)
    with pytest.raises(Interrupted):
        store.write(SLICES[1], IMAGES[SLICES[1]])
    assert not store.has(SLICES[1])
    assert sorted(path.name for path in store.folder.iterdir()) == before


def test_an_interrupted_overwrite_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def no_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(shards.os, "replace", no_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_manifest_is_readable(tmp_path):
    store = ShardStore(tmp_path / "images.npy", "abc")
    assert json.loads((store.folder / "manifest.json").read_text()) == {"fingerprint": "abc"}


def test_fingerprints_tell_requests_apart():
    requests = [
        (np.arange(4),),
        (np.arange(4).reshape(2, 2),),
        (np.arange(4.0),),
        (np.arange(4)[::-1],),
        ("a", "b"),
        ("ab",),
        (b"a", b"b"),
        ({"n_steps": 1},),
        ({"n_steps": 2},),
        (),
    ]
    prints = [fingerprint(*parts) for parts in requests]
    assert len(set(prints)) == len(prints)
    assert prints == [fingerprint(*parts) for parts in requests]


def test_fingerprints_see_every_value_of_a_long_array():
    # repr of a long array leaves its middle out.
    zeros = np.zeros(10_000)
    other = zeros.copy()
    other[5_000] = 1e-9
    assert fingerprint(zeros) != fingerprint(other)

"""Disks that refuse: the error is raised, and nothing half-written stays."""

import errno
import os

import numpy as np
import pytest
from subjects import METHODS, data, make, network

from skinvert import save, shards
from skinvert.shards import ShardStore, remove_abandoned, write_atomically


def fail(monkeypatch, step, code):
    """Make a step of every write fail, as a full disk or a read-only folder does."""

    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    if step == "open":
        monkeypatch.setattr(shards, "open", refused, raising=False)
    elif step == "write":

        class Full:
            def __init__(self, stream):
                self.stream = stream

            def write(self, content):
                self.stream.write(bytes(content)[: len(content) // 2])
                refused()

            def __getattr__(self, name):
                return getattr(self.stream, name)

        whole = shards._replacing.__enter__
        monkeypatch.setattr(shards._replacing, "__enter__", lambda self: Full(whole(self)))
    else:
        monkeypatch.setattr(shards.os, step, refused)


FAULTS = [
    ("open", errno.EROFS),
    ("open", errno.EACCES),
    ("write", errno.ENOSPC),
    ("fsync", errno.ENOSPC),
    ("fsync", errno.EIO),
    ("replace", errno.EROFS),
]


@pytest.mark.parametrize(("step", "code"), FAULTS)
@pytest.mark.parametrize("name", METHODS)
def test_fit_raises_what_the_disk_says(name, step, code, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail(patch, step, code)
        with pytest.raises(OSError) as caught:  # noqa: PT011 (the number is looked at)
            make(name, checkpoint=tmp_path / "fit.pt").fit(*data(n_rows=40))
    assert caught.value.errno == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("step", "code"), FAULTS)
def test_generate_raises_what_the_disk_says_and_goes_on_later(step, code, tmp_path, monkeypatch):
    estimator = make("ReGene", network()).fit(*data(n_rows=40))
    y, out = np.arange(70) % 3, tmp_path / "images.npy"
    write = ShardStore.write

    def second(self, rows, images):
        if rows.start:
            fail(monkeypatch, step, code)
        write(self, rows, images)

    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "write", second)
        with pytest.raises(OSError) as caught:  # noqa: PT011 (the number is looked at)
            estimator.generate(y, out=out)
    monkeypatch.undo()
    assert caught.value.errno == code
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy.parts"]
    assert not list(tmp_path.rglob("*.tmp"))
    np.testing.assert_array_equal(estimator.generate(y, out=out), estimator.generate(y))


@pytest.mark.parametrize(("step", "code"), FAULTS)
def test_save_raises_what_the_disk_says(step, code, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail(patch, step, code)
        with pytest.raises(OSError) as caught:  # noqa: PT011 (the number is looked at)
            save(make("InputOptimizationGenerator"), tmp_path / "net.skinvert")
    assert caught.value.errno == code
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "fit.pt"
    write_atomically(path, b"whole")
    host = shards.socket.gethostname()
    dead = tmp_path / f"fit.pt.{host}-4194305-{'0' * 32}.tmp"  # beyond the largest process number
    alive = tmp_path / f"fit.pt.{host}-{os.getpid()}-{'0' * 32}.tmp"
    elsewhere = tmp_path / f"fit.pt.not-{host}-4194305-{'0' * 32}.tmp"
    mine = tmp_path / "fit.pt.notes.tmp"
    for file in (dead, alive, elsewhere, mine):
        file.write_bytes(b"half")
    remove_abandoned(path)
    assert {file.name for file in tmp_path.iterdir()} == {
        file.name for file in (path, alive, elsewhere, mine)
    }

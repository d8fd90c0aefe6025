"""Corrupted and forged files against `skinvert.load`: how many are tried, how many get through."""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from unittest import mock

import joblib
import numpy as np
import torch
from subjects import METHODS, data, make, network

import skinvert
from skinvert.persistence import CorruptFileError, PersistenceError, archive
from skinvert.persistence.encoding import encode

DOORS = (
    (os, "system"),
    (os, "popen"),
    (subprocess, "Popen"),
    (pickle, "load"),
    (pickle, "loads"),
    (pickle, "Unpickler"),
    (torch, "load"),
    (np, "load"),
    (joblib, "load"),
    (zipfile.ZipFile, "extract"),
    (zipfile.ZipFile, "extractall"),
)


def genuine_parts(name):
    """Manifest, graph and tensors of a fitted estimator's file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = make(name, network() if name == "ReGene" else None).fit(*data(n_rows=40))
    graph, tensors, needs = encode(fitted)
    versions = {"skinvert": skinvert.__version__}
    return {"format": 1, "class": "", "needs": needs, "versions": versions}, graph, tensors


def _gets_through(content, folder, refusal):
    path = Path(folder) / "file"
    path.write_bytes(content)
    try:
        skinvert.load(path)
    except refusal:
        return False
    return True


def corruptions(n_files, seed=0):
    """Cut, flip, drop, blank and repeat bytes; how many files were made, how many loaded."""
    whole = archive.pack(*genuine_parts("InvertibleFlowClassifier"))
    rng = np.random.default_rng(seed)
    n_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_files):
            place = int(rng.integers(len(whole)))
            end = min(len(whole), place + int(rng.integers(1, 40)))
            kind = number % 5
            if kind == 0:
                changed = whole[:place]
            elif kind == 1:
                flipped = bytes([whole[place] ^ (1 << int(rng.integers(8)))])
                changed = whole[:place] + flipped + whole[place + 1 :]
            elif kind == 2:
                changed = whole[:place] + whole[end:]
            elif kind == 3:
                noise = bytes(255 - byte for byte in whole[place:end])
                changed = whole[:place] + noise + whole[end:]
            else:
                changed = whole[:end] + whole[place:]
            n_wrong += _gets_through(changed, folder, CorruptFileError)
    return n_files, n_wrong


def hostile(n_files):
    """Every forgery of tests/test_persistence.py on estimators of all methods in turn."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from test_persistence import ESTIMATOR, HOSTILE

    graph, tensors, needs = encode(ESTIMATOR)
    versions = {"skinvert": skinvert.__version__}
    bases = [({"format": 1, "class": "", "needs": needs, "versions": versions}, graph, tensors)]
    bases += [genuine_parts(name) for name in METHODS]
    n_wrong = n_tried = 0
    with tempfile.TemporaryDirectory() as folder:
        for forge, base in ((forge, base) for base in bases for forge in HOSTILE.values()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = forge(*base)
            # Some forgeries change what an estimator does not have.
            if n_tried == n_files or content == archive.pack(*base):
                continue
            n_tried += 1
            with contextlib.ExitStack() as stack:
                bells = [
                    stack.enter_context(mock.patch.object(owner, name)) for owner, name in DOORS
                ]
                n_wrong += _gets_through(content, folder, PersistenceError)
                n_wrong += sum(bell.called for bell in bells)
    return n_tried, n_wrong

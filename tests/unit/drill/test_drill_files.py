"""What is read of the files that a run leaves behind, and how often."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

import holdfast
from holdfast import foreign
from holdfast.drill.checkpoint_files import find
from holdfast.drill.compare import compare
from holdfast.drill.record import Record
from holdfast.drill.results import read_all
from holdfast.drill.work_folder import RunFolder
from holdfast.errors import UnsupportedLeaf


def records(tmp_path, save):
    """Two runs, in the second of which every array is another."""
    found = []
    for number in range(2):
        folder = RunFolder(tmp_path / f"run-{number}", {})
        folder.work.mkdir(parents=True)
        save(folder.work, {f"layer {i}": np.full(3, float(i + number)) for i in range(20)})
        saved = read_all(folder, find(folder), holdfast.Store)
        found.append(Record((), {one.key: one for one in saved}))
    return found


def test_a_file_is_read_once_however_many_of_its_arrays_differ(tmp_path, monkeypatch):
    reads = []
    read = foreign.read

    def counted(path, **options):
        reads.append(path)
        return read(path, **options)

    monkeypatch.setattr(foreign, "read", counted)
    one, other = records(tmp_path, lambda work, tree: np.savez(work / "state.npz", **tree))
    difference = compare(one, other)
    assert len(difference.leaves) == 20 and difference.farthest > 0.0
    assert all(leaf.distance is not None for leaf in difference.leaves)
    assert len(reads) == 2


def test_a_checkpoint_is_unpacked_once_however_many_of_its_arrays_differ(tmp_path, monkeypatch):
    unpacked = []
    unpack = holdfast.Store.unpack

    def counted(self, info, folder):
        unpacked.append(info.ref)
        return unpack(self, info, folder)

    monkeypatch.setattr(holdfast.Store, "unpack", counted)
    one, other = records(
        tmp_path, lambda work, tree: holdfast.save(work / "ckpts", tree, run="r", step=1)
    )
    difference = compare(one, other)
    assert len(difference.leaves) == 20
    assert difference.farthest == pytest.approx(np.sqrt(3.0))  # Of zeros: how far away.
    # Once to look at it, once to measure.
    assert len(unpacked) == 4


def test_a_value_that_is_named_by_its_place_is_the_same_elsewhere(tmp_path):
    found = []
    for number in range(2):
        folder = RunFolder(tmp_path / f"run-{number}", {})
        folder.work.mkdir(parents=True)
        best = {str(folder.work / "epoch=1.ckpt"): np.float32(0.5)}
        (folder.work / "last.pkl").write_bytes(pickle.dumps({"best_k_models": best}))
        saved = read_all(folder, find(folder), holdfast.Store)
        found.append(Record((), {one.key: one for one in saved}))
    assert list(found[0].saved["work/last.pkl"].leaves) == ["best_k_models/{run}/work/epoch=1.ckpt"]
    assert compare(*found).is_none


def test_a_file_that_cannot_be_looked_into_is_one_leaf(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run", {})
    folder.work.mkdir(parents=True)
    with zipfile.ZipFile(folder.work / "model.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"weights" * 9)
    whole = (folder.work / "model.keras").read_bytes()
    (folder.work / "model.keras").write_bytes(whole.replace(b"weights", b"Weights", 1))
    np.savez(folder.work / "state.npz", w=np.zeros(3))
    monkeypatch.setattr(foreign.ForeignArray, "numpy", unknown_type)
    for saved in read_all(folder, find(folder), holdfast.Store):
        assert saved.leaves.keys() == {"bytes"} and saved.problem, saved.key


def unknown_type(array):
    raise UnsupportedLeaf("NumPy has no such dtype.")

"""What is read of the files that a run leaves behind, and how often."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import holdfast
from holdfast import foreign
from holdfast.drill import checkpoint_files
from holdfast.drill.compare import compare
from holdfast.drill.record import Record
from holdfast.drill.work_folder import RunFolder


def records(tmp_path, save):
    """Two runs, in the second of which every array is another."""
    found = []
    for number in range(2):
        folder = RunFolder(tmp_path / f"run-{number}", {})
        folder.work.mkdir(parents=True)
        save(folder.work, {f"layer {i}": np.full(3, float(i + number)) for i in range(20)})
        saved = checkpoint_files.read_all(folder, checkpoint_files.find(folder), holdfast.Store)
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
        saved = checkpoint_files.read_all(folder, checkpoint_files.find(folder), holdfast.Store)
        found.append(Record((), {one.key: one for one in saved}))
    assert list(found[0].saved["work/last.pkl"].leaves) == ["best_k_models/{run}/work/epoch=1.ckpt"]
    assert compare(*found).is_none

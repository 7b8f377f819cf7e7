"""Export and import say what they change, leave, or take for something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.errors import CannotConvert, ForeignDamaged, UsageError

W = np.arange(3.0)


def told(path: str, numbers: int) -> str:
    return f"{path}: {numbers} keys that are numbers became texts"


@pytest.mark.parametrize(
    ("format", "notes"),
    [
        ("hdf5", (told("mixed", 1),)),
        ("orbax", (told("mixed", 1), told("numbers", 2))),
    ],
)
def test_numbers_as_keys_that_become_texts_are_told(
    tmp_path: Path, format: str, notes: tuple[str, ...]
) -> None:
    state = {"mixed": {1: W, "a": W}, "numbers": {0: W, 1: W}}
    holdfast.save(tmp_path / "store", state, run="r", step=0, rng=False)
    report = export(tmp_path / "store", "r@0", tmp_path / "out", format=format)
    assert report.notes == notes
    import_checkpoint(tmp_path / "store", tmp_path / "out", run="back")
    back = holdfast.load(tmp_path / "store", "back@0")
    assert set(back["mixed"]) == {"1", "a"}
    assert set(back["numbers"]) == ({0, 1} if len(notes) == 1 else {"0", "1"})


def imported(tmp_path: Path, path: Path, **how: Any) -> list[str]:
    notes: list[str] = []
    import_checkpoint(tmp_path / "store", path, run="r", on_note=notes.append, **how)
    return notes


def test_what_lies_beside_the_weights_and_is_not_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    save_file({"w": W}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    assert imported(tmp_path, folder) == []
    (folder / "optimizer.bin").write_bytes(b"x")
    assert imported(tmp_path, folder) == ["not read, though beside them: 'optimizer.bin'"]


def test_a_file_is_not_taken_for_another_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=W)
    with pytest.raises(UsageError, match="is of the format npz, not torch"):
        imported(tmp_path, tmp_path / "a.npz", format="torch")
    assert imported(tmp_path, tmp_path / "a.npz", format="npz") == []


def test_a_folder_of_files_says_which_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "epochs"
    folder.mkdir()
    for epoch in range(5):
        np.savez(folder / f"{epoch}.npz", w=W)
    (folder / "notes.txt").write_text("x")
    with pytest.raises(CannotConvert, match=r"in it are '0.npz', .* and others"):
        imported(tmp_path, folder)


def test_convert_is_there_with_the_package() -> None:
    assert holdfast.convert.export is export


def test_a_rule_for_names_that_matches_none_is_told(tmp_path: Path) -> None:
    save_file({"a.weight": W, "b.bias": W}, tmp_path / "w.safetensors")
    notes: list[str] = []
    rules = ["^model/=", "weight$=kernel", "kernel$=k", "@unwrap"]
    where = tmp_path / "w.safetensors"
    import_checkpoint(tmp_path / "store", where, run="r", rename=rules, on_note=notes.append)
    assert notes == ["no name matched --rename '^model/='"]
    assert set(holdfast.load(tmp_path / "store", "r@0")) == {"a.k", "b.bias"}


def test_a_shape_that_no_array_can_have_is_refused(tmp_path: Path) -> None:
    """It has no elements, and so fits into any file."""
    entry = {"dtype": "F32", "shape": [2**40, 2**40, 0], "data_offsets": [0, 0]}
    header = json.dumps({"w": entry}).encode()
    where = tmp_path / "w.safetensors"
    where.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ForeignDamaged, match="no array can have"):
        import_checkpoint(tmp_path / "store", where, run="r")


def test_rules_reach_names_in_lists(tmp_path: Path) -> None:
    nets = [{"old.w": torch.ones(2)}, ({"old.w": torch.zeros(2)}, 3)]
    torch.save({"nets": nets, "old.n": 1}, tmp_path / "x.pt")
    notes: list[str] = []
    import_checkpoint(
        tmp_path / "s", tmp_path / "x.pt", run="r", rename=[r"^old\.=new."], on_note=notes.append
    )
    found = holdfast.load(tmp_path / "s", "r@0")
    assert found["new.n"] == 1
    assert [list(found["nets"][0]), list(found["nets"][1][0])] == [["new.w"], ["new.w"]]
    assert notes == []

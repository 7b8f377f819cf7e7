"""Weights of PyTorch in several files, with the index that transformers puts beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import holdfast
from holdfast.convert import import_checkpoint
from holdfast.errors import ForeignDamaged

WEIGHTS = {f"layers.{i}.weight": torch.arange(6.0).reshape(2, 3) + i for i in range(5)}
INDEX = "pytorch_model.bin.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "theirs"
    made.mkdir()
    places = {}
    for number, names in enumerate((list(WEIGHTS)[:3], list(WEIGHTS)[3:]), 1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: WEIGHTS[name] for name in names}, made / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 120}, "weight_map": places}
    (made / INDEX).write_text(json.dumps(index))
    (made / "config.json").write_text("{}")
    return made


@pytest.mark.parametrize("given", ["folder", "index"])
def test_all_files_are_one_checkpoint(tmp_path: Path, folder: Path, given: str) -> None:
    path = folder if given == "folder" else folder / INDEX
    import_checkpoint(tmp_path / "store", path, run="r")
    tree = holdfast.load(tmp_path / "store", "r@0")
    assert list(tree) == list(WEIGHTS)
    assert all(torch.equal(tree[name], weight) for name, weight in WEIGHTS.items())


def test_what_is_beside_them_is_told(tmp_path: Path, folder: Path) -> None:
    torch.save({}, folder / "optimizer.pt")
    notes: list[str] = []
    import_checkpoint(tmp_path / "store", folder, run="r", on_note=notes.append)
    assert notes == ["not read, though beside them: 'optimizer.pt'"]


@pytest.mark.parametrize("harm", ["gone", "other", "unlisted", "outside"])
def test_what_the_index_does_not_say_is_refused(tmp_path: Path, folder: Path, harm: str) -> None:
    index = json.loads((folder / INDEX).read_text())
    first = index["weight_map"]["layers.0.weight"]
    if harm == "gone":
        (folder / first).unlink()
    elif harm == "other":
        torch.save({"layers.0.weight": WEIGHTS["layers.0.weight"]}, folder / first)
    elif harm == "unlisted":
        del index["weight_map"]["layers.1.weight"]
    else:
        (folder / first).rename(tmp_path / first)
        index["weight_map"]["layers.0.weight"] = f"../{first}"
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ForeignDamaged, match="is not that of whole weights"):
        import_checkpoint(tmp_path / "store", folder, run="r")

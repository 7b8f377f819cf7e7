"""A folder of checkpoints of one training becomes a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import holdfast
from holdfast import Store
from holdfast.convert import import_series
from holdfast.convert.series import series_in, step_in
from holdfast.errors import CannotConvert, ForeignDamaged, NotFound, UsageError


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint_100.pth", 100),
        ("checkpoint-500", 500),
        ("epoch=3-step=120.ckpt", 120),
        ("step_20_loss_0.5.pt", 20),
        ("model.v2.007.pt", 7),
        ("weights.05.weights.h5", 5),
        ("global_step10", 10),
        ("12", 12),
        ("epoch.10", 10),
        ("best.pth", None),
        ("model.h5", None),
        ("last.ckpt", None),
        (f"x{2**63}.pt", None),
    ],
)
def test_a_name_tells_its_step(name: str, step: int | None) -> None:
    assert step_in(name) == step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "old"
    made.mkdir()
    for step in (100, 20, 3):
        torch.save({"model": {"w": torch.full((3,), float(step))}}, made / f"ckpt_{step}.pth")
    torch.save({"w": torch.ones(3)}, made / "best.pth")
    (made / "log_7.txt").write_text("no checkpoint")
    return made


def test_each_becomes_a_checkpoint_of_the_run(folder: Path, tmp_path: Path) -> None:
    (folder / "export-5").mkdir()
    save_file({"model/w": np.full(3, 5.0)}, folder / "export-5" / "model.safetensors")
    notes: list[str] = []
    saved = import_series(tmp_path / "c", folder, run="r", on_note=notes.append)
    assert [info.step for info in saved] == [3, 5, 20, 100]
    assert [info.step for info in Store(tmp_path / "c").log("r")] == [3, 5, 20, 100]
    assert holdfast.load(tmp_path / "c", "r@20")["model"]["w"].tolist() == [20.0] * 3
    assert [note for note in notes if "best" in note] == [
        "best.pth has no number in its name, and was not imported"
    ]


def test_what_is_there_already_is_not_taken_again(folder: Path, tmp_path: Path) -> None:
    holdfast.save(tmp_path / "c", {"w": np.ones(3)}, run="r", step=20)
    with pytest.raises(UsageError, match="Run 'r' has step 20 already"):
        import_series(tmp_path / "c", folder, run="r")
    assert len(Store(tmp_path / "c").log("r")) == 1


def test_nothing_is_saved_where_one_of_them_is_damaged(folder: Path, tmp_path: Path) -> None:
    path = folder / "ckpt_100.pth"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ForeignDamaged, match="ckpt_100"):
        import_series(tmp_path / "c", folder, run="r")
    assert not (tmp_path / "c").exists()


def test_two_of_one_step_are_refused(folder: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, folder / "other-20.pth")
    with pytest.raises(CannotConvert, match=r"'ckpt_20.pth' and 'other-20.pth' .* of step 20"):
        import_series(tmp_path / "c", folder, run="r")


def test_a_checkpoint_that_is_a_folder_is_no_series(tmp_path: Path) -> None:
    made = tmp_path / "hf"
    made.mkdir()
    for part in (1, 2):
        save_file({f"w{part}": np.ones(3)}, made / f"model-0000{part}-of-00002.safetensors")
    index = '{"weight_map": {"w1": "model-00001-of-00002.safetensors"}}'
    (made / "model.safetensors.index.json").write_text(index)
    assert series_in(made) == []
    assert series_in(made / "model-00001-of-00002.safetensors") == []
    with pytest.raises(CannotConvert, match="no checkpoint whose name tells its step"):
        import_series(tmp_path / "c", made, run="r")
    with pytest.raises(NotFound):
        import_series(tmp_path / "c", tmp_path / "nothing", run="r")

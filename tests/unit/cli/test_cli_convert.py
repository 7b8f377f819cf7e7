"""``export`` and ``import`` of PyTorch's and NumPy's files, as users call them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from cli_running import holdfast

import holdfast as library


def test_there_and_back(store_path: Path, tmp_path: Path) -> None:
    state = {"model": {"w": torch.ones(2, 3)}, "at": Path("x"), "n": 3}
    library.save(store_path, state, run="r", step=0, rng=False)
    for name in ("torch", "dcp"):
        done = holdfast(
            "export", "r@0", tmp_path / name, "--format", name, "--json", store=store_path
        )
        assert done.status == 0 and done.json["changed"] == ["at: PosixPath became str"]
        done = holdfast("import", tmp_path / name, "--run", name, "--root", "all", store=store_path)
        assert done.status == 0 and f"{name}@0 is saved" in done.out
        found = library.load(store_path, f"{name}@0")["all"]
        assert torch.equal(found["model"]["w"], torch.ones(2, 3)) and found["n"] == 3


def test_what_changed_is_told(store_path: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "seen": {2, 1}}, tmp_path / "x.pt")
    done = holdfast("import", tmp_path / "x.pt", "--run", "r", store=store_path)
    assert done.status == 0 and "seen: set became list" in done.out
    done = holdfast(
        "import", tmp_path / "x.pt", "--run", "r", "--step", 1, "--json", store=store_path
    )
    assert done.json["changed"] == ["seen: set became list"]


def test_what_goes_wrong_has_its_status(store_path: Path, tmp_path: Path) -> None:
    library.save(store_path, {"w": np.zeros(2, "<U3")}, run="r", step=0, rng=False)
    done = holdfast("export", "r@0", tmp_path / "x", "--format", "torch", store=store_path)
    assert done.status == 2 and "'w' has the dtype np:<U3" in done.err
    done = holdfast("export", "r@0", tmp_path / "x", "--format", "foo", store=store_path)
    assert done.status == 2 and "npz, and, to be read only, pickle" in done.err
    done = holdfast("import", tmp_path / "none", "--run", "r", store=store_path)
    assert done.status == 2 and not (tmp_path / "x").exists()
    done = holdfast("import", tmp_path, "--run", "r", "--unknown", "maybe", store=store_path)
    assert done.status == 2 and "--unknown is 'refuse' or 'keep'" in done.err
    torch.save({"w": torch.ones(9)}, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: len(data) // 2])
    done = holdfast("import", tmp_path / "x.pt", "--run", "r", store=store_path)
    assert done.status == 1 and "no whole zip archive" in done.err

"""Exports and imports of more than they may hold in memory at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nested_states import assert_same

import holdfast

CHILD = Path(__file__).with_name("exporting_child.py")
N_ARRAYS, ARRAY_BYTES = 14, 32 << 20
# A few chunks of 32 MiB, for as many threads, and what writes packs; less than there is in all.
EXPORT_MB, IMPORT_MB = 220, 330


def grown_mb(*arguments: object) -> float:
    done = subprocess.run(
        [sys.executable, CHILD, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    dice = np.random.default_rng(0)
    # One that goes across chunks, many that lie in one, and one that does not lie as it is wanted.
    found = {f"w{i}": dice.standard_normal(ARRAY_BYTES // 4, np.float32) for i in range(N_ARRAYS)}
    return {name: torch.from_numpy(array) for name, array in found.items()}


@pytest.mark.parametrize("name", ["torch", "npz"])
def test_memory_is_bounded_by_a_few_chunks(
    tmp_path: Path, state: dict[str, torch.Tensor], name: str
) -> None:
    holdfast.save(tmp_path / "s", {"model": state}, run="r", step=0, rng=False)
    assert N_ARRAYS * ARRAY_BYTES >> 20 > IMPORT_MB + 100
    assert grown_mb("export", tmp_path / "s", tmp_path / "out", name) < EXPORT_MB
    assert grown_mb("import", tmp_path / "s", tmp_path / "out", "back") < IMPORT_MB
    found = holdfast.load(tmp_path / "s", "back@0")
    if name == "npz":
        found = {key: torch.from_numpy(array) for key, array in found.items()}
    assert_same(found, state)


def test_tensors_that_lie_across_are_read_in_little_memory(tmp_path: Path) -> None:
    state = {"a": torch.randn(9000, 12_000).T}
    torch.save(state, tmp_path / "x.pt")
    assert grown_mb("import", tmp_path / "s", tmp_path / "x.pt", "r") < IMPORT_MB
    assert torch.equal(holdfast.load(tmp_path / "s", "r@0")["a"], state["a"])

"""Checkpoints stored as differences, for the tests of those: made, looked into, and damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import holdfast
from holdfast.chunks.encoder import Compress
from holdfast.format.part import ChunkRow, Part
from holdfast.records import commits
from holdfast.records.opening import open_store

Tree = dict[str, Any]


def begun() -> Tree:
    """Weights that will take small steps, noise that will be other noise, and what stays."""
    rng = np.random.default_rng(0)
    return {
        "w": (rng.standard_normal((700, 500)) * 0.02).astype(np.float32),
        "noise": rng.integers(0, 256, 300_001, dtype=np.uint8),
        "raw": rng.integers(0, 256, 400_003, dtype=np.uint8),
        "still": np.arange(100_000),
        "small": [np.full(7, 0, np.int16), np.arange(5.0)],
    }


def stepped(tree: Tree, step: int) -> Tree:
    """The next state: ``w`` moves a little, some of ``raw`` changes, all of ``noise`` does."""
    rng = np.random.default_rng(step)
    raw = tree["raw"].copy()
    raw[rng.integers(0, raw.size, 2000)] ^= 1
    w = tree["w"] + (rng.standard_normal(tree["w"].shape) * 2e-7).astype(np.float32)
    noise = rng.integers(0, 256, 300_001, dtype=np.uint8)
    return {**tree, "w": w, "raw": raw, "noise": noise, "small": [np.full(7, step), tree["small"]]}


def states(count: int) -> list[Tree]:
    made = [begun()]
    for step in range(1, count):
        made.append(stepped(made[-1], step))
    return made


def save(where: Any, made: Sequence[Tree], compress: Compress = "delta", first: int = 0) -> None:
    for step, tree in enumerate(made, first):
        holdfast.save(where, tree, run="r", step=step, rng=False, compress=compress)


NAMES = ("w", "noise", "raw", "still")


def same(found: Tree, expected: Tree) -> bool:
    return all(found[n].tobytes() == expected[n].tobytes() for n in NAMES)


def zeros(tree: Tree) -> Tree:
    return {name: np.zeros_like(tree[name]) for name in NAMES}


def check_all(where: Any, made: Sequence[Tree]) -> None:
    for step, tree in enumerate(made):
        for verify in ("fast", "full"):
            assert same(holdfast.load(where, f"r@{step}", verify=verify), tree)
            into = zeros(tree)
            holdfast.load(where, f"r@{step}", into=into, only=NAMES, verify=verify)
            assert same(into, tree)


def part_of(location: Any, seq: int, *, keys: Any = None) -> Part:
    store = open_store(location, create=False, keys=keys)
    record = commits.read_commit(store, "r", seq)
    return commits.read_part(store, record, record.parts[0])


def row_of(part: Part, name: str) -> ChunkRow:
    """The first chunk of an array, which in these states come in the order of their names here."""
    return part.chunks[NAMES.index(name)]


def codecs(location: Any, seq: int) -> list[int]:
    return [row_of(part_of(location, seq), name).codec for name in NAMES]


def flip(location: Path, part: Part, row: ChunkRow, at: int) -> None:
    # In an encrypted store the folder of the run has another name.
    (path,) = location.glob(f"runs/*/packs/{part.packs[row.pack].key.rpartition('/')[2]}")
    data = bytearray(path.read_bytes())
    data[row.offset + at] ^= 4
    path.write_bytes(data)


def base_of(part: Part, name: str = "w") -> ChunkRow:
    base = row_of(part, name).base
    assert base is not None
    return part.chunks[base]

"""Parts of several ranks put together, and what does not fit together."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.engine.new_job import encode_plan
from holdfast.errors import ManifestDamaged
from holdfast.format import part as part_format
from holdfast.format.digests import digest
from holdfast.format.lean import Replicas
from holdfast.format.names import RunKeys
from holdfast.format.part import ChunkRow, PackRow, Part
from holdfast.format.shared import SharedRow, decode_header
from holdfast.format.tree import NodeKind
from holdfast.plan.layout import plan_layout
from holdfast.plan.sharing import Shares
from holdfast.records.differing import Disagreement, first_difference
from holdfast.records.joined import shared_root
from holdfast.records.whole import put_together
from holdfast.state.flatten import flatten
from holdfast.state.sharding import Sharing

CHECKPOINT = "c" * 32
# Written when each part had a whole tree: parts of format 1.
OLD = json.loads((Path(__file__).parent / "trees_of_ranks.json").read_text())


def plan_of(state: dict[str, Any], rank: int, world_size: int) -> tuple[bytes, Sequence[int]]:
    """Return what a rank plans to write of a state, and the lengths of its chunks."""
    own = "own"
    sharing = Sharing(rank, world_size, Shares().writer_of, lambda path: path == own, 64)
    flat = flatten(state, sharing=sharing)
    layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
    plan = encode_plan(flat, layout, "r", 1, CHECKPOINT, among=(rank, world_size))
    return plan, layout.lengths


def part_of(state: dict[str, Any], rank: int, world_size: int) -> Part:
    """Return the part that a rank would write of a state, its chunks at made-up places."""
    plan, lengths = plan_of(state, rank, world_size)
    chunks = [
        ChunkRow(bytes([rank, i]) * 16, b"x" * 16, n, 0, i * 4096) for i, n in enumerate(lengths)
    ]
    packs = [PackRow(RunKeys("r").pack(CHECKPOINT, rank * 100_000), 4096 * (1 + len(chunks)))]
    return part_format.decode(part_format.complete(plan, chunks, packs), what="a part")


def state(rank: int = 0, **changes: Any) -> dict[str, Any]:
    tied = np.arange(40.0)
    found = {"w": tied, "again": tied, "small": np.ones(3), "n": 3, "own": {"r": np.full(2, rank)}}
    return {**found, **changes}


def old(parts: Sequence[str]) -> list[Part]:
    return [part_format.decode(base64.b64decode(data), what="a part") for data in parts]


@pytest.mark.parametrize("kind", ["lean", "whole trees"])
def test_it_is_as_one_process_would_have_saved_it(kind: str) -> None:
    parts = [part_of(state(rank), rank, 3) for rank in range(3)]
    if kind == "whole trees":
        parts = old(OLD["sound"])
    found = put_together(parts, 1, "r@1")
    kinds = {node.path: node.kind for node in found.root.leaves()}
    assert kinds == {
        "w": NodeKind.ARRAY,
        "again": NodeKind.ALIAS,
        "small": NodeKind.ARRAY,
        "n": NodeKind.INT,
        "own/r": NodeKind.ARRAY,
    }
    rows = {node.path: found.arrays[node.row] for node in found.root.leaves() if node.row >= 0}
    assert rows["w"] is rows["again"]
    w, own = rows["w"], rows["own/r"]
    assert isinstance(w, SharedRow) and w.shape == (40,) and len(w.pieces) == 5
    # Each rank has written some of it, and the rank that reads has its own.
    writers = {found.chunks[piece.chunk].digest[0] for piece in w.pieces}
    assert writers == {0, 1, 2}
    assert not isinstance(own, SharedRow) and found.chunks[own.chunk].digest[0] == 1


def test_a_rank_that_was_not_there_has_nothing_of_its_own() -> None:
    parts = [part_of(state(rank), rank, 2) for rank in range(2)]
    found = put_together(parts, 5, "r@1")
    assert [node.kind for node in found.root.children][-1] == NodeKind.OMITTED


@pytest.mark.parametrize(
    ("changes", "path", "what"),
    [
        ({"n": 4}, "n", "4, where rank 0 has 3"),
        ({"n": 3.0}, "n", "float, where rank 0 has int"),
        ({"w": np.arange(41.0)}, "w", "float64[41], where rank 0 has float64[40]"),
        ({"w": np.arange(40, dtype=np.int64)}, "w", "int64[40], where rank 0 has float64[40]"),
        ({"small": [1, 2]}, "small", "list, where rank 0 has custom holdfast:part-of"),
        ({"more": 1}, "more", "int, where rank 0 has nothing"),
        # By its key, whatever comes after it and is another kind of node for that.
        ({"a": 1, "n": 4}, "a", "int, where rank 0 has nothing"),
        ({"again": np.arange(40.0)}, "again", "custom holdfast:part-of, where rank 0 has"),
    ],
)
def test_ranks_that_differ(changes: dict[str, Any], path: str, what: str) -> None:
    parts = [part_of(state(), 0, 2), part_of(state(**changes), 1, 2)]
    # The digests tell that they differ; where, the trees that both had.
    with pytest.raises(Disagreement, match="digests") as caught:
        put_together(parts, 0, "r@1")
    assert caught.value.rank == 1
    found = first_difference(root_of(state()), root_of(state(**changes)), 1)
    assert found is not None and (found.path, found.rank) == (path, 1)
    assert what in found.what


def test_what_a_rank_has_not_is_told_by_its_key() -> None:
    less = {name: value for name, value in state().items() if name != "n"}
    found = first_difference(root_of(state()), root_of(less), 1)
    assert found is not None and found.path == "n"
    assert found.what == "nothing, where rank 0 has int"


def root_of(state: dict[str, Any]) -> Any:
    """Return the shared tree as rank 0 of two has it."""
    lean = part_of(state, 0, 2).lean
    assert lean is not None
    return shared_root(lean.shared, "a tree")


def test_the_tree_of_all_is_the_same_on_every_rank_and_stands_in_one_part() -> None:
    parts = [part_of(state(rank), rank, 3) for rank in range(3)]
    leans = [part.lean for part in parts if part.lean is not None]
    assert [bool(lean.shared) for lean in leans] == [True, False, False]
    assert len({lean.plan for lean in leans}) == 1
    roots = [root_of(state(rank)) for rank in range(3)]
    assert all(first_difference(roots[0], root, 1) is None for root in roots)


@pytest.mark.parametrize("name", sorted(OLD["differ"]))
def test_whole_trees_that_differ(name: str) -> None:
    with pytest.raises(Disagreement) as caught:
        put_together(old(OLD["differ"][name]), 0, "r@1")
    assert caught.value.rank == 1 and "where rank 0 has" in caught.value.what


@pytest.mark.parametrize(("name", "what"), [("uncovered", "in no box"), ("twice", "overlap")])
def test_whole_trees_whose_boxes_do_not_fit(name: str, what: str) -> None:
    with pytest.raises(Disagreement, match=what):
        put_together(old(OLD[name]), 0, "r@1")


def test_whole_trees_and_lean_parts_are_not_mixed() -> None:
    for parts in (
        [part_of(state(), 0, 3), *old(OLD["sound"])[1:]],
        [*old(OLD["sound"])[:2], part_of(state(), 2, 3)],
    ):
        with pytest.raises(Disagreement, match="of another kind"):
            put_together(parts, 0, "r@1")


def test_what_a_lean_part_must_not_say() -> None:
    part = part_of(state(), 1, 2)
    lean = part.lean
    assert lean is not None and lean.n_boxes > 1
    changes: list[tuple[str, dict[str, Any]]] = [
        ("no digest", {"plan": b"short"}),
        ("order of their arrays", {"array": list(reversed(lean.array))}),
        ("as many as their offsets", {"at": [*lean.at, 0]}),
        ("beyond all arrays", {"at": [2**63, *lean.at[1:]]}),
        ("in no other", {"shared": b"x", "plan": digest(b"x")}),
        ("not what its digest says", {"shared": b"x"}),
        ("as many as the replicas", {"replicas": Replicas([0], [0], b"")}),
    ]
    for what, change in changes:
        bad = dataclasses.replace(part, lean=dataclasses.replace(lean, **change))
        with pytest.raises(ManifestDamaged, match=what):
            part_format.decode(part_format.encode(bad), what="a part")
    fits: list[tuple[str, dict[str, Any]]] = [
        ("another kind", {}),
        ("sticks out", {"at": [*lean.at[:-1], 1 << 40]}),
        ("not there", {"array": [*lean.array[:-1], 99]}),
    ]
    for what, change in fits:
        if what == "another kind":
            rows = [row._replace(dtype="int64") for row in part.arrays]
            bad = dataclasses.replace(part, arrays=rows)
        else:
            bad = dataclasses.replace(part, lean=dataclasses.replace(lean, **change))
        with pytest.raises(Disagreement, match=what):
            put_together([part_of(state(), 0, 2), bad], 0, "r@1")


def test_boxes_that_nobody_has_written() -> None:
    parts = [part_of(state(), 0, 3), part_of(state(), 1, 3)]
    with pytest.raises(Disagreement, match="elements are in no box"):
        put_together(parts, 0, "r@1")


def test_boxes_that_two_have_written() -> None:
    parts = [part_of(state(), 0, 2), part_of(state(), 0, 2)]
    with pytest.raises(Disagreement, match="overlap"):
        put_together(parts, 0, "r@1")


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"numpy:float32",
        b"numpy:float32\0",
        b"numpy\0" + bytes(8),
        b"numpy:nothing\0" + bytes(8),
        b"numpy:float32\0" + bytes(7),
        b"numpy:float32\0" + (65).to_bytes(8, "little") + bytes(8 * 130),
        b"numpy:float32\0"
        + (1).to_bytes(8, "little")
        + (-1).to_bytes(8, "little", signed=True) * 2,
        b"numpy:float32\0" + (1).to_bytes(8, "little"),
        b"\xff:float32\0" + bytes(8),
    ],
)
def test_headers_that_are_none(data: object) -> None:
    with pytest.raises(ValueError):
        decode_header(data, 1)

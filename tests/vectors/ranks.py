"""The store of several ranks: two checkpoints of three ranks each, put together by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from blake3 import blake3
from making import Arrays, Files, Packs, Tree, commit, encoded, head, link, marker, statement

from holdfast.format.schema import TreeMessage
from holdfast.format.tree import NodeKind as K

RUN = "ranks"
IDS = ("abcd" * 8, "dcba" * 8)
WORLD = 3
# Each rank's packs are numbered on their own.
PACKS_OF_RANK = 100_000

Box = tuple[int, tuple[int, ...], tuple[int, ...], bytes]


def header(kind: str, shape: Sequence[int]) -> bytes:
    return kind.encode() + b"\0" + struct.pack(f"<{1 + len(shape)}q", len(shape), *shape)


def part_of(tree: Tree, kind: str, shape: Sequence[int], layout: str = "") -> None:
    tree.container(K.CUSTOM, 1, "holdfast:part-of")
    tree.container(K.TUPLE, 2 if layout else 1)
    tree.leaf(K.BYTES, blobs=header(kind, shape))
    if layout:
        tree.leaf(K.STR, blobs=layout.encode())


def shared(step: int) -> bytes:
    """What all ranks agree on."""
    tree = Tree()
    tree.container(K.DICT, 3)
    tree.key("model")
    tree.container(K.STATEFUL, 1, "vector_types:Net")
    tree.container(K.DICT, 5)
    tree.key("sharded")
    part_of(tree, "torch:float32", (4, 6), "3 S(1)")
    tree.key("replicated")
    part_of(tree, "torch:float32", (5,))
    tree.key("tied")
    tree.container(K.CUSTOM, 1, "holdfast:same-as")
    tree.leaf(K.INT, ints=0)
    tree.key("no dims")
    part_of(tree, "numpy:int64", ())
    tree.key("no elements")
    part_of(tree, "numpy:int64", (0, 3))
    tree.key("step")
    tree.leaf(K.INT, ints=step)
    tree.key("own")
    tree.container(K.LIST, 2)
    for _ in range(2):
        tree.container(K.CUSTOM, 1, "holdfast:per-rank")
        tree.leaf(K.NONE)
    tree.finish()
    message = TreeMessage.FromString(tree.message.tree.SerializeToString(deterministic=True))
    return bytes(message.SerializeToString(deterministic=True))


def boxes_of(rank: int, step: int) -> list[Box]:
    """The boxes that a rank has written: number of the array, offset, shape, bytes."""
    floats = [[10.0 * row + column + step for column in range(6)] for row in range(4)]
    columns = [row[2 * rank : 2 * rank + 2] for row in floats]
    found: list[Box] = [
        (0, (0, 2 * rank), (4, 2), b"".join(struct.pack("<2f", *row) for row in columns))
    ]
    # Of what all hold rank 0 has written three elements, rank 1 two, rank 2 the number.
    if rank == 0:
        found.append((1, (0,), (3,), struct.pack("<3f", 1.0, float("nan"), 3.0)))
    if rank == 1:
        found.append((1, (3,), (2,), struct.pack("<2f", 4.0, 5.0)))
    if rank == 2:
        found.append((2, (), (), struct.pack("<q", -7)))
    return found


def part(rank: int, number: int, packs: Packs, run: str) -> tuple[Any, Arrays]:
    step, boxes, arrays = number + 1, boxes_of(rank, number + 1), Arrays()
    kinds = ("torch:float32", "torch:float32", "numpy:int64")
    for array, _, shape, data in boxes:
        arrays.add(kinds[array], shape, data)
    tree = Tree()
    tree.container(K.DICT, 2)
    tree.key("0")
    tree.leaf(K.INT, ints=100 + rank)
    tree.key("1")
    tree.container(K.DICT, 2)
    tree.key("seen")
    tree.leaf(K.ARRAY)
    arrays.add("numpy:uint8", (4,), bytes([rank, step, 9, 9]))
    tree.key("again")
    tree.leaf(K.ALIAS, refs=0)
    tree.finish()
    message = tree.message
    head(message, run=run, step=step, id=IDS[number])
    message.format, message.rank, message.world_size = 3, rank, WORLD
    if number:
        # Looked at: the box of rank 0 that has a NaN, and all others.
        arrays.not_finite = [0] * len(arrays.rows)
        if rank == 0:
            arrays.not_finite[1] = 1
    arrays.fill(message.arrays)
    packs.add(arrays.chunks, per_pack=4)
    packs.fill(message, arrays.chunks)
    agreed = shared(step)
    message.plan = blake3(agreed).digest()
    message.boxes.SetInParent()
    for array, at, _, _ in boxes:
        message.boxes.array.append(array)
        message.boxes.at.extend(at)
    if rank == 0:
        message.shared = agreed
    # What all ranks hold, as each of them has found it; readers do not need it.
    message.replicas.array.extend([1, 2])
    message.replicas.first.extend([0, 0])
    message.replicas.digest = bytes(range(32))
    return message, arrays


def files() -> Files:
    first = checkpoint(0, {})
    previous = link(first[f"runs/{RUN}/commits/000000000001"])
    return {
        "holdfast.json": marker(),
        **first,
        **checkpoint(1, {"previous": previous, "parent": IDS[0], "not_finite": 1}),
    }


def checkpoint(
    number: int,
    more: dict[str, object],
    edit: Callable[[Any], object] = lambda message: None,
    run: str = RUN,
) -> Files:
    """Return a checkpoint; ``edit`` changes the parts before they are written."""
    made: Files = {}
    root = f"runs/{run}/"
    nbytes = new = 0
    subjects, extras = [], []
    for rank in range(WORLD):
        packs = Packs(root, IDS[number])
        message, arrays = part(rank, number, packs, run)
        renamed = rename(packs, rank)
        for pack in message.packs:
            pack.key = renamed[pack.key]
        edit(message)
        data = encoded(message)
        key = f"{root}parts/{IDS[number]}-{rank:05d}"
        made |= {renamed[name]: content for name, content in packs.objects.items()}
        made[key] = data
        nbytes, new = nbytes + arrays.nbytes, new + packs.new_bytes + len(data)
        subjects.append({"name": key, "digest": {"blake3": blake3(data).hexdigest()}})
        extras.append({"rank": rank, "length": len(data)})
    record = statement("", b"", run=run, step=number + 1, seq=number + 1, id=IDS[number])
    record["subject"] = subjects
    record["predicateType"] = "https://holdfast.dev/checkpoint/v3"
    sizes = {"state_bytes": nbytes, "stored_bytes": new, "n_leaves": 9}
    record["predicate"] |= {"format": 3, "world_size": WORLD, "parts": extras} | sizes | more
    made[f"{root}commits/{number + 1:012d}"] = commit(record)
    return made


def rename(packs: Packs, rank: int) -> dict[str, str]:
    """Return the keys of packs, numbered through the ranks."""
    found = {}
    for key in packs.objects:
        root, _, number = key.rpartition("-")
        found[key] = f"{root}-{rank * PACKS_OF_RANK + int(number):05d}"
    return found

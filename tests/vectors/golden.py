"""The golden store: two checkpoints with every kind of node, key and element, and what is beside.

The tree is spelled out node by node. ``vector_types.state`` is the same in Python.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import vector_types as types
from making import (
    SEEDS,
    Arrays,
    Files,
    Packs,
    Tree,
    add_blocks,
    commit,
    encoded,
    fixed_name,
    head,
    link,
    marker,
    note,
    statement,
    tag,
)

from holdfast.format.tree import KeyKind
from holdfast.format.tree import NodeKind as K

RUN = "gpt/α"
ROOT = "runs/gpt%2F%CE%B1/"
IDS = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)
UNFINISHED = "a" * 32
STEPS = (7, 8)


def files() -> Files:
    first_tree, first_packs, first = _first()
    second = _second(first_packs, first_tree, first[f"{ROOT}commits/{1:012d}"])
    pin = b'{"id": "%s", "base_parts": []}' % UNFINISHED.encode()
    return {
        "holdfast.json": marker(),
        **first,
        **second,
        f"{ROOT}tags/best model": tag(RUN, "best model", IDS[0]),
        f"{ROOT}names/model_v1": fixed_name(RUN, "model_v1", IDS[1]),
        f"{ROOT}notes/000000000001": note(
            run=RUN, seq=1, id=IDS[0], text="ölig", values={"lr": 0.5, "ok": True}, created_ns=1
        ),
        f"{ROOT}notes/000000000002": note(
            run=RUN, seq=2, id=IDS[0], text=None, values={"ok": None, "n": 3}, created_ns=2
        ),
        f"{ROOT}notes/000000000003": note(
            run=RUN, seq=3, id=None, text="a run", values={}, created_ns=0
        ),
        # A save that never ended, and files that are no objects: none of them is looked at.
        f"{ROOT}pins/{UNFINISHED}": pin,
        f"{ROOT}packs/{UNFINISHED}-00000": b"unfinished",
        f"{ROOT}commits/.tmp-1-0-000000000003": b"torn",
        f"{ROOT}events.jsonl": b'\n{"event":"saved","time_ns":1}\n{"event":"to',
    }


def _first() -> tuple[Arrays, Packs, Files]:
    tree, arrays = Tree(), Arrays()
    state = types.state()
    tree.container(K.DICT, 7)
    _model(tree, arrays, state["model"])
    _plain(tree)
    _keys(tree)
    _containers(tree)
    _dtypes(tree, arrays, state["dtypes"])
    _shapes(tree, arrays, state["shapes"])
    packs = Packs(ROOT, IDS[0])
    packs.add(arrays.chunks, per_pack=4)
    more = {
        "metrics": {"val_loss": 0.25, "best": "inf", "worst": "-inf", "broken": "nan", "count": 3},
        "reason": "every 7 steps, best val_loss 0.25",
        "environment": {"holdfast": "0.1.0", "host": "kelp", "devices": {"torch": ["cpu"]}},
        # Of a later minor version; a reader passes over what it does not know.
        "weather": {"storm": True},
    }
    return arrays, packs, _checkpoint(0, tree, arrays, packs, more)


def _second(older: Packs, first: Arrays, first_commit: bytes) -> Files:
    """A later step, signed: one array has changed, one is as it was and lies where it lay."""
    tree, arrays = Tree(), Arrays()
    tree.container(K.DICT, 3)
    tree.key("model")
    tree.container(K.DICT, 2)
    tree.key("big")
    _array(tree, arrays, types.Net().big)
    tree.key("bias")
    _array(tree, arrays, np.array([1.0, np.inf], np.float32))
    tree.key("step")
    tree.leaf(K.INT, ints=8)
    tree.key("@rng")
    tree.container(K.DICT, 1)
    tree.key("a library of the future")
    tree.container(K.DICT, 1)
    tree.key("state")
    tree.leaf(K.INT, ints=42)
    # Nobody looked at the one; the other has an element that is not finite.
    arrays.not_finite = [-1, 1]
    packs = Packs(ROOT, IDS[1], older)
    packs.add(arrays.chunks, per_pack=4)
    assert set(arrays.chunks) & set(first.chunks), "nothing is shared"
    origin = {"store": "5" * 32, "run": RUN, "step": STEPS[0], "id": IDS[0]}
    lineage = {
        "resumed_from": origin,
        "forked_from": origin | {"store": None, "run": "base"},
        "config": {"lr": 0.1, "layers": [1, 2], "name": None},
        "dataset": "sha256:00",
    }
    more = {
        "metrics": {"val_loss": 0.5},
        "parent": IDS[0],
        "previous": link(first_commit),
        "lineage": lineage,
        "names": ["model_v1"],
        "not_finite": 1,
    }
    return _checkpoint(1, tree, arrays, packs, more, SEEDS)


def _checkpoint(
    number: int,
    tree: Tree,
    arrays: Arrays,
    packs: Packs,
    more: dict[str, object],
    seeds: Sequence[bytes] = (),
) -> Files:
    tree.finish()
    message = tree.message
    head(message, run=RUN, step=STEPS[number], id=IDS[number])
    arrays.fill(message.arrays)
    packs.fill(message, arrays.chunks)
    if number:
        # The first one is as older versions write it.
        add_blocks(message, arrays.chunks, 4096, without=arrays.chunks[:1])
    part_key, part = f"{ROOT}parts/{IDS[number]}-00000", encoded(message)
    sizes = {
        "n_leaves": tree.leaves,
        "state_bytes": arrays.nbytes,
        "stored_bytes": packs.new_bytes + len(part),
    }
    record = statement(
        part_key, part, run=RUN, step=STEPS[number], seq=number + 1, id=IDS[number], **sizes, **more
    )
    key = f"{ROOT}commits/{number + 1:012d}"
    return {key: commit(record, seeds), part_key: part, **packs.objects}


# --- the parts of the tree ---


def _array(tree: Tree, arrays: Arrays, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        kind = f"torch:{str(value.dtype).removeprefix('torch.')}"
        data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        kind, data = f"numpy:{_numpy_name(value.dtype)}", value.tobytes()
    tree.leaf(K.ARRAY)
    arrays.add(kind, tuple(value.shape), data)


def _numpy_name(dtype: np.dtype[Any]) -> str:
    if dtype.name in types.NUMPY_DTYPES and dtype.isnative:
        return dtype.name
    if dtype == types.RECORD:
        return 'np:[["id", "<u2"], ["xy", "<f4", [2]]]'
    return f"np:{dtype.str}"


def _model(tree: Tree, arrays: Arrays, net: types.Net) -> None:
    tree.key("model")
    tree.container(K.STATEFUL, 1, "vector_types:Net")
    tree.container(K.ORDERED_DICT, 4)
    tree.key("layer.weight")
    _array(tree, arrays, net.weight)
    tree.key("layer.bias")
    _array(tree, arrays, net.bias)
    tree.key("tied.weight")
    tree.leaf(K.ALIAS, refs=0)
    tree.key("big")
    _array(tree, arrays, net.big)


def _plain(tree: Tree) -> None:
    quarter = struct.pack("<f", 0.25)
    day = struct.pack("<q", 19782)
    leaves: list[tuple[str, int, dict[str, Any]]] = [
        ("none", K.NONE, {}),
        ("false", K.FALSE, {}),
        ("true", K.TRUE, {}),
        ("int", K.INT, {"ints": -(2**63)}),
        ("big int", K.BIG_INT, {"blobs": b"\1\0\0\0\0\0\0\0\1"}),
        ("negative big int", K.BIG_INT, {"blobs": b"\0" * 25 + b"\xff"}),
        ("float", K.FLOAT, {"floats": 0.1}),
        ("nan", K.FLOAT, {"floats": float("nan")}),
        ("negative zero", K.FLOAT, {"floats": -0.0}),
        ("complex", K.COMPLEX, {"floats": [1.5, float("-inf")]}),
        ("str", K.STR, {"blobs": "Tang, Möhre, 🌿, ".encode() + b"\xed\xa0\x80"}),
        ("empty str", K.STR, {"blobs": b""}),
        ("bytes", K.BYTES, {"blobs": b"\x00\xff\n"}),
        ("datetime", K.DATETIME, {"blobs": b"2024-02-29T23:59:59.123456"}),
        ("datetime utc", K.DATETIME, {"blobs": b"2024-02-29T00:00:00+00:00"}),
        (
            "datetime zone",
            K.DATETIME,
            {"blobs": b"2024-10-27T02:30:00+01:00[Europe/Berlin]~"},
        ),
        ("path", K.PATH, {"blobs": b"runs/a b"}),
        ("enum", K.ENUM, {"blobs": b"COOL_DOWN", "type_name": "vector_types:Phase"}),
        ("scalar", K.SCALAR, {"blobs": b"float32\0" + quarter}),
        ("scalar time", K.SCALAR, {"blobs": b"np:<M8[D]\0" + day}),
        ("scalar str", K.SCALAR, {"blobs": b"str\0kelp\0"}),
        ("scalar bytes", K.SCALAR, {"blobs": b"bytes\0"}),
    ]
    tree.key("plain")
    tree.container(K.DICT, len(leaves))
    for name, kind, columns in leaves:
        tree.key(name)
        tree.leaf(kind, **columns)


def _keys(tree: Tree) -> None:
    keys = [
        (b"a/b~c", KeyKind.STR),
        (b"1", KeyKind.INT),
        (b"-1", KeyKind.INT),
        (b"", KeyKind.NONE),
        (b"0x1.0000000000000p-1", KeyKind.FLOAT),
        (b"\xed\xa0\x80", KeyKind.STR),
        (b"1", KeyKind.STR),
    ]
    tree.key("keys")
    tree.container(K.DICT, len(keys))
    for number, (data, kind) in enumerate(keys, start=1):
        tree.key(data, kind)
        tree.leaf(K.INT, ints=number)
    tree.key("bool keys")
    tree.container(K.DICT, 2)
    for flag in (1, 0):
        tree.key(b"%d" % flag, KeyKind.BOOL)
        tree.leaf(K.INT, ints=flag)


def _containers(tree: Tree) -> None:
    tree.key("containers")
    tree.container(K.LIST, 9)
    for kind in (K.TUPLE, K.DICT, K.LIST):
        tree.container(kind, 0)
    tree.container(K.TUPLE, 2)
    tree.leaf(K.INT, ints=1)
    tree.container(K.LIST, 2)
    tree.leaf(K.INT, ints=2)
    tree.container(K.TUPLE, 1)
    tree.leaf(K.INT, ints=3)
    tree.message.tree.kind.append(K.OMITTED)
    tree.container(K.NAMED_TUPLE, 2, "vector_types:Pair")
    tree.key("left")
    tree.leaf(K.INT, ints=1)
    tree.key("right")
    tree.leaf(K.STR, blobs=b"r")
    tree.container(K.DATACLASS, 2, "vector_types:Options")
    tree.key("rate")
    tree.leaf(K.FLOAT, floats=0.5)
    tree.key("name")
    tree.leaf(K.STR, blobs=b"adam")
    tree.container(K.CUSTOM, 1, "vector_types:Ratio")
    tree.container(K.LIST, 2)
    tree.leaf(K.INT, ints=2)
    tree.leaf(K.INT, ints=3)
    tree.container(K.ORDERED_DICT, 2)
    for name, value in (("b", 1), ("a", 2)):
        tree.key(name)
        tree.leaf(K.INT, ints=value)


def _dtypes(tree: Tree, arrays: Arrays, values: dict[str, Any]) -> None:
    tree.key("dtypes")
    tree.container(K.DICT, len(values))
    for name, value in values.items():
        tree.key(name)
        _array(tree, arrays, value)


def _shapes(tree: Tree, arrays: Arrays, values: dict[str, Any]) -> None:
    tree.key("shapes")
    tree.container(K.DICT, 4)
    for name in ("no dimensions", "no elements"):
        tree.key(name)
        _array(tree, arrays, values[name])
    for name, data in (("text", types.LONG_TEXT.encode()), ("bytes", types.LONG_BYTES)):
        tree.key(name)
        tree.leaf(K.ARRAY)
        arrays.add("str:uint8" if name == "text" else "bytes:uint8", (len(data),), data)

"""Trees as columns: what a reader makes of them, and what it refuses."""

from __future__ import annotations

import contextlib
import copy
import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from holdfast.errors import ManifestDamaged
from holdfast.format.tree import NodeKind, TreeColumns
from holdfast.state import numpy_arrays  # noqa: F401 - registers NumPy's arrays
from holdfast.state.flatten import flatten
from holdfast.state.nodes import MAX_DEPTH, Node, decode_tree, plain_value, prune

SHARED = np.arange(3)
STATE = {
    "a": SHARED,
    "b": [SHARED, 1, 2**70, 0.5, 1j, "text", b"bytes", None, True, False],
    "c": {"x/y": (np.ones(2), {5: "int key"}), "z": {}},
    "n": np.float32(2),
}


def columns(state: dict[str, Any] = STATE) -> tuple[TreeColumns, int]:
    flat = flatten(state)
    return flat.tree, len(flat.leaves)


def decode(tree: TreeColumns, n_arrays: int) -> Node:
    return decode_tree(tree, n_arrays, what="the manifest")


def test_nodes_have_paths_keys_and_rows() -> None:
    root = decode(*columns())
    leaves = {leaf.path: leaf for leaf in root.leaves()}
    assert list(leaves) == [
        *("a", *(f"b/{i}" for i in range(10))),
        *("c/x~1y/0", "c/x~1y/1/5", "n"),
    ]
    assert (leaves["a"].kind, leaves["a"].row) == (NodeKind.ARRAY, 0)
    assert (leaves["b/0"].kind, leaves["b/0"].row) == (NodeKind.ALIAS, 0)
    assert (leaves["c/x~1y/0"].kind, leaves["c/x~1y/0"].row) == (NodeKind.ARRAY, 1)
    assert leaves["c/x~1y/1/5"].key == 5
    values = [plain_value(leaves[f"b/{i}"]) for i in range(1, 10)]
    assert values == STATE["b"][1:]  # type: ignore[index]


def test_a_pruned_tree_has_only_what_was_chosen() -> None:
    root = prune(decode(*columns()), lambda path: path in ("b/0", "c/x~1y/0"))
    assert [(leaf.path, leaf.row) for leaf in root.leaves()] == [("b/0", 0), ("c/x~1y/0", 1)]


def change(tree: TreeColumns, name: str, how: str, rng: random.Random) -> None:
    column = getattr(tree, name)
    if how == "drop":
        column.pop()
    elif how == "add":
        column.append(column[-1] if column else {"key": b"", "blobs": b""}.get(name, 1))
    elif how == "clear":
        column.clear()


NAMES = [f.name for f in fields(TreeColumns) if f.name != "type_name"]


@pytest.mark.parametrize("how", ["drop", "add", "clear"])
@pytest.mark.parametrize("name", NAMES)
def test_columns_of_the_wrong_length_are_refused(name: str, how: str) -> None:
    tree, n = columns()
    if name == "key_kind" and how == "clear":
        return  # None at all means that all keys are text.
    change(tree, name, how, random.Random(0))
    with pytest.raises(ManifestDamaged, match="the manifest has a malformed tree"):
        decode(tree, n)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", 0),
        ("kind", 999),
        ("kind", -1),
        ("kind", NodeKind.STATEFUL),
        ("kind", NodeKind.ENUM),
        ("children", 2**31),
        ("children", 10**6),
        ("key_kind", 9),
        ("refs", 1),
        ("refs", 2**32 - 1),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: int) -> None:
    tree, n = columns()
    getattr(tree, name)[0] = value
    with pytest.raises(ManifestDamaged):
        decode(tree, n)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (0, b"\xff"),
        (1, b""),
        (1, b"five"),
        (1, b"9" * 5000),
        (2, b"2"),
        (2, b""),
        (1, b"+5"),
        (1, b"05"),
        (1, b"-0"),
        (3, b"None"),
        (4, b"zero"),
        (4, b"0.5"),
        (4, b"0x1p99999"),
        (4, b"\xff"),
    ],
)
def test_keys_that_are_none_are_refused(kind: int, data: bytes) -> None:
    def nested(kind: int, data: bytes) -> TreeColumns:
        kinds = [NodeKind.DICT, NodeKind.DICT, NodeKind.NONE]
        return TreeColumns(kind=kinds, children=[1, 1], key=[b"x", data], key_kind=[0, kind])

    decode(nested(1, b"5"), 0)
    with pytest.raises(ManifestDamaged):
        decode(nested(kind, data), 0)


@pytest.mark.parametrize("n_arrays", [0, 1, 3])
def test_the_tree_and_its_arrays_must_agree(n_arrays: int) -> None:
    tree, n = columns()
    assert n == 2
    with pytest.raises(ManifestDamaged):
        decode(tree, n_arrays)


def test_a_tree_too_deep_is_refused_not_followed() -> None:
    depth = 100_000
    tree = TreeColumns(kind=[NodeKind.LIST] * depth + [NodeKind.NONE], children=[1] * depth)
    with pytest.raises(ManifestDamaged, match="too deep"):
        decode(tree, 0)

    def lists(n: int) -> TreeColumns:
        kinds = [NodeKind.DICT, *[NodeKind.LIST] * n, NodeKind.NONE]
        return TreeColumns(kind=kinds, children=[1] * (n + 1), key=[b"x"])

    assert len(list(decode(lists(MAX_DEPTH - 1), 0).leaves())) == 1
    with pytest.raises(ManifestDamaged, match="too deep"):
        decode(lists(MAX_DEPTH), 0)


def test_a_wrapped_value_has_one_child() -> None:
    for n in (0, 2):
        kinds = [NodeKind.STATEFUL, *[NodeKind.NONE] * n]
        tree = TreeColumns(kind=kinds, children=[n], type_name=["m:C"])
        with pytest.raises(ManifestDamaged):
            decode(tree, 0)


def test_an_empty_manifest_has_no_tree() -> None:
    with pytest.raises(ManifestDamaged):
        decode(TreeColumns(), 0)


def test_random_damage_never_raises_anything_else() -> None:
    rng = random.Random(0)
    good, n = columns()
    for _ in range(3000):
        tree = copy.deepcopy(good)
        column = getattr(tree, rng.choice(NAMES))
        i = rng.randrange(len(column))
        if isinstance(column[i], bytes):
            column[i] = rng.randbytes(rng.randrange(5))
        elif isinstance(column[i], int):
            column[i] = rng.choice([0, 1, 2, 5, 21, 40, 41, -1, 2**31])
        with contextlib.suppress(ManifestDamaged):
            decode(tree, n)

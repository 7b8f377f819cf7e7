"""The leaves of a checkpoint, from its manifest alone."""

from __future__ import annotations

from holdfast.errors import UnknownType
from holdfast.format.commit import CommitRecord
from holdfast.format.digests import digest
from holdfast.format.tree import NodeKind
from holdfast.history.info import LeafInfo
from holdfast.records.whole import Whole, read_whole
from holdfast.state.nodes import Node, plain_value
from holdfast.store.contract import ObjectStore

# Integers beyond this are told of and not shown; what is below it is written within milliseconds.
_SHOWN_BITS = 1 << 17
_NAMES = {
    NodeKind.BIG_INT: "int",
    NodeKind.TRUE: "bool",
    NodeKind.FALSE: "bool",
    NodeKind.ALIAS: "array",
    NodeKind.SCALAR: "scalar",
}


def leaves(store: ObjectStore, record: CommitRecord) -> list[LeafInfo]:
    """Return the leaves of a checkpoint in tree order; no chunk is read."""
    return [info for info, _ in whole_leaves(read_whole(store, record))]


def whole_leaves(whole: Whole) -> list[tuple[LeafInfo, int]]:
    """Return the leaves of a checkpoint in tree order, each with the row of its array, else -1."""
    found: list[tuple[LeafInfo, int]] = []
    first: dict[int, str] = {}
    for node in whole.root.leaves():
        if node.row < 0:
            found.append((LeafInfo(node.path, _kind(node), value=_value(node)), -1))
            continue
        row = whole.arrays[node.row]
        owner = first.setdefault(node.row, node.path)
        alias = owner if node.kind == NodeKind.ALIAS else None
        nbytes = 0 if alias else row.nbytes
        leaf = LeafInfo(
            node.path,
            "array",
            row.dtype,
            row.shape,
            nbytes,
            alias_of=alias,
            not_finite=row.not_finite,
            cast_from=row.cast_from or None,
        )
        found.append((leaf, node.row))
    return found


def _kind(node: Node) -> str:
    return _NAMES.get(node.kind, node.kind.name.lower())


def _value(node: Node) -> object:
    try:
        value = plain_value(node)
    except UnknownType:
        name = node.value.decode() if isinstance(node.value, bytes) else node.value
        return f"{node.type_name}.{name}"
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        # To write one in decimal takes time by the square of its length: hours, of some megabytes.
        blob = node.value if isinstance(node.value, bytes) else b""
        return f"an integer of {value.bit_length():,} bits, BLAKE3 {digest(blob).hex()[:16]}…"
    return value

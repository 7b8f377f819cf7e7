"""The leaves of a checkpoint, from its manifest alone."""

from __future__ import annotations

from holdfast.errors import UnknownType
from holdfast.format.commit import CommitRecord
from holdfast.format.tree import NodeKind
from holdfast.history.info import LeafInfo
from holdfast.records import commits
from holdfast.state.nodes import Node, decode_tree, plain_value
from holdfast.store.contract import ObjectStore

_NAMES = {
    NodeKind.BIG_INT: "int",
    NodeKind.TRUE: "bool",
    NodeKind.FALSE: "bool",
    NodeKind.ALIAS: "array",
    NodeKind.SCALAR: "scalar",
}


def leaves(store: ObjectStore, record: CommitRecord) -> list[LeafInfo]:
    """Return the leaves of a checkpoint in tree order; no chunk is read."""
    found: list[LeafInfo] = []
    for ref in record.parts:
        part = commits.read_part(store, record, ref)
        root = decode_tree(
            part.tree, len(part.arrays), what=f"the manifest of {record.run}@{record.step}"
        )
        first: dict[int, str] = {}
        for node in root.leaves():
            if node.row < 0:
                found.append(LeafInfo(node.path, _kind(node), value=_value(node)))
                continue
            row = part.arrays[node.row]
            owner = first.setdefault(node.row, node.path)
            alias = owner if node.kind == NodeKind.ALIAS else None
            nbytes = 0 if alias else row.nbytes
            found.append(LeafInfo(node.path, "array", row.dtype, row.shape, nbytes, None, alias))
    return found


def _kind(node: Node) -> str:
    return _NAMES.get(node.kind, node.kind.name.lower())


def _value(node: Node) -> object:
    try:
        return plain_value(node)
    except UnknownType:
        name = node.value.decode() if isinstance(node.value, bytes) else node.value
        return f"{node.type_name}.{name}"

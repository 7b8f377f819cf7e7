"""The tree of a state as columns in pre-order, and what kinds of nodes there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class NodeKind(IntEnum):
    """Kind of a node; the numbers are those of ``manifest.proto``."""

    DICT = 1
    ORDERED_DICT = 2
    LIST = 3
    TUPLE = 4
    NAMED_TUPLE = 5
    DATACLASS = 6
    STATEFUL = 7
    CUSTOM = 8
    ARRAY = 20
    ALIAS = 21
    OMITTED = 22
    NONE = 30
    FALSE = 31
    TRUE = 32
    INT = 33
    BIG_INT = 34
    FLOAT = 35
    COMPLEX = 36
    STR = 37
    BYTES = 38
    DATETIME = 39
    PATH = 40
    ENUM = 41
    SCALAR = 42


class KeyKind(IntEnum):
    """Type of a mapping's key; the numbers are those of ``manifest.proto``."""

    STR = 0
    INT = 1
    BOOL = 2
    NONE = 3
    FLOAT = 4


KEYED = frozenset({NodeKind.DICT, NodeKind.ORDERED_DICT, NodeKind.NAMED_TUPLE, NodeKind.DATACLASS})
ROOTS = frozenset({NodeKind.DICT, NodeKind.ORDERED_DICT})
SEQUENCES = frozenset({NodeKind.LIST, NodeKind.TUPLE, NodeKind.NAMED_TUPLE})
# Nodes of one child that has no key: what it wraps.
WRAPPERS = frozenset({NodeKind.STATEFUL, NodeKind.CUSTOM})
CONTAINERS = KEYED | WRAPPERS | {NodeKind.LIST, NodeKind.TUPLE}
TYPED = frozenset(
    {
        NodeKind.NAMED_TUPLE,
        NodeKind.DATACLASS,
        NodeKind.STATEFUL,
        NodeKind.CUSTOM,
        NodeKind.ENUM,
    }
)
BLOBS = frozenset(
    {
        NodeKind.BIG_INT,
        NodeKind.STR,
        NodeKind.BYTES,
        NodeKind.DATETIME,
        NodeKind.PATH,
        NodeKind.ENUM,
        NodeKind.SCALAR,
    }
)


@dataclass(slots=True)
class TreeColumns:
    """The columns of a tree, as ``manifest.proto`` defines them. Filled once, then only read."""

    kind: list[int] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    key: list[bytes] = field(default_factory=list)
    key_kind: list[int] = field(default_factory=list)
    type_name: list[str] = field(default_factory=list)
    ints: list[int] = field(default_factory=list)
    floats: list[float] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    refs: list[int] = field(default_factory=list)

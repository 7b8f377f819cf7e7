"""OCDBT, the database of keys and values that Orbax stores arrays in, laid out as specified.

A database is a manifest, which leads to the root of a B+tree; leaves have keys in order, with small
values in them and large ones by file, offset and length. What is written here is one data file with
the large values first and the nodes behind them. Values have no checksum in this format; nodes do.
See https://google.github.io/tensorstore/kvstore/ocdbt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.convert.table_coding import shared_bytes, varint
from holdfast.foreign.checksums import checksum

MANIFEST = "manifest.ocdbt"
_MANIFEST_MAGIC, _NODE_MAGIC = 0x0CDB3A2A, 0x0CDB20DE
# As Orbax sets them for a database that it begins.
_MAX_INLINE_BYTES, _MAX_NODE_BYTES, _ARITY_LOG2 = 1024, 100_000_000, 4
# Keys in one node; a node of so many is far from too large.
_NODE_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Inline:
    """A value that stands in the tree itself."""

    data: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Outside:
    """A value in the data file."""

    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Node:
    """An encoded node: its first key, its place, and what is below it."""

    key: bytes
    offset: int
    nbytes: int
    n_keys: int
    tree_bytes: int
    outside_bytes: int


_NO_ROOT = _Node(b"", (1 << 64) - 1, (1 << 64) - 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Database:
    """What is written of a database besides large values.

    Attributes:
        manifest: The manifest file.
        nodes: All nodes, for the data file at the offset that was given.
    """

    manifest: bytes
    nodes: bytes


def build(
    entries: Sequence[tuple[bytes, Inline | Outside]],
    *,
    data_file: str,
    begin: int,
    uuid: bytes,
    commit_ns: int,
) -> Database:
    """Return the nodes and the manifest of a database.

    Args:
        entries: Keys and values; the keys are in order and there once.
        data_file: Path of the data file in the database.
        begin: Where in the data file the nodes begin, in bytes.
        uuid: 16 bytes that name the database.
        commit_ns: When it was made, in nanoseconds since 1970.
    """
    table = _file_table(data_file)
    out = bytearray()
    level = [
        _leaf(out, begin, table, entries[at : at + _NODE_KEYS])
        for at in range(0, len(entries), _NODE_KEYS)
    ]
    if not level:
        return Database(_manifest(_file_table(""), _NO_ROOT, 0, uuid, commit_ns), b"")
    height = 0
    while len(level) > 1:
        height += 1
        level = [
            _interior(out, begin, table, height, level[at : at + _NODE_KEYS])
            for at in range(0, len(level), _NODE_KEYS)
        ]
    return Database(_manifest(table, level[0], height, uuid, commit_ns), bytes(out))


def _leaf(
    out: bytearray,
    begin: int,
    table: bytes,
    entries: Sequence[tuple[bytes, Inline | Outside]],
) -> _Node:
    keys, values = [key for key, _ in entries], [value for _, value in entries]
    outside = [value for value in values if isinstance(value, Outside)]
    shared, suffixes = _prefixed(keys)
    body = b"\0" + table + varint(len(entries)) + _column(shared)
    body += _column(map(len, suffixes)) + b"".join(suffixes)
    body += _column(value.nbytes for value in values)
    body += _column(int(isinstance(value, Outside)) for value in values)
    body += _column(0 for _ in outside) + _column(value.offset for value in outside)
    body += b"".join(value.data for value in values if isinstance(value, Inline))
    node = _framed(_NODE_MAGIC, body)
    made = _Node(
        keys[0],
        begin + len(out),
        len(node),
        len(keys),
        len(node),
        sum(value.nbytes for value in outside),
    )
    out += node
    return made


def _interior(
    out: bytearray, begin: int, table: bytes, height: int, children: Sequence[_Node]
) -> _Node:
    shared, suffixes = _prefixed([child.key for child in children])
    body = bytes([height]) + table + varint(len(children)) + _column(shared)
    # Keys below are whole, not without what they have in common.
    body += _column(map(len, suffixes)) + _column(0 for _ in children) + b"".join(suffixes)
    body += _column(0 for _ in children)
    for name in ("offset", "nbytes", "n_keys", "tree_bytes", "outside_bytes"):
        body += _column(getattr(child, name) for child in children)
    node = _framed(_NODE_MAGIC, body)
    made = _Node(
        children[0].key,
        begin + len(out),
        len(node),
        sum(child.n_keys for child in children),
        len(node) + sum(child.tree_bytes for child in children),
        sum(child.outside_bytes for child in children),
    )
    out += node
    return made


def _manifest(table: bytes, root: _Node, height: int, uuid: bytes, commit_ns: int) -> bytes:
    # Of one kind of manifest, a single file; not compressed.
    config = uuid + b"\0" + varint(_MAX_INLINE_BYTES) + varint(_MAX_NODE_BYTES)
    config += bytes([_ARITY_LOG2]) + b"\0"
    version = b"\1" + b"\1" + bytes([height])
    version += _column([0, root.offset, root.nbytes])
    version += _column([root.n_keys, root.tree_bytes, root.outside_bytes])
    version += struct.pack("<Q", commit_ns)
    # No older versions.
    return _framed(_MANIFEST_MAGIC, config + table + version + b"\0")


def _framed(magic: int, body: bytes) -> bytes:
    # Version 0 of the encoding, no compression.
    head = struct.pack(">I", magic) + struct.pack("<Q", 12 + 2 + len(body) + 4) + b"\0\0"
    data = head + body
    return data + struct.pack("<I", checksum("crc32c")(memoryview(data)))


def _file_table(path: str) -> bytes:
    """Return the table of data files that has one, whose path belongs to this database alone."""
    name = path.encode()
    return varint(1) + varint(len(name)) + varint(0) + name


def _prefixed(keys: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
    """Return what each key but the first shares with the one before, and the rest of each."""
    shared = [shared_bytes(before, key) for before, key in pairwise(keys)]
    return shared, [keys[0], *(key[n:] for key, n in zip(keys[1:], shared, strict=True))]


def _column(numbers: Iterable[int]) -> bytes:
    return b"".join(varint(number) for number in numbers)

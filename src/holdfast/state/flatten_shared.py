"""What several ranks save together: each writes its share of arrays that all of them name.

The tree that is written down is the same on every rank that agrees with the others, to the byte:
what is a rank's own, its boxes and its values, is kept apart from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.format import dtypes
from holdfast.format.boxes import Box, cut, whole
from holdfast.format.lean import Replicas
from holdfast.format.shared import PART_OF, PER_RANK, SAME_AS, Header, encode_header
from holdfast.format.tree import NodeKind, TreeColumns
from holdfast.state import arrays
from holdfast.state.casts import differing
from holdfast.state.replicas import content_digest
from holdfast.state.sharding import Held, Piece, Sharing, held_of

if TYPE_CHECKING:
    from holdfast.state.flatten import Leaf, Walk

# Of these a slab along the first dim is an array, too.
_CAN_BE_CUT = ("torch", "numpy")
# The nodes of an array, by how many blobs it has.
_NODES = (NodeKind.CUSTOM, NodeKind.TUPLE, NodeKind.BYTES)
_KINDS = {1: _NODES, 2: (*_NODES, NodeKind.STR)}


@dataclass(frozen=True, slots=True)
class SharedState:
    """A state as several ranks save it.

    Attributes:
        tree: What all of them agree on.
        array: For each box that this rank writes, the number of its array in the tree, rising.
        at: Where the boxes begin, as many numbers for each as it has dims.
        replicas: What it holds that others hold, too, if it was looked at.
    """

    tree: TreeColumns
    array: list[int]
    at: list[int]
    replicas: Replicas


@dataclass(slots=True)
class Gathered:
    """What a walk has found so far of several ranks. Filled once, then only read.

    Attributes:
        tree: Values of this rank's own: a mapping by their number; its root is still open.
        leaves: Arrays in them.
        rows: Those arrays, by what they are over.
        n_own: How many values there are.
        saved_as: Type and path of arrays by their number, where some are cast.
    """

    tree: TreeColumns = field(default_factory=lambda: TreeColumns([NodeKind.DICT], [0]))
    leaves: list[Leaf] = field(default_factory=list)
    rows: dict[Hashable, int] = field(default_factory=dict)
    n_own: int = 0
    array: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    n_arrays: int = 0
    known: dict[Hashable, int] = field(default_factory=dict)
    saved_as: dict[int, tuple[str, str]] = field(default_factory=dict)
    headers: dict[tuple[str, str, tuple[int, ...], str, str], list[bytes]] = field(
        default_factory=dict
    )
    replicas: list[tuple[int, int, bytes]] = field(default_factory=list)

    def own_tree(self) -> TreeColumns:
        """Return the tree of this rank's own values, now that all of them are known."""
        self.tree.children[0] = self.n_own
        return self.tree

    def state(self, tree: TreeColumns) -> SharedState:
        """Return what all ranks have together."""
        array, first, digests = zip(*self.replicas, strict=True) if self.replicas else ((), (), ())
        return SharedState(tree, self.array, self.at, Replicas(array, first, b"".join(digests)))


def own_value(walk: Walk, value: Any, path: str) -> None:
    """Write down a value that each rank has for itself."""
    gathered = walk.gathered
    assert gathered is not None
    _custom(walk, PER_RANK)
    walk.tree.kind.append(NodeKind.NONE)
    with walk.alone():
        walk.key(str(gathered.n_own), path)
        gathered.n_own += 1
        walk.visit(value, path)


def shared_array(
    walk: Walk, sharing: Sharing, adapter: arrays.ArrayAdapter, value: Any, path: str
) -> None:
    """Write down an array that all ranks name here; take in the boxes that this one writes.

    Args:
        walk: What has been written down so far.
        sharing: How several ranks save.
        adapter: The one of value's framework.
        value: The array.
        path: Where it is.
    """
    held, gathered = held_of(value, path), walk.gathered
    assert gathered is not None
    if held is None:
        spec, identity, address = adapter.describe(value, path)
        everyone = range(sharing.world_size)
        held = Held(spec.shape, (Piece(whole(spec.shape), value, everyone),), value)
    else:
        adapter = _adapter_of(held.like)
        spec, identity, address = adapter.describe(held.like, path)
        if identity is None and held.identity is not None:
            # The ranks that have some of it see that two names are one, and say so.
            identity = held.identity, held.shape, spec.dtype
    walk.n_leaves += 1
    saved = walk.saved_as(path, spec, held.shape)
    if identity is not None and (earlier := gathered.known.get(identity)) is not None:
        if walk.casts is not None and gathered.saved_as[earlier][0] != saved.dtype:
            raise differing(path, gathered.saved_as[earlier][1])
        _custom(walk, SAME_AS)
        walk.tree.kind.append(NodeKind.INT)
        walk.tree.ints.append(earlier)
        return
    number = gathered.n_arrays
    gathered.n_arrays += 1
    if identity is not None:
        gathered.known[identity] = number
    if walk.casts is not None:
        gathered.saved_as[number] = saved.dtype, path
    _write_header(walk.tree, gathered, saved, held)
    pieces = held.pieces
    if len(pieces) == 1 and pieces[0].value is held.like and spec.nbytes <= sharing.piece_bytes:
        # So it is with nearly all of them.
        [piece] = pieces
        if spec.nbytes and _writer(sharing, held, piece, spec.nbytes) == sharing.rank:
            gathered.array.append(number)
            gathered.at += piece.box.offset
            walk.box(adapter, held.like, path, saved, address)
    else:
        for box, values in _written_here(sharing, held, spec):
            gathered.array.append(number)
            gathered.at += box.offset
            found, _, at = adapter.describe(values, path)
            walk.box(adapter, values, path, walk.saved_as(path, found, held.shape), at)
    is_checked = sharing.is_saved and (sharing.check_replicas or held.is_assumed)
    # What gives way to the first rank's may differ.
    if is_checked and not held.is_of_first and (first := _first_of_all(held)) is not None:
        digest = content_digest(adapter, [piece.value for piece in pieces], path)
        gathered.replicas.append((number, first, digest))


def _first_of_all(held: Held) -> int | None:
    """Return the first of the ranks that hold the same pieces, None where there is no other one.

    Where the pieces have different holders, no two ranks hold the same.
    """
    holders = {piece.holders for piece in held.pieces}
    if len(holders) != 1 or len(held.pieces[0].holders) < 2:
        return None
    return held.pieces[0].holders[0]


_adapters: dict[type, arrays.ArrayAdapter] = {}
_of_version = -1


def _adapter_of(value: Any) -> arrays.ArrayAdapter:
    """Return the adapter of an array's class."""
    global _of_version
    if _of_version != arrays.registry_version():
        _adapters.clear()
        _of_version = arrays.registry_version()
    found = _adapters.get(type(value))
    if found is None:
        found = arrays.adapter_of(value)
        assert found is not None
        _adapters[type(value)] = found
    return found


def _write_header(
    tree: TreeColumns, gathered: Gathered, spec: arrays.ArraySpec, held: Held
) -> None:
    kind = spec.framework, spec.dtype, held.shape, held.layout, spec.cast_from
    blobs = gathered.headers.get(kind)
    if blobs is None:
        blobs = [encode_header(Header(*kind[:3], (), spec.cast_from))]
        if held.layout:
            blobs.append(held.layout.encode())
        gathered.headers[kind] = blobs
    tree.kind += _KINDS[len(blobs)]
    tree.children += (1, len(blobs))
    tree.type_name.append(PART_OF)
    tree.blobs += blobs


def _written_here(
    sharing: Sharing, held: Held, spec: arrays.ArraySpec
) -> Iterator[tuple[Box, Any]]:
    size = dtypes.itemsize(spec.dtype)
    for piece in held.pieces:
        box, value, _ = piece
        if not box.volume:
            continue
        for part in _cut(sharing, piece, spec, size):
            if _writer(sharing, held, piece, part.volume * size) == sharing.rank:
                yield part, value if part == box else value[_within(part, box)]


def _writer(sharing: Sharing, held: Held, piece: Piece, nbytes: int) -> int:
    return piece.holders[0] if held.is_of_first else sharing.writer_of(nbytes, piece.holders)


def _cut(sharing: Sharing, piece: Piece, spec: arrays.ArraySpec, size: int) -> list[Box]:
    if len(piece.holders) == 1 or spec.framework not in _CAN_BE_CUT:
        return [piece.box]
    return cut(piece.box, max(1, sharing.piece_bytes // size))


def _within(part: Box, box: Box) -> tuple[slice, ...]:
    return tuple(
        slice(at - begin, at - begin + n)
        for at, begin, n in zip(part.offset, box.offset, part.shape, strict=True)
    )


def _custom(walk: Walk, name: str) -> None:
    walk.tree.kind.append(NodeKind.CUSTOM)
    walk.tree.children.append(1)
    walk.tree.type_name.append(name)

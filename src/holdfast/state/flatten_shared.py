"""What several ranks save together: each writes its share of arrays that all of them name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from holdfast.format import dtypes
from holdfast.format.boxes import Box, cut, whole
from holdfast.format.shared import PART_OF, PER_RANK, SAME_AS, Header, encode_header
from holdfast.format.tree import NodeKind
from holdfast.state import arrays
from holdfast.state.sharding import Held, Piece, Sharing, held_of

if TYPE_CHECKING:
    from holdfast.state.flatten import Walk

# Of these a slab along the first dim is an array, too.
_CAN_BE_CUT = ("torch", "numpy")


def own_value(walk: Walk, value: Any, path: str) -> None:
    """Write down a value that each rank has for itself."""
    _custom(walk, PER_RANK)
    with walk.alone():
        walk.visit(value, path)


def shared_array(walk: Walk, sharing: Sharing, value: Any, path: str) -> None:
    """Write down an array that all ranks name here, and those boxes of it that this one writes."""
    held = held_of(value, path)
    adapter = arrays.adapter_of(value if held is None else held.like)
    assert adapter is not None
    spec, identity, _ = adapter.describe(value if held is None else held.like, path)
    if held is None:
        ranks = tuple(range(sharing.world_size))
        held = Held(spec.shape, (Piece(whole(spec.shape), value, ranks),), value)
    walk.n_leaves += 1
    if identity is not None and (number := walk.shared_number(identity)) is not None:
        _custom(walk, SAME_AS)
        walk.tree.kind.append(NodeKind.INT)
        walk.tree.ints.append(number)
        return
    walk.add_shared(identity)
    mine = list(_written_here(sharing, held, spec))
    header = Header(spec.framework, spec.dtype, held.shape, [box.offset for box, _ in mine])
    _custom(walk, PART_OF)
    walk.tree.kind += [NodeKind.TUPLE, NodeKind.BYTES]
    walk.tree.children.append(1 + len(mine))
    walk.tree.blobs.append(encode_header(header))
    for _, piece in mine:
        walk.leaf(adapter, piece, path)


def _written_here(
    sharing: Sharing, held: Held, spec: arrays.ArraySpec
) -> Iterator[tuple[Box, Any]]:
    size = dtypes.itemsize(spec.dtype)
    for piece in held.pieces:
        box, value, holders = piece
        if not box.volume:
            continue
        for part in _cut(sharing, piece, spec, size):
            if sharing.writer_of(part.volume * size, holders) == sharing.rank:
                yield part, value if part == box else value[_within(part, box)]


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

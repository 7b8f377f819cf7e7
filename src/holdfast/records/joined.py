"""Lean parts put together: one tree for all ranks, and the boxes that each of them has written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final, overload

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from holdfast.errors import ManifestDamaged
from holdfast.format import boxes as box_format
from holdfast.format.boxes import Box
from holdfast.format.lean import Lean, decode_shared
from holdfast.format.part import ArrayRow, Part
from holdfast.format.shared import (
    PART_OF,
    PER_RANK,
    SAME_AS,
    Header,
    PieceRow,
    SharedRow,
    decode_header,
)
from holdfast.format.tree import CONTAINERS, NodeKind
from holdfast.plan.coverage import Coverage
from holdfast.records.differing import Disagreement
from holdfast.state.nodes import Node, decode_tree

Row = ArrayRow | SharedRow


@final
class Joined:
    """The parts of all ranks as one.

    Args:
        parts: The parts, in order.
        rank: Whose own values are in it.
        name: Of the checkpoint, for messages.

    Attributes:
        root: The tree.
        rows: The arrays that its nodes name.

    Raises:
        Disagreement: They do not fit together.
        ManifestDamaged: A tree is malformed.
    """

    def __init__(self, parts: Sequence[Part], rank: int, name: str) -> None:
        self._parts, self._rank = parts, rank
        self._leans = [_lean_of(part, parts[0]) for part in parts]
        self._own = [
            decode_tree(
                part.tree,
                len(part.arrays) - lean.n_boxes,
                what=f"the manifest of {name}, rank {part.rank}",
            )
            for part, lean in zip(parts, self._leans, strict=True)
        ]
        self._boxes = BoxTable(parts, self._leans)
        self._headers: list[tuple[str, Header]] = []
        self._own_paths: list[str] = []
        # The row of each array that several ranks have.
        self._row_of: list[int] = []
        self.rows: list[Row] = []
        what = f"what all ranks of {name} agree on"
        self.root = self._node(shared_root(self._leans[0].shared, what))
        self._check_own()
        self._check_boxes()

    def _node(self, node: Node) -> Node:
        """Return what a node of the shared tree is in that of the whole."""
        if node.kind == NodeKind.CUSTOM and node.type_name == PART_OF:
            return self._array(node)
        if node.kind == NodeKind.CUSTOM and node.type_name == SAME_AS:
            return self._alias(node)
        if node.kind == NodeKind.CUSTOM and node.type_name == PER_RANK:
            return self._own_value(node)
        if node.kind in CONTAINERS:
            return replace(node, children=[self._node(child) for child in node.children])
        return node

    def _array(self, node: Node) -> Node:
        content = node.children[0]
        is_sound = content.kind == NodeKind.TUPLE and content.children
        try:
            header = decode_header(content.children[0].value if is_sound else None, 0)
        except ValueError as error:
            raise Disagreement(node.path, 0, str(error)) from error
        number = len(self._headers)
        self._headers.append((node.path, header))
        self._row_of.append(len(self.rows))
        pieces, not_finite = self._boxes.pieces(number), self._boxes.not_finite(number)
        self.rows.append(SharedRow(*header.kind, pieces, not_finite, header.cast_from))
        return Node(NodeKind.ARRAY, node.path, node.key, row=self._row_of[number])

    def _alias(self, node: Node) -> Node:
        number = node.children[0].value
        if not isinstance(number, int) or not 0 <= number < len(self._row_of):
            raise Disagreement(node.path, 0, "an array that is another one, which did not come")
        return Node(NodeKind.ALIAS, node.path, node.key, row=self._row_of[number])

    def _own_value(self, node: Node) -> Node:
        number = len(self._own_paths)
        self._own_paths.append(node.path)
        if self._rank >= len(self._parts):
            return Node(NodeKind.OMITTED, node.path, node.key, value=PER_RANK)
        children = self._own[self._rank].children
        if number >= len(children):
            raise Disagreement(node.path, self._rank, "no value of its own")
        return self._moved(children[number], node, len(str(number)), {})

    def _moved(self, node: Node, to: Node, skipped: int, known: dict[int, int]) -> Node:
        """Return a rank's own value where it belongs, its arrays added to those of the whole."""
        row = node.row
        if row >= 0:
            if row not in known:
                lean, part = self._leans[self._rank], self._parts[self._rank]
                found = part.arrays[lean.n_boxes + row]
                known[row] = len(self.rows)
                shift = self._boxes.first_chunk[self._rank] if found.nbytes else 0
                self.rows.append(found._replace(chunk=found.chunk + shift))
            row = known[row]
        path = to.path + node.path[skipped:]
        children = [self._moved(child, to, skipped, known) for child in node.children]
        key = to.key if len(node.path) == skipped else node.key
        return replace(node, path=path, key=key, row=row, children=children)

    def _check_own(self) -> None:
        wanted = [str(number) for number in range(len(self._own_paths))]
        for rank, own in enumerate(self._own):
            if [child.key for child in own.children] != wanted:
                what = f"{len(own.children)} values of its own, where rank 0 has {len(wanted)}"
                raise Disagreement("", rank, what)

    def _check_boxes(self) -> None:
        coverage = Coverage([header.shape for _, header in self._headers])
        for rank, (part, lean) in enumerate(zip(self._parts, self._leans, strict=True)):
            rows = part.arrays[: lean.n_boxes]
            for number, row in zip(lean.array, rows, strict=True):
                self._check_kind(rank, number, row)
            dims = [n for row in rows for n in row.shape]
            if fault := coverage.add(lean.array, lean.at, dims):
                raise Disagreement("", rank, fault)
        for number in coverage.faults():
            path, header = self._headers[number]
            boxes = [piece.box for piece in self._boxes.pieces(number)]
            raise Disagreement(path, 0, box_format.first_fault(header.shape, boxes))

    def _check_kind(self, rank: int, number: int, row: ArrayRow) -> None:
        if number >= len(self._headers):
            raise Disagreement("", rank, "a box of an array that is not there")
        path, header = self._headers[number]
        wanted = header.framework, header.dtype, header.cast_from
        is_like = (row.framework, row.dtype, row.cast_from) == wanted
        if not is_like or len(row.shape) != len(header.shape):
            raise Disagreement(path, rank, "a box of another kind than its array")


@final
class BoxTable:
    """The boxes of all parts, by their arrays; kept as numbers, since there may be millions."""

    def __init__(self, parts: Sequence[Part], leans: Sequence[Lean]) -> None:
        self._parts, self._leans = parts, leans
        counts = [lean.n_boxes for lean in leans]
        arrays = np.concatenate([np.asarray(lean.array, np.int64) for lean in leans])
        order = np.argsort(arrays, kind="stable")
        self._arrays = arrays[order]
        self._part = np.repeat(np.arange(len(parts), dtype=np.int32), counts)[order]
        self._row = np.concatenate([np.arange(n, dtype=np.int64) for n in counts])[order]
        # Where the offsets of each box begin in its part's.
        self._at = [_begins_of(part, lean) for part, lean in zip(parts, leans, strict=True)]
        self.first_chunk = [0]
        for part in parts:
            self.first_chunk.append(self.first_chunk[-1] + len(part.chunks))
        self._is_looked_at = any(
            row.not_finite is not None
            for part, n in zip(parts, counts, strict=True)
            for row in part.arrays[:n]
        )

    def pieces(self, number: int) -> Pieces:
        """Return the boxes of an array."""
        first, last = np.searchsorted(self._arrays, [number, number + 1])
        return Pieces(self, int(first), int(last))

    def not_finite(self, number: int) -> int | None:
        """Return how many elements of an array are not finite; None where nobody looked."""
        if not self._is_looked_at:
            return None
        counts = [self._row_at(i).not_finite for i in self.pieces(number).places]
        looked = [count for count in counts if count is not None]
        return sum(looked) if looked and len(looked) == len(counts) else None

    def piece(self, place: int) -> PieceRow:
        """Return the box at a place of the table."""
        part, row = int(self._part[place]), int(self._row[place])
        found = self._parts[part].arrays[row]
        begin = int(self._at[part][row])
        offset = tuple(self._leans[part].at[begin : begin + len(found.shape)])
        return PieceRow(
            Box(offset, found.shape), found.chunk + self.first_chunk[part], found.offset
        )

    def _row_at(self, place: int) -> ArrayRow:
        return self._parts[int(self._part[place])].arrays[int(self._row[place])]


@final
class Pieces(Sequence[PieceRow]):
    """The boxes of one array, made when they are asked for."""

    def __init__(self, table: BoxTable, first: int, last: int) -> None:
        self._table = table
        self.places = range(first, last)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> PieceRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PieceRow]: ...
    def __getitem__(self, index: int | slice) -> PieceRow | Sequence[PieceRow]:
        if isinstance(index, slice):
            return [self._table.piece(place) for place in self.places[index]]
        return self._table.piece(self.places[index])


def shared_root(data: bytes, what: str) -> Node:
    """Return the root of a shared tree.

    Raises:
        ManifestDamaged: It is malformed.
    """
    try:
        columns = decode_shared(data)
    except DecodeError as error:
        raise ManifestDamaged(f"{what} is no tree: {error}.", record=what) from error
    return decode_tree(columns, 0, what=what)


def _lean_of(part: Part, first: Part) -> Lean:
    assert first.lean is not None
    if part.lean is None:
        raise Disagreement("", part.rank, "a part of another kind than rank 0's")
    if part.lean.plan != first.lean.plan:
        what = "it was saved with another state than rank 0's: the digests of what all agree on"
        raise Disagreement("", part.rank, f"{what} differ")
    return part.lean


def _begins_of(part: Part, lean: Lean) -> NDArray[np.int64]:
    ndims = np.array([len(row.shape) for row in part.arrays[: lean.n_boxes]], np.int64)
    return np.cumsum(ndims) - ndims

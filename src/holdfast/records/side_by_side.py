"""Whole trees of several ranks walked side by side, as parts of formats 1 and 2 have them.

They must say the same, but for the boxes that each rank has written of the arrays that all hold
together, and for values that each has for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from holdfast.format import boxes as box_format
from holdfast.format.boxes import Box
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
from holdfast.records.differing import Disagreement, kind_in_words, node_in_words
from holdfast.state.nodes import Node

Row = ArrayRow | SharedRow


@dataclass(slots=True)
class SideBySide:
    """Makes one tree of those of all ranks.

    Attributes:
        parts: The parts.
        rank: Whose own values are in it.
        rows: The arrays of the whole.
    """

    parts: Sequence[Part]
    rank: int
    rows: list[Row] = field(default_factory=list)
    _shared: list[int] = field(default_factory=list)
    _first_chunk: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        total = 0
        for part in self.parts:
            self._first_chunk.append(total)
            total += len(part.chunks)

    def node(self, nodes: Sequence[Node]) -> Node:
        """Return what the nodes of all ranks at one place are together."""
        first = nodes[0]
        for rank, other in enumerate(nodes):
            if (other.kind, other.key, other.type_name) != (first.kind, first.key, first.type_name):
                what = f"{node_in_words(other)}, where rank 0 has {node_in_words(first)}"
                raise Disagreement(first.path, rank, what)
        if first.kind == NodeKind.CUSTOM and first.type_name == PART_OF:
            return self._array(nodes)
        if first.kind == NodeKind.CUSTOM and first.type_name == SAME_AS:
            return self._alias(nodes)
        if first.kind == NodeKind.CUSTOM and first.type_name == PER_RANK:
            return self._own(nodes)
        if first.kind in CONTAINERS:
            return self._container(nodes)
        if first.kind in (NodeKind.ARRAY, NodeKind.ALIAS):
            raise Disagreement(first.path, 0, "an array that is neither shared nor a rank's own")
        for rank, other in enumerate(nodes):
            if repr(other.value) != repr(first.value):
                raise Disagreement(
                    first.path, rank, f"{other.value!r}, where rank 0 has {first.value!r}"
                )
        return first

    def _container(self, nodes: Sequence[Node]) -> Node:
        first = nodes[0]
        for rank, other in enumerate(nodes):
            if len(other.children) != len(first.children):
                what = f"{len(other.children)} elements, where rank 0 has {len(first.children)}"
                raise Disagreement(first.path, rank, what)
        children = [self.node(at) for at in zip(*(n.children for n in nodes), strict=True)]
        return Node(first.kind, first.path, first.key, first.type_name, children)

    def _array(self, nodes: Sequence[Node]) -> Node:
        first, pieces = nodes[0], []
        kinds: list[tuple[str, str, tuple[int, ...]]] = []
        looked: list[int | None] = []
        for rank, node in enumerate(nodes):
            header, arrays = _header(node, rank)
            kinds.append(header.kind)
            if header.kind != kinds[0]:
                said, wanted = kind_in_words(header.kind), kind_in_words(kinds[0])
                raise Disagreement(first.path, rank, f"{said}, where rank 0 has {wanted}")
            for offset, array in zip(header.offsets, arrays, strict=True):
                row = self.parts[rank].arrays[array.row]
                if (row.framework, row.dtype) != header.kind[:2] or len(row.shape) != len(offset):
                    raise Disagreement(first.path, rank, "a box of another kind than its array")
                pieces.append(
                    PieceRow(
                        Box(offset, row.shape), row.chunk + self._first_chunk[rank], row.offset
                    )
                )
                looked.append(row.not_finite)
        framework, dtype, shape = kinds[0]
        if fault := box_format.first_fault(shape, [piece.box for piece in pieces]):
            raise Disagreement(first.path, 0, fault)
        counts = [count for count in looked if count is not None]
        not_finite = sum(counts) if counts and len(counts) == len(looked) else None
        self._shared.append(len(self.rows))
        self.rows.append(SharedRow(framework, dtype, shape, tuple(pieces), not_finite))
        return Node(NodeKind.ARRAY, first.path, first.key, row=self._shared[-1])

    def _alias(self, nodes: Sequence[Node]) -> Node:
        numbers = [node.children[0].value for node in nodes]
        for rank, number in enumerate(numbers):
            if (
                number != numbers[0]
                or not isinstance(number, int)
                or not 0 <= number < len(self._shared)
            ):
                raise Disagreement(nodes[0].path, rank, "an array that is shared with another one")
        first = nodes[0]
        return Node(NodeKind.ALIAS, first.path, first.key, row=self._shared[int(str(numbers[0]))])

    def _own(self, nodes: Sequence[Node]) -> Node:
        first = nodes[0]
        if self.rank >= len(nodes):
            return Node(NodeKind.OMITTED, first.path, first.key, value=PER_RANK)
        return self._renumbered(nodes[self.rank].children[0], first.key, {})

    def _renumbered(self, node: Node, key: object, known: dict[int, int]) -> Node:
        """Return a rank's own value, its arrays added to those of the whole."""
        row = node.row
        if row >= 0:
            if row not in known:
                found = self.parts[self.rank].arrays[row]
                known[row] = len(self.rows)
                shift = self._first_chunk[self.rank] if found.nbytes else 0
                self.rows.append(found._replace(chunk=found.chunk + shift))
            row = known[row]
        children = [self._renumbered(child, child.key, known) for child in node.children]
        return replace(node, key=key, row=row, children=children)  # type: ignore[arg-type]


def _header(node: Node, rank: int) -> tuple[Header, Sequence[Node]]:
    content = node.children[0]
    head, arrays = content.children[:1], content.children[1:]
    is_sound = content.kind == NodeKind.TUPLE and head and head[0].kind == NodeKind.BYTES
    try:
        if not is_sound or any(array.kind != NodeKind.ARRAY for array in arrays):
            raise ValueError("an array of several ranks is malformed")
        return decode_header(head[0].value, len(arrays)), arrays
    except ValueError as error:
        raise Disagreement(node.path, rank, str(error)) from error

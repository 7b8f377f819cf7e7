"""A checkpoint as one: the parts of all its ranks put together.

The trees of the ranks are walked side by side. They must say the same, but for the boxes that each
rank has written of the arrays that all hold together, and for values that each has for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from holdfast.errors import ManifestDamaged
from holdfast.format import boxes as box_format
from holdfast.format.boxes import Box
from holdfast.format.commit import CommitRecord
from holdfast.format.part import ArrayRow, ChunkRow, PackRow, Part
from holdfast.format.shared import (
    NAMES,
    PART_OF,
    PER_RANK,
    SAME_AS,
    Header,
    PieceRow,
    SharedRow,
    decode_header,
)
from holdfast.format.tree import CONTAINERS, NodeKind
from holdfast.records import commits
from holdfast.state.nodes import Node, decode_tree
from holdfast.store.contract import ObjectStore

Row = ArrayRow | SharedRow


@dataclass(frozen=True, slots=True)
class Whole:
    """A checkpoint as one process would have saved it.

    Attributes:
        root: The tree; rows of its nodes are those of ``arrays``.
        arrays: The arrays, in one piece or in boxes.
        chunks: The chunks of all parts.
        packs: The packs of all parts.
    """

    root: Node
    arrays: Sequence[Row]
    chunks: Sequence[ChunkRow]
    packs: Sequence[PackRow]


class Disagreement(Exception):
    """Ranks say different things of one place.

    Attributes:
        path: The place.
        rank: The first rank that says something else than rank 0.
        what: What is different.
    """

    def __init__(self, path: str, rank: int, what: str) -> None:
        super().__init__(f"{path!r}: {what} (rank {rank})")
        self.path, self.rank, self.what = path, rank, what


def read_whole(store: ObjectStore, record: CommitRecord, rank: int = 0) -> Whole:
    """Return a checkpoint as one.

    Args:
        store: Where it is.
        record: Its commit.
        rank: Whose own values are in it. Where so many ranks have not saved it, those are left out.

    Raises:
        DataError: A part is damaged or missing, or parts do not fit together.
    """
    parts = [commits.read_part(store, record, ref) for ref in record.parts]
    name = f"{record.run}@{record.step}"
    try:
        return put_together(parts, rank, name)
    except Disagreement as error:
        raise ManifestDamaged(
            f"The parts of {name} do not fit together: {error}. Nothing was loaded from it.",
            record=name,
        ) from error


def put_together(parts: Sequence[Part], rank: int, name: str) -> Whole:
    """Return the parts of all ranks, in order, as one.

    Args:
        parts: The parts.
        rank: Whose own values are in it.
        name: Of the checkpoint, for messages.

    Raises:
        Disagreement: They do not fit together.
        ManifestDamaged: A tree is malformed.
    """
    roots = [
        decode_tree(part.tree, len(part.arrays), what=f"the manifest of {name}, rank {part.rank}")
        for part in parts
    ]
    if len(parts) == 1 and not NAMES.intersection(parts[0].tree.type_name):
        [part] = parts
        return Whole(roots[0], part.arrays, part.chunks, part.packs)
    chunks, packs = _tables(parts)
    merging = _Merging(parts, rank)
    root = merging.node(roots)
    return Whole(root, merging.rows, chunks, packs)


def _tables(parts: Sequence[Part]) -> tuple[list[ChunkRow], list[PackRow]]:
    """Return the chunks and packs of all parts, with rows counted through."""
    chunks: list[ChunkRow] = []
    packs: list[PackRow] = []
    for part in parts:
        first_chunk, first_pack = len(chunks), len(packs)
        chunks += [
            replace(
                row,
                pack=row.pack + first_pack,
                base=None if row.base is None else row.base + first_chunk,
            )
            for row in part.chunks
        ]
        packs += part.packs
    return chunks, packs


@dataclass(slots=True)
class _Merging:
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
                raise Disagreement(
                    first.path, rank, f"{_said(other)}, where rank 0 has {_said(first)}"
                )
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
                raise Disagreement(
                    first.path, rank, f"{_kind(header.kind)}, where rank 0 has {_kind(kinds[0])}"
                )
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


def _said(node: Node) -> str:
    name = node.kind.name.lower().replace("_", " ")
    return f"{name} {node.type_name}" if node.type_name else name


def _kind(kind: tuple[str, str, tuple[int, ...]]) -> str:
    return f"{kind[1]}[{', '.join(map(str, kind[2]))}]"

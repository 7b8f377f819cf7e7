"""A checkpoint as one: the parts of all its ranks put together.

What all ranks agree on stands in rank 0's part, and the others have its digest and their boxes
(``records.joined``). Parts of formats 1 and 2 have a tree each (``records.side_by_side``).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from holdfast.errors import ManifestDamaged
from holdfast.format.commit import CommitRecord
from holdfast.format.part import ArrayRow, ChunkRow, HasChunks, PackRow, Part
from holdfast.format.shared import NAMES, SharedRow
from holdfast.records import commits
from holdfast.records.differing import Disagreement
from holdfast.records.side_by_side import SideBySide
from holdfast.state.nodes import Node, decode_tree
from holdfast.store.contract import ObjectStore

Row = ArrayRow | SharedRow
# Of many parts so many are read at a time: what takes time is that the store is far.
_READERS = 16


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


def read_whole(store: ObjectStore, record: CommitRecord, rank: int = 0) -> Whole:
    """Return a checkpoint as one.

    Args:
        store: Where it is.
        record: Its commit.
        rank: Whose own values are in it. Where so many ranks have not saved it, those are left out.

    Raises:
        DataError: A part is damaged or missing, or parts do not fit together.
    """
    parts = _read_parts(store, record)
    name = f"{record.run}@{record.step}"
    try:
        return put_together(parts, rank, name)
    except Disagreement as error:
        raise ManifestDamaged(
            f"The parts of {name} do not fit together: {error}. Nothing was loaded from it.",
            record=name,
        ) from error


def _read_parts(store: ObjectStore, record: CommitRecord) -> list[Part]:
    if len(record.parts) == 1:
        return [commits.read_part(store, record, record.parts[0])]
    with ThreadPoolExecutor(_READERS, "holdfast-parts") as pool:
        return list(pool.map(lambda ref: commits.read_part(store, record, ref), record.parts))


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
    if parts[0].lean is not None:
        # Here, since it takes NumPy, and a look at what one process saved does without.
        from holdfast.records.joined import Joined

        joined = Joined(parts, rank, name)
        return Whole(joined.root, joined.rows, *tables_of(parts))
    for part in parts:
        if part.lean is not None:
            raise Disagreement("", part.rank, "a part of another kind than rank 0's")
    roots = [
        decode_tree(part.tree, len(part.arrays), what=f"the manifest of {name}, rank {part.rank}")
        for part in parts
    ]
    if len(parts) == 1 and not NAMES.intersection(parts[0].tree.type_name):
        [part] = parts
        return Whole(roots[0], part.arrays, part.chunks, part.packs)
    chunks, packs = tables_of(parts)
    merging = SideBySide(parts, rank)
    root = merging.node(roots)
    return Whole(root, merging.rows, chunks, packs)


def tables_of(parts: Sequence[HasChunks]) -> tuple[list[ChunkRow], list[PackRow]]:
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

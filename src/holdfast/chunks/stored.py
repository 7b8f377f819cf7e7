"""Where a chunk lies, told by itself: what a manifest says of it in rows of several tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.chunks.batch import ChunkRead
from holdfast.format.blocks import Blocks
from holdfast.format.codecs import RAW
from holdfast.format.part import ChunkRow, HasChunks, PackRow


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a chunk lies: its digests and length, and its place in a pack of a certain length.

    ``codec``, ``encoded_length`` and ``blocks`` are as in ``ChunkRow``; ``base`` is where the chunk
    lies that a delta is a difference from.
    """

    digest: bytes
    check: bytes
    length: int
    pack_key: str
    pack_length: int
    offset: int
    codec: int = RAW
    encoded_length: int = 0
    base: Stored | None = None
    blocks: Blocks | None = None

    @property
    def stored_length(self) -> int:
        """Bytes that it takes in its pack, without a seal."""
        return self.encoded_length if self.codec else self.length

    def row(self, pack: int, base: int | None = None) -> ChunkRow:
        """Return its row in a manifest whose row ``pack`` is its pack.

        Args:
            pack: Of the table of packs.
            base: Of the table of chunks; of a delta only.
        """
        return ChunkRow(
            self.digest,
            self.check,
            self.length,
            pack,
            self.offset,
            self.codec,
            self.encoded_length,
            base,
            self.blocks,
        )

    def read(self) -> ChunkRead:
        """Return what reads it, to nowhere."""
        base = self.base.read() if self.base is not None else None
        return ChunkRead(self.row(0), self.pack_key, (), False, "", base)


def stored_at(part: HasChunks, row: ChunkRow) -> Stored:
    """Return where the chunk of a manifest's row lies."""
    pack = part.packs[row.pack]
    return Stored(
        row.digest,
        row.check,
        row.length,
        pack.key,
        pack.length,
        row.offset,
        row.codec,
        row.encoded_length,
        stored_at(part, part.chunks[row.base]) if row.base is not None else None,
        row.blocks,
    )


def tables(places: Sequence[Stored]) -> tuple[list[ChunkRow], list[PackRow]]:
    """Return the chunk and pack tables of a manifest.

    The chunks that deltas are differences from have rows behind all others, unless they are among
    them: so their packs are named, and whoever keeps, copies or checks what a manifest names need
    not know of deltas.

    Args:
        places: Where each chunk lies, in order.
    """
    packs: dict[str, int] = {}
    pack_rows: list[PackRow] = []
    rows: list[ChunkRow] = []
    bases = dict.fromkeys(place.base for place in places if place.base is not None)
    at = {place: index for index, place in enumerate(places) if place in bases} if bases else {}
    more = [base for base in bases if base not in at]
    at.update((base, len(places) + index) for index, base in enumerate(more))
    for place in (*places, *more):
        if place.pack_key not in packs:
            packs[place.pack_key] = len(pack_rows)
            pack_rows.append(PackRow(place.pack_key, place.pack_length))
        base_row = at[place.base] if place.base is not None else None
        rows.append(place.row(packs[place.pack_key], base_row))
    return rows, pack_rows

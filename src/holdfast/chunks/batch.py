"""Chunks that are to be read, in batches that one stretch of a pack brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.chunks.targets import Target
from holdfast.format.part import ChunkRow, HasChunks
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk to be read, and where its bytes go.

    ``in_place`` says that one of the targets is memory that stands; ``leaf`` names a leaf in it
    for error messages. ``base`` reads the chunk that a delta is a difference from.

    With ``block_bytes`` it is a run of blocks of a chunk, which is read as if it were one: the row
    says where the run lies, and its ``check`` has the checksums of all its blocks.
    """

    row: ChunkRow
    pack_key: str
    targets: Sequence[Target]
    in_place: bool
    leaf: str
    base: ChunkRead | None = None
    block_bytes: int = 0

    @property
    def goes_to_one_place(self) -> bool:
        """Whether all of the chunk goes to one stretch of memory, and nothing else does."""
        return len(self.targets) == 1 and self.targets[0].into.nbytes == self.row.length


# Chunks of one pack that lie side by side: one read brings them all.
Batch = Sequence[ChunkRead]


def batches(reads: Sequence[ChunkRead], trailer_bytes: int) -> list[Batch]:
    """Return reads grouped into stretches of one pack, of 32 MiB at most unless one is longer.

    A stretch has chunks that are stored as they are, or chunks that are in a codec, not both.

    Args:
        reads: The reads.
        trailer_bytes: What is stored behind each chunk.
    """
    out: list[list[ChunkRead]] = []
    held = 0
    for read in sorted(reads, key=lambda r: (r.pack_key, r.row.offset)):
        more = plain_bytes([read])
        # What comes out of a codec must fit, too.
        if out and held + more <= CHUNK_BYTES and _continues(out[-1], read, trailer_bytes):
            out[-1].append(read)
            held += more
        else:
            out.append([read])
            held = more
    return list(out)


def _continues(batch: Batch, read: ChunkRead, trailer_bytes: int) -> bool:
    """Say whether a chunk lies right behind a batch, and one read may bring it, too."""
    first, last, row = batch[0].row, batch[-1].row, read.row
    return (
        read.pack_key == batch[0].pack_key
        and row.offset == align(last.offset + last.stored_length + trailer_bytes, CHUNK_ALIGNMENT)
        and row.offset + row.stored_length - first.offset <= CHUNK_BYTES
        and bool(row.codec) == bool(last.codec)
    )


def by_pack(reads: Sequence[ChunkRead]) -> list[list[ChunkRead]]:
    """Return reads grouped by the pack they are in."""
    packs: dict[str, list[ChunkRead]] = {}
    for read in reads:
        packs.setdefault(read.pack_key, []).append(read)
    return list(packs.values())


def read_of(
    part: HasChunks,
    row: ChunkRow,
    targets: Sequence[Target] = (),
    leaf: str = "",
    *,
    in_place: bool = False,
) -> ChunkRead:
    """Return the read of a chunk of a part, and of the one that it is a difference from."""
    base = read_of(part, part.chunks[row.base], leaf=leaf) if row.base is not None else None
    return ChunkRead(row, part.packs[row.pack].key, targets, in_place, leaf, base)


def reads_of(
    part: HasChunks, spans: Mapping[int, Sequence[tuple[int, memoryview, bool, str]]]
) -> list[ChunkRead]:
    """Return the chunk reads of a part: for each chunk its (begin, memory, stands, leaf) list."""
    reads = []
    for index, pieces in spans.items():
        row = part.chunks[index]
        reads.append(
            read_of(
                part,
                row,
                [Target(begin, into) for begin, into, _, _ in pieces],
                pieces[0][3],
                in_place=any(stands for _, _, stands, _ in pieces),
            )
        )
    return reads


def extent(batch: Batch, trailer_bytes: int) -> tuple[int, int]:
    """Return where a batch begins in its pack, and its length in bytes."""
    first, last = batch[0].row, batch[-1].row
    return first.offset, last.offset + last.stored_length + trailer_bytes - first.offset


def stored_bytes(batch: Batch, trailer_bytes: int) -> int:
    """Return how much memory what is stored of a batch needs."""
    return align(extent(batch, trailer_bytes)[1], CHUNK_ALIGNMENT)


def plain_bytes(batch: Batch) -> int:
    """Return how much memory the chunks of a batch need besides, to come out of their codecs."""
    return sum(align(read.row.length, CHUNK_ALIGNMENT) for read in batch if read.row.codec)

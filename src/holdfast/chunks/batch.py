"""Chunks that are to be read, in batches that one stretch of a pack brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.form import ChunkForm
from holdfast.format.part import ChunkRow, Part
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectReader

_PIECE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stretch of a chunk goes: its begin in the chunk, and the memory."""

    begin: int
    into: memoryview


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk to be read, and where its bytes go.

    ``in_place`` says that one of the targets is memory that stands; ``leaf`` names a leaf in it
    for error messages. ``base`` reads the chunk that a delta is a difference from.
    """

    row: ChunkRow
    pack_key: str
    targets: Sequence[Target]
    in_place: bool
    leaf: str
    base: ChunkRead | None = None

    @property
    def goes_to_one_place(self) -> bool:
        """Whether all of the chunk goes to one stretch of memory, and nothing else does."""
        return len(self.targets) == 1 and self.targets[0].into.nbytes == self.row.length


# Chunks of one pack that lie side by side: one read brings them all.
Batch = Sequence[ChunkRead]
# Gives the bytes of the chunk that a delta is a difference from; see chunks.bases.
GiveBase = Callable[[ChunkRead], memoryview]


def batches(reads: Sequence[ChunkRead], trailer_bytes: int) -> list[Batch]:
    """Return reads grouped into stretches of one pack, of 32 MiB at most unless one is longer.

    A stretch has chunks that are stored as they are, or chunks that are in a codec, not both.

    Args:
        reads: The reads.
        trailer_bytes: What is stored behind each chunk.
    """
    out: list[list[ChunkRead]] = []
    for read in sorted(reads, key=lambda r: (r.pack_key, r.row.offset)):
        row = read.row
        if out:
            first, last = out[-1][0], out[-1][-1]
            end = last.row.offset + last.row.stored_length + trailer_bytes
            follows = row.offset == align(end, CHUNK_ALIGNMENT)
            fits = row.offset + row.stored_length - first.row.offset <= CHUNK_BYTES
            is_alike = bool(row.codec) == bool(last.row.codec)
            # What comes out of a codec must fit, too.
            fits = fits and plain_bytes([*out[-1], read]) <= CHUNK_BYTES
            if read.pack_key == last.pack_key and follows and fits and is_alike:
                out[-1].append(read)
                continue
        out.append([read])
    return list(out)


def by_pack(reads: Sequence[ChunkRead]) -> list[list[ChunkRead]]:
    """Return reads grouped by the pack they are in."""
    packs: dict[str, list[ChunkRead]] = {}
    for read in reads:
        packs.setdefault(read.pack_key, []).append(read)
    return list(packs.values())


def read_of(
    part: Part,
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
    part: Part, spans: Mapping[int, Sequence[tuple[int, memoryview, bool, str]]]
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


def plain_bytes(batch: Batch) -> int:
    """Return how much memory the chunks of a batch need besides, to come out of their codecs."""
    return sum(align(read.row.length, CHUNK_ALIGNMENT) for read in batch if read.row.codec)


class Stretch:
    """Chunks that lie side by side, on their way into memory.

    They come in pieces that are small enough to be in the processor's cache still when they are
    digested, and that several threads have under way at any time: with larger ones the threads
    would wait for the disk together, and the disk for them.

    Args:
        reader: Of the pack.
        batch: The chunks.
        memory: Page-aligned, for what is stored of them.
        form: How they are stored.
        plain: For what comes out of their codecs, ``plain_bytes`` of the batch; without it, what
            ``chunk`` yields of such chunks is good until the next is asked for.
        give_base: Gives what deltas are differences from; without it none can be read.
    """

    def __init__(
        self,
        reader: ObjectReader,
        batch: Batch,
        memory: memoryview,
        form: ChunkForm,
        plain: memoryview | None = None,
        give_base: GiveBase | None = None,
    ) -> None:
        self._give_base = give_base
        self.begin, length = extent(batch, form.trailer_bytes)
        self._form = form
        self.is_cut_short = self.begin + length > reader.size
        self._reader = reader
        self._memory = memory
        self._plain = plain
        sizes = [plain_bytes([read]) for read in batch]
        # By where they are stored, which in a stretch none shares with another.
        self._plain_begins = {
            read.row.offset: begin
            for read, begin in zip(batch, accumulate(sizes, initial=0), strict=False)
        }
        self._padded = min(align(length, CHUNK_ALIGNMENT), reader.size - self.begin)
        self._is_cached = reader.is_cached(self.begin, length)
        self._filled = 0

    def data(self, read: ChunkRead) -> memoryview:
        """Return where the bytes of a chunk are once ``chunk`` has given them all."""
        row = read.row
        if row.codec:
            assert self._plain is not None
            begin = self._plain_begins[row.offset]
            return self._plain[begin : begin + row.length]
        begin = row.offset - self.begin
        return self._memory[begin : begin + row.length]

    def chunk(self, read: ChunkRead) -> Iterator[memoryview]:
        """Yield the bytes of a chunk in order, as they come; call with rising chunks.

        Raises:
            Unsealable: The chunk is not what was sealed.
            Undecodable: The chunk is not what its codec makes.
            ChunkMissing, StoreUnavailable: What it is a difference from cannot be read.
        """
        if not read.row.codec:
            yield from self.stored(read)
            return
        for _ in self.stored(read):
            pass
        into = self.data(read) if self._plain is not None else None
        base: memoryview | None = None
        if read.base is not None and self._give_base is not None:
            base = self._give_base(read.base)
        yield from decode(read.row.codec, self.stored_data(read), read.row.length, into, base)

    def stored_data(self, read: ChunkRead) -> memoryview:
        """Return where the stored bytes of a chunk are once ``stored`` has given them all."""
        begin = read.row.offset - self.begin
        return self._memory[begin : begin + read.row.stored_length]

    def stored(self, read: ChunkRead) -> Iterator[memoryview]:
        """Yield the stored bytes of a chunk without their seal, as they come.

        Raises:
            Unsealable: The chunk is not what was sealed.
        """
        begin = read.row.offset - self.begin
        end = begin + read.row.stored_length
        opener = self._form.opener(read.row.digest, self._trailer(begin, end))
        for piece in self._pieces(begin, end):
            opener.add(piece, piece)
            yield piece
        opener.finish()

    def _trailer(self, begin: int, end: int) -> memoryview:
        """Return what is stored behind a chunk, which is needed first to open it."""
        nbytes = self._form.trailer_bytes
        if nbytes and self._is_cached:
            trailer = memoryview(bytearray(nbytes))
            if self._reader.read_cached(trailer, self.begin + end):
                return trailer
        for _ in self._pieces(begin, end + nbytes) if nbytes else ():
            pass
        return self._memory[end : end + nbytes]

    def brings(self, read: ChunkRead) -> bool:
        """Bring a chunk into memory; say whether that works. Call with rising chunks."""
        try:
            for _ in self.chunk(read):
                pass
        except (Unsealable, Undecodable):
            return False
        return True

    def _pieces(self, begin: int, end: int) -> Iterator[memoryview]:
        while begin < end:
            while self._filled <= begin:
                self._fill_piece()
            upto = min(self._filled, end, begin + _PIECE_BYTES)
            yield self._memory[begin:upto]
            begin = upto

    def _fill_piece(self) -> None:
        piece = self._memory[self._filled : min(self._filled + _PIECE_BYTES, self._padded)]
        at = self.begin + self._filled
        if not (self._is_cached and self._reader.read_cached(piece, at)):
            self._reader.read_uncached(piece, at)
        self._filled += piece.nbytes

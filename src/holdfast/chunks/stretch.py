"""Chunks that lie side by side in a pack, on their way into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from holdfast.chunks.batch import Batch, ChunkRead, extent, plain_bytes
from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.form import ChunkForm
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, align
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectReader

_PIECE_BYTES = 2 << 20

# Gives the bytes of the chunk that a delta is a difference from; see chunks.bases.
GiveBase = Callable[[ChunkRead], memoryview]


class Stretch:
    """A batch that comes into memory.

    They come in pieces that are small enough to be in the processor's cache still when they are
    digested, and that several threads have under way at any time: with larger ones the threads
    would wait for the disk together, and the disk for them. Only with so many threads that some
    wait for the disk at any time does it bring more at once.

    Args:
        reader: Of the pack.
        batch: The chunks.
        memory: Page-aligned, for what is stored of them.
        form: How they are stored.
        plain: For what comes out of their codecs, ``plain_bytes`` of the batch; without it, what
            ``chunk`` yields of such chunks is good until the next is asked for.
        give_base: Gives what deltas are differences from; without it none can be read.
        at_once: Whether what is on the disk comes in one piece.
    """

    def __init__(
        self,
        reader: ObjectReader,
        batch: Batch,
        memory: memoryview,
        form: ChunkForm,
        plain: memoryview | None = None,
        give_base: GiveBase | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        self._give_base = give_base
        self._begin, length = extent(batch, form.trailer_bytes)
        self._form = form
        self.is_cut_short = self._begin + length > reader.size
        self._reader = reader
        self._memory = memory
        self._plain = plain
        sizes = [plain_bytes([read]) for read in batch]
        # By where they are stored, which in a stretch none shares with another.
        self._plain_begins = {
            read.row.offset: begin
            for read, begin in zip(batch, accumulate(sizes, initial=0), strict=False)
        }
        self._padded = min(align(length, CHUNK_ALIGNMENT), reader.size - self._begin)
        self._is_cached = reader.is_cached(self._begin, length)
        self._fill_bytes = CHUNK_BYTES if at_once and not self._is_cached else _PIECE_BYTES
        self._filled = 0

    def data(self, read: ChunkRead) -> memoryview:
        """Return where the bytes of a chunk are once ``chunk`` has given them all."""
        row = read.row
        if row.codec:
            assert self._plain is not None
            begin = self._plain_begins[row.offset]
            return self._plain[begin : begin + row.length]
        begin = row.offset - self._begin
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
        begin = read.row.offset - self._begin
        return self._memory[begin : begin + read.row.stored_length]

    def stored(self, read: ChunkRead) -> Iterator[memoryview]:
        """Yield the stored bytes of a chunk without their seal, as they come.

        Raises:
            Unsealable: The chunk is not what was sealed.
        """
        begin = read.row.offset - self._begin
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
            if self._reader.read_cached(trailer, self._begin + end):
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
        piece = self._memory[self._filled : min(self._filled + self._fill_bytes, self._padded)]
        at = self._begin + self._filled
        if not (self._is_cached and self._reader.read_cached(piece, at)):
            self._reader.read_uncached(piece, at)
        self._filled += piece.nbytes

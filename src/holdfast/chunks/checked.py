"""What all ways to read chunks stand on: readers, memory, digests, and the word for what is bad."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, final

import xxhash

from holdfast.chunks.bases import Bases
from holdfast.chunks.batch import Batch, ChunkRead, stored_bytes
from holdfast.chunks.blocks import BlockHasher, first_difference
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.form import Hasher, NoDigest, form_of
from holdfast.chunks.metered import Metered, ReadCount
from holdfast.chunks.stretch import Stretch
from holdfast.errors import ChunkDamaged
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectReader, ObjectStore, is_far
from holdfast.store.scratch import Scratch

# Small enough to stay in a core's cache between being read and being digested.
STEP_BYTES = 1 << 20


@final
class Checked:
    """Reads and checks chunks of one checkpoint; may be used by several threads.

    Args:
        store: Where they lie.
        ref: The checkpoint, for error messages.
        full: Check BLAKE3 digests instead of XXH3 checksums.

    Attributes:
        form: How they lie there.
        count: Of what is read.
    """

    def __init__(self, store: ObjectStore, ref: str, *, full: bool) -> None:
        self.form = form_of(store)
        self.count = ReadCount()
        self._store = store
        self._bases = Bases(store)
        self.ref = ref
        self._full = full
        self._is_near = not is_far(store)
        self._readers: dict[str, ObjectReader] = {}
        self._lock = threading.Lock()
        self._memory = Scratch(CHUNK_BYTES, least=STEP_BYTES)

    def load(
        self,
        batch: Batch,
        memory: memoryview,
        plain: memoryview | None = None,
        *,
        at_once: bool = False,
    ) -> Iterator[tuple[ChunkRead, memoryview]]:
        """Read chunks that lie side by side into memory; yield the checked bytes of each.

        Those of chunks in a codec come to be in plain, if there is such memory, or nowhere. What
        the disk brings comes piece by piece, or ``at_once``: for many threads.

        Raises:
            ChunkDamaged: One is not good; those before it were yielded.
        """
        reader = self.reader(batch[0].pack_key)
        stretch = Stretch(
            reader, batch, memory, self.form, plain, self._bases, at_once=at_once and self._is_near
        )
        if stretch.is_cut_short:
            self.refuse(batch[-1], "the pack is cut short")
        for read in batch:
            hasher = self.hasher(read)
            with self.refusing(read):
                for piece in stretch.chunk(read):
                    hasher.update(piece)
            self.compare(read, hasher)
            is_kept = plain is not None or not read.row.codec
            yield read, stretch.data(read) if is_kept else memoryview(b"")

    def hasher(self, read: ChunkRead) -> Hasher:
        """Return what takes the bytes of a chunk, to be given to ``compare``."""
        if read.block_bytes:
            return BlockHasher(read.block_bytes)
        if self._full:
            return self.form.hasher()
        # The seal has proved already what a checksum could tell, but not what a codec makes of it.
        is_proved = self.form.is_sealed and not read.row.codec
        hasher: Hasher = NoDigest() if is_proved else xxhash.xxh3_128()
        return hasher

    @contextmanager
    def refusing(self, read: ChunkRead) -> Iterator[None]:
        """Refuse a chunk that does not open or decode while this is not left."""
        try:
            yield
        except (Unsealable, Undecodable) as error:
            self.refuse(read, f"it does not open: {error}")

    def compare(self, read: ChunkRead, hasher: Hasher) -> None:
        """Refuse a chunk whose bytes are not those of its row.

        Raises:
            ChunkDamaged: They are not.
        """
        by_digest = self._full and not read.block_bytes
        expected = read.row.digest if by_digest else read.row.check
        found = hasher.digest()
        if found and found != expected:
            where = ""
            if read.block_bytes:
                number, expected, found = first_difference(expected, found)
                at = read.row.offset + number * read.block_bytes
                where = f"in the block at byte {at} of the pack: "
            self.refuse(
                read, f"{where}digest expected {expected.hex()[:12]}…, found {found.hex()[:12]}…"
            )

    def refuse(self, read: ChunkRead, what: str) -> NoReturn:
        """Raise the error for a chunk that is not good.

        Raises:
            ChunkDamaged: Always.
        """
        raise ChunkDamaged(
            f"Chunk {read.row.digest.hex()[:12]}… of {read.leaf!r} ({self.ref}, in "
            f"{read.pack_key}): {what}. Nothing was changed in your state. Restore another "
            "checkpoint ('holdfast verify' tells which are good) or run 'holdfast repair'.",
            ref=self.ref,
            leaf=read.leaf,
            chunk=read.row.digest.hex(),
            key=read.pack_key,
        )

    def reader(self, key: str) -> ObjectReader:
        """Return the reader of a pack, which stays open until ``closing`` is left."""
        known = self._readers.get(key)
        if known is not None:
            return known
        # Outside of the lock: buckets are far away, and packs are many.
        opened = Metered(self._store.open(key), self.count)
        with self._lock:
            kept = self._readers.setdefault(key, opened)
        if kept is not opened:
            opened.close()
        return kept

    def scratch_for(self, batch: Batch) -> memoryview:
        """Return ``scratch`` for what is stored of a batch."""
        return self.scratch(stored_bytes(batch, self.form.trailer_bytes))

    def scratch(self, nbytes: int, use: str = "stored") -> memoryview:
        """Return page-aligned memory of this thread, touched before if used before."""
        return self._memory.memory(use, nbytes)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close all packs when this is left."""
        try:
            yield
        finally:
            for reader in self._readers.values():
                reader.close()

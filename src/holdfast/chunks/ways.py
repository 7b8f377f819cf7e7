"""The ways to read a chunk, or a batch of them, to where it goes: all check, some only stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

from holdfast.chunks.batch import Batch, ChunkRead, batches, plain_bytes
from holdfast.chunks.checked import STEP_BYTES, Checked
from holdfast.chunks.staging import Staging
from holdfast.chunks.targets import apart
from holdfast.store.contract import ObjectReader
from holdfast.store.memory_copy import copy_bytes


@final
class Ways:
    """Reads chunks of one checkpoint; may be used by several threads.

    Args:
        checked: Brings chunks into memory.
        staging: Keeps what was checked until all is good.
        progress: Called with the bytes of each chunk that is where it goes.
    """

    def __init__(self, checked: Checked, staging: Staging, progress: Callable[[int], None]) -> None:
        self._checked, self._staging, self._progress = checked, staging, progress

    def look_at(self, batch: Batch) -> None:
        """Check chunks that will be read to their places later."""
        for _ in self._checked.load(batch, self._checked.scratch_for(batch)):
            pass

    def is_good_in_cache(self, read: ChunkRead) -> bool:
        """Check a chunk in the page cache; False if it is not there."""
        reader = self._checked.reader(read.pack_key)
        if not reader.is_cached(read.row.offset, read.row.length):
            return False
        scratch, hasher = self._checked.scratch(STEP_BYTES), self._checked.hasher(read)
        for at, n in _steps(read.row.length):
            if not reader.read_cached(scratch[:n], read.row.offset + at):
                return False
            hasher.update(scratch[:n])
        self._checked.compare(read, hasher)
        return True

    def stage(self, lent: memoryview, batch: Batch) -> None:
        """Read chunks into lent memory, check them, and keep them there until all is good."""
        # What comes out of a codec, or else what is stored, comes to be in lent memory.
        is_decoded = plain_bytes(batch) > 0
        memory, plain = (self._checked.scratch_for(batch), lent) if is_decoded else (lent, None)
        for read, data in self._checked.load(batch, memory, plain, at_once=not is_decoded):
            own, shared = apart(read.targets)
            for target in shared:
                self._staging.hold(target.into, memoryview(bytearray(target.of(data))))
            for target in own:
                self._staging.hold(target.into, target.of(data))
            self._progress(read.row.length)

    def stage_from_disk(self, lent: memoryview, batch: Batch) -> None:
        """Do the same, while more is expected from the disk."""
        self.stage(lent, batch)
        self._staging.arrived()

    def open_staged(self, lent: memoryview, read: ChunkRead) -> None:
        """Open a sealed chunk of the page cache into lent memory, and check it.

        It is opened step by step out of the processor's cache, so that its bytes take the way
        through memory once. That they are good is known when the last of them is there.
        """
        reader, row, plain = self._checked.reader(read.pack_key), read.row, lent[: read.row.length]
        hasher, scratch = self._checked.hasher(read), self._checked.scratch(STEP_BYTES)
        trailer = memoryview(bytearray(self._checked.form.trailer_bytes))
        if row.offset + row.length + trailer.nbytes > reader.size:
            self._checked.refuse(read, "the pack is cut short")
        _read(reader, trailer, row.offset + row.length)
        with self._checked.refusing(read):
            opener = self._checked.form.opener(row.digest, trailer)
            for at, n in _steps(row.length):
                piece = plain[at : at + n]
                _read(reader, scratch[:n], row.offset + at)
                opener.add(scratch[:n], piece)
                hasher.update(piece)
            opener.finish()
        self._checked.compare(read, hasher)
        self._staging.hold(read.targets[0].into, plain)
        self._progress(row.length)

    def copy_cached(self, read: ChunkRead) -> None:
        """Copy a chunk that was checked to its places; check again what left the cache."""
        if not self.read_straight(read):
            self.place([read])

    def put_in_place(self, batch: Batch) -> None:
        """Read chunks that were checked to their places; nobody needs what is there any more."""
        straight = [read for read in batch if read.row.codec and read.goes_to_one_place]
        others = [read for read in batch if not (read.row.codec and read.goes_to_one_place)]
        for read in straight:
            self._decode_straight(read)
        for rest in batches(others, self._checked.form.trailer_bytes):
            self.place(rest)

    def place(self, batch: Batch) -> None:
        """Read chunks, check them, and copy them to their places."""
        plain = self._checked.scratch(plain_bytes(batch), "plain")
        for read, data in self._checked.load(batch, self._checked.scratch_for(batch), plain):
            for target in read.targets:
                copy_bytes(target.into, target.of(data))
            self._progress(read.row.length)

    def read_straight(self, read: ChunkRead) -> bool:
        """Read a cached chunk that goes to one place to there, and check it there; or say no."""
        reader, row, into = self._checked.reader(read.pack_key), read.row, read.targets[0].into
        if not read.goes_to_one_place or not reader.is_cached(row.offset, row.stored_length):
            return False
        if row.codec:
            self._decode_straight(read)
        elif not self._fill_from_cache(read, reader, into):
            return False
        else:
            self._progress(row.length)
        return True

    def _decode_straight(self, read: ChunkRead) -> None:
        """Decode a chunk that goes to one place to there, and check it there."""
        memory = self._checked.scratch_for([read])
        for _ in self._checked.load([read], memory, read.targets[0].into):
            self._progress(read.row.length)

    def _fill_from_cache(self, read: ChunkRead, reader: ObjectReader, into: memoryview) -> bool:
        """Read a chunk, opened step by step in the processor's cache, and check it; or say no."""
        row, hasher = read.row, self._checked.hasher(read)
        scratch = self._checked.scratch(STEP_BYTES)
        trailer = memoryview(bytearray(self._checked.form.trailer_bytes))
        if trailer and not reader.read_cached(trailer, row.offset + row.length):
            return False
        with self._checked.refusing(read):
            opener = self._checked.form.opener(row.digest, trailer)
            for at, n in _steps(row.length):
                piece = into[at : at + n]
                stored = scratch[:n] if self._checked.form.is_sealed else piece
                if not reader.read_cached(stored, row.offset + at):
                    return False
                opener.add(stored, piece)
                hasher.update(piece)
            opener.finish()
        self._checked.compare(read, hasher)
        return True


def _read(reader: ObjectReader, into: memoryview, offset: int) -> None:
    """Read what was in the cache a moment ago, from the disk if it is not there any more."""
    if not reader.read_cached(into, offset):
        reader.read(into, offset)


def _steps(length: int) -> Iterator[tuple[int, int]]:
    for at in range(0, length, STEP_BYTES):
        yield at, min(STEP_BYTES, length - at)

"""Chunks handed over one by one, checked, in bounded memory: for whoever passes their bytes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from holdfast.chunks.bases import Bases
from holdfast.chunks.batch import Batch, ChunkRead, batches, plain_bytes, stored_bytes
from holdfast.chunks.crew import Crew
from holdfast.chunks.form import ChunkForm, form_of, is_chunk
from holdfast.chunks.stretch import Stretch
from holdfast.errors import ChunkDamaged
from holdfast.format.digests import check
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.store.contract import ObjectStore
from holdfast.store.scratch import Scratch

THREADS = 4

Visit = Callable[[ChunkRead, memoryview], None]


def visit_chunks(
    store: ObjectStore, reads: Sequence[ChunkRead], visit: Visit, *, ref: str, full: bool = False
) -> None:
    """Read chunks, check each, and hand its bytes over; in any order, several at a time.

    Args:
        store: Where they lie.
        reads: The chunks; their targets are not used.
        visit: Called with a chunk and its bytes, which are its own until it returns; from several
            threads.
        ref: The checkpoint, for messages.
        full: Check BLAKE3 digests instead of XXH3 checksums.

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk is not good.
    """
    scratch, form, bases = Scratch(CHUNK_BYTES), form_of(store), Bases(store)

    def work(batch: Batch) -> None:
        memory = scratch.memory("stored", stored_bytes(batch, form.trailer_bytes))
        plain = scratch.memory("plain", plain_bytes(batch))
        with closing(store.open(batch[0].pack_key)) as reader:
            stretch = Stretch(reader, batch, memory, form, plain, bases)
            if stretch.is_cut_short:
                raise _damaged(batch[-1], ref)
            for read in batch:
                is_there = stretch.brings(read)
                data = stretch.data(read)
                if not is_there or not _is_good(read, data, form, full=full):
                    raise _damaged(read, ref)
                visit(read, data)

    crew = Crew(lambda: False)
    with ThreadPoolExecutor(THREADS, "holdfast-visit") as pool:
        try:
            crew.start(pool, work, batches(reads, form.trailer_bytes))
            crew.finish()
        finally:
            crew.stop()


def _is_good(read: ChunkRead, data: memoryview, form: ChunkForm, *, full: bool) -> bool:
    return is_chunk(form, data, read.row.digest) if full else check(data) == read.row.check


def _damaged(read: ChunkRead, ref: str) -> ChunkDamaged:
    name = read.row.digest.hex()
    return ChunkDamaged(
        f"Chunk {name[:12]}… of {read.leaf!r} ({ref}, in {read.pack_key}) is damaged. 'holdfast "
        "verify' tells which checkpoints are good; 'holdfast repair' puts right what can be.",
        ref=ref,
        leaf=read.leaf,
        chunk=name,
        key=read.pack_key,
    )

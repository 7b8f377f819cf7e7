"""Chunks checked where they lie, as fast as the disk gives them; nothing is kept of their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import xxhash

from holdfast.chunks.bases import Bases
from holdfast.chunks.batch import Batch, ChunkRead, batches, extent, read_of, stored_bytes
from holdfast.chunks.blocks import BlockHasher
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.form import ChunkForm, Hasher, NoDigest, form_of
from holdfast.chunks.stretch import Stretch
from holdfast.errors import HoldfastError
from holdfast.format.part import ChunkRow, HasChunks
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectReader, ObjectStore
from holdfast.store.scratch import Scratch

THREADS = 4

# A pack's key, where in it a chunk begins, the chunk's digest, that of its base if it is a delta.
Place = tuple[str, int, bytes, bytes]
Verdict = Callable[[ChunkRead, str | None], None]


def place_of(part: HasChunks, row: ChunkRow) -> Place:
    """Return what tells a chunk of a part from every other, of other parts too."""
    return place_of_read(read_of(part, row))


def place_of_read(read: ChunkRead) -> Place:
    """Return what ``place_of`` gives of the chunk that is read."""
    base = read.base.row.digest if read.base is not None else b""
    return read.pack_key, read.row.offset, read.row.digest, base


def check_chunks(store: ObjectStore, reads: Sequence[ChunkRead], tell: Verdict) -> None:
    """Read chunks and compare both digests of each.

    Args:
        store: Where they lie.
        reads: The chunks; their targets are not used.
        tell: Called once for each chunk, with None where it is good, else with what is wrong; from
            several threads.
    """
    scratch, form, bases = Scratch(CHUNK_BYTES), form_of(store), Bases(store)

    def work(batch: Batch) -> None:
        told = 0
        try:
            with closing(store.open(batch[0].pack_key)) as reader:
                for problem in _problems(reader, batch, form, scratch, bases):
                    tell(batch[told], problem)
                    told += 1
        except HoldfastError as error:
            if len(batch) == 1:
                tell(batch[0], str(error))
                return
            # One bad sector shall not condemn its neighbours.
            for read in batch[told:]:
                work([read])

    with ThreadPoolExecutor(THREADS, "holdfast-check") as pool:
        for _ in pool.map(work, batches(reads, form.trailer_bytes)):
            pass


def _problems(
    reader: ObjectReader, batch: Batch, form: ChunkForm, scratch: Scratch, bases: Bases
) -> Iterator[str | None]:
    """Yield what is wrong with each chunk of a batch, in order; None where it is good."""
    memory = scratch.memory("stored", stored_bytes(batch, form.trailer_bytes))
    stretch = Stretch(reader, batch, memory, form, give_base=bases)
    if stretch.is_cut_short:
        begin, length = extent(batch, form.trailer_bytes)
        reader.read(memory[:length], begin)  # Its error says where the pack ends.
    for read in batch:
        yield _problem(stretch, read, form)


def _problem(stretch: Stretch, read: ChunkRead, form: ChunkForm) -> str | None:
    name = f"chunk {read.row.digest.hex()[:12]}…"
    identity, quick = form.hasher(), xxhash.xxh3_128()
    # In an encrypted store nobody goes by them.
    blocks = read.row.blocks if not form.is_sealed else None
    by_block: Hasher = BlockHasher(blocks.nbytes) if blocks is not None else NoDigest()
    try:
        for piece in stretch.chunk(read):
            identity.update(piece)
            quick.update(piece)
            by_block.update(piece)
    except (Unsealable, Undecodable) as error:
        return f"{name} in {read.pack_key} does not open: {error}"
    if identity.digest() != read.row.digest:
        return f"{name} in {read.pack_key} is damaged"
    if quick.digest() != read.row.check:
        return f"the checksum of {name} is wrong in the manifest"
    if blocks is not None and by_block.digest() != blocks.checks:
        return f"the checksums of the blocks of {name} are wrong in the manifest"
    return None

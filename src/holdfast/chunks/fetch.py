"""One chunk read into memory of its own, and checked: for what is looked at chunk by chunk."""

from __future__ import annotations

from contextlib import closing

from holdfast.chunks.batch import ChunkRead, Stretch, extent, plain_bytes
from holdfast.chunks.form import form_of
from holdfast.errors import HoldfastError
from holdfast.format.digests import check
from holdfast.format.part import ChunkRow
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.contract import ObjectStore
from holdfast.store.memory_pages import private_memory


def fetch_chunk(store: ObjectStore, pack_key: str, row: ChunkRow) -> memoryview | None:
    """Return the bytes of a chunk, its checksum compared; None where it is damaged or gone."""
    found = fetch_both(store, pack_key, row)
    return found[0] if found is not None else None


def fetch_both(
    store: ObjectStore, pack_key: str, row: ChunkRow
) -> tuple[memoryview, memoryview] | None:
    """Return the bytes of a chunk, its checksum compared, and the bytes it is stored as, unsealed.

    Both are the same where it has no codec. None where it is damaged or gone.
    """
    form = form_of(store)
    read = ChunkRead(row, pack_key, (), False, "")
    nbytes = extent([read], form.trailer_bytes)[1]
    memory = memoryview(private_memory(align(nbytes, CHUNK_ALIGNMENT)))
    plain = memoryview(bytearray(plain_bytes([read])))
    try:
        with closing(store.open(pack_key)) as reader:
            stretch = Stretch(reader, [read], memory, form, plain)
            if stretch.is_cut_short or not stretch.brings(read):
                return None
    except HoldfastError:
        return None
    data = stretch.data(read)
    return (data, stretch.stored_data(read)) if check(data) == row.check else None

"""One chunk read into memory of its own, and checked: for what is looked at chunk by chunk."""

from __future__ import annotations

from contextlib import closing

from holdfast.chunks.bases import Bases
from holdfast.chunks.batch import ChunkRead, plain_bytes, stored_bytes
from holdfast.chunks.form import form_of, is_chunk
from holdfast.chunks.stretch import GiveBase, Stretch
from holdfast.errors import HoldfastError
from holdfast.format.digests import check
from holdfast.store.contract import ObjectStore
from holdfast.store.memory_pages import private_memory


def fetch_chunk(store: ObjectStore, read: ChunkRead) -> memoryview | None:
    """Return the bytes of a chunk, its checksum compared; None where it is damaged or gone."""
    found = fetch_both(store, read)
    return found[0] if found is not None else None


def fetch_both(store: ObjectStore, read: ChunkRead) -> tuple[memoryview, memoryview] | None:
    """Return the bytes of a chunk, its checksum compared, and the bytes it is stored as, unsealed.

    Both are the same where it has no codec. None where it is damaged or gone.
    """
    return _fetch(store, read, Bases(store))


def is_whole_with(store: ObjectStore, read: ChunkRead, base: memoryview) -> bool:
    """Say whether a delta is good, given the bytes of what it is a difference from."""
    found = _fetch(store, read, lambda _: base)
    return found is not None and is_chunk(form_of(store), found[0], read.row.digest)


def _fetch(
    store: ObjectStore, read: ChunkRead, give_base: GiveBase
) -> tuple[memoryview, memoryview] | None:
    form = form_of(store)
    memory = memoryview(private_memory(stored_bytes([read], form.trailer_bytes)))
    plain = memoryview(bytearray(plain_bytes([read])))
    try:
        with closing(store.open(read.pack_key)) as reader:
            stretch = Stretch(reader, [read], memory, form, plain, give_base)
            if stretch.is_cut_short or not stretch.brings(read):
                return None
    except HoldfastError:
        return None
    data = stretch.data(read)
    return (data, stretch.stored_data(read)) if check(data) == read.row.check else None

"""Memory that a restore takes of its own, so that what is far away need not be read twice."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.chunks.batch import ChunkRead
from holdfast.chunks.form import form_of
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.store.contract import ObjectStore, is_far
from holdfast.store.free_memory import free_memory_bytes
from holdfast.store.memory_pages import private_memory

# Of what is free: others want some, too.
_SHARE = 0.5


def spare_for(store: ObjectStore, reads: Sequence[ChunkRead]) -> memoryview | None:
    """Return memory to keep aside what reads change, or None where reading twice is better.

    It may be less than all of them need: the rest is read twice then.

    Args:
        store: What is read from.
        reads: What is read.
    """
    if not is_far(store):
        # New pages take longer than a second read of the disk (docs/adr/0004).
        return None
    trailer_bytes = form_of(store).trailer_bytes
    wanted = sum(
        align(read.row.length + trailer_bytes, CHUNK_ALIGNMENT) for read in reads if read.in_place
    )
    nbytes = min(wanted, int((free_memory_bytes() or 0) * _SHARE))
    if not nbytes:
        return None
    try:
        return memoryview(private_memory(nbytes))
    except (OSError, MemoryError):
        return None

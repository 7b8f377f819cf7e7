"""The bytes of one array of a checkpoint read into memory, all of them checked."""

from __future__ import annotations

from holdfast.chunks.batch import reads_of
from holdfast.chunks.read import read_chunks
from holdfast.plan.reads import HasArrays, plan_reads
from holdfast.store.contract import ObjectStore


def read_array_bytes(
    store: ObjectStore,
    part: HasArrays,
    row: int,
    into: memoryview,
    *,
    leaf: str,
    ref: str,
    full: bool = False,
) -> None:
    """Fill memory with the bytes of an array.

    Args:
        store: Where the checkpoint is.
        part: Its manifest.
        row: Of the array in the part.
        into: New memory of as many bytes as the array has.
        leaf: Its path, for messages.
        ref: The checkpoint, for messages.
        full: Check BLAKE3 digests instead of XXH3 checksums.

    Raises:
        ChunkDamaged, ChunkMissing, StoreUnavailable: Some chunk of it is not good.
    """
    spans = plan_reads(part.arrays, [chunk.length for chunk in part.chunks], [row])
    targets = {
        chunk: [(span.begin, into[span.at : span.at + span.nbytes], False, leaf) for span in found]
        for chunk, found in spans.items()
    }
    read_chunks(store, reads_of(part, targets), ref=ref, full=full)

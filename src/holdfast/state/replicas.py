"""What a replica digests to, where it lies: in host memory without a copy, else through one."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import xxhash

from holdfast.state.arrays import ArrayAdapter, RangeAdapter

# What is not in host memory passes through so many bytes of it.
_SCRATCH_BYTES = 16 << 20


def content_digest(adapter: ArrayAdapter, pieces: Sequence[Any], path: str) -> bytes:
    """Return the XXH3-128 checksum of the bytes of some arrays, one behind the other, in C order.

    Args:
        adapter: Of their framework.
        pieces: The arrays.
        path: Where they are in the state, for messages.
    """
    found = xxhash.xxh3_128()
    for piece in pieces:
        spec, _, address = adapter.describe(piece, path)
        if not spec.nbytes:
            continue
        if address is not None:
            found.update((ctypes.c_char * spec.nbytes).from_address(address))
        elif isinstance(adapter, RangeAdapter):
            _by_ranges(found, adapter, piece, spec.nbytes)
        else:
            content = bytearray(spec.nbytes)
            adapter.export(piece, memoryview(content))
            found.update(content)
    return found.digest()


def _by_ranges(found: Any, adapter: RangeAdapter, piece: Any, nbytes: int) -> None:
    scratch = memoryview(bytearray(min(nbytes, _SCRATCH_BYTES)))
    for begin in range(0, nbytes, len(scratch)):
        part = scratch[: min(len(scratch), nbytes - begin)]
        adapter.export_range(piece, begin, part)
        found.update(part)

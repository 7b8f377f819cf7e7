"""An object in a bucket, opened: each read asks for its stretch."""

from __future__ import annotations

from functools import partial
from typing import Any

from holdfast.store.range_reader import RangeReader
from holdfast.store.remote.faults import translated
from holdfast.store.remote.patience import patiently


def remote_reader(
    client: Any, key: str, size: int, begin: bytes, *, location: str, patience_s: float
) -> RangeReader:
    """Return a reader of an object that is too large to be fetched at once.

    Args:
        client: Of the bucket.
        key: Of the object.
        size: All its bytes.
        begin: The first of them, as far as they were fetched already.
        location: The store's, for error messages.
        patience_s: For how long a read is tried again.
    """

    def fetch(into: memoryview, offset: int) -> int:
        known = begin[offset : offset + into.nbytes]
        into[: len(known)] = known
        rest = into[len(known) :]
        if not rest.nbytes:
            return into.nbytes
        ask = partial(_ask, client, key, offset + len(known), rest.nbytes)
        with translated("read", key, location):
            data = patiently(ask, patience_s)
        rest[: data.nbytes] = data[: rest.nbytes]
        return len(known) + data.nbytes

    return RangeReader(key, size, fetch)


def _ask(client: Any, key: str, offset: int, nbytes: int) -> memoryview:
    import obstore

    return memoryview(obstore.get_range(client, key, start=offset, length=nbytes))

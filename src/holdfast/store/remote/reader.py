"""An object in a bucket, opened: each read asks for its stretch."""

from __future__ import annotations

from typing import Any, final

from holdfast.errors import ChunkDamaged
from holdfast.store.remote.faults import translated
from holdfast.store.remote.patience import patiently


@final
class RemoteReader:
    """Reads stretches of an object that is too large to be fetched at once.

    Args:
        client: Of the bucket.
        key: Of the object.
        size: All its bytes.
        begin: The first of them.
        location: The store's, for error messages.
        patience_s: For how long a read is tried again.
    """

    def __init__(
        self,
        client: Any,
        key: str,
        size: int,
        begin: bytes,
        location: str,
        patience_s: float,
    ) -> None:
        self.size = size
        self._begin = begin
        self._client = client
        self._key = key
        self._location = location
        self._patience_s = patience_s

    def read(self, into: memoryview, offset: int) -> None:
        import obstore

        if offset + into.nbytes > self.size:
            raise self._cut_short(self.size)
        known = self._begin[offset : offset + into.nbytes]
        into[: len(known)] = known
        into, offset = into[len(known) :], offset + len(known)
        if not into.nbytes:
            return
        with translated("read", self._key, self._location):
            data = patiently(
                lambda: memoryview(
                    obstore.get_range(self._client, self._key, start=offset, length=into.nbytes)
                ),
                self._patience_s,
            )
        if data.nbytes != into.nbytes:
            raise self._cut_short(offset + data.nbytes)
        into[:] = data

    def _cut_short(self, end: int) -> ChunkDamaged:
        return ChunkDamaged(
            f"The object {self._key!r} is cut short: it ends at byte {end}.", key=self._key
        )

    def is_cached(self, offset: int, nbytes: int) -> bool:
        return False

    def read_cached(self, into: memoryview, offset: int) -> bool:
        return False

    def read_uncached(self, into: memoryview, offset: int) -> None:
        self.read(into, offset)

    def close(self) -> None:
        """Do nothing: nothing is held."""

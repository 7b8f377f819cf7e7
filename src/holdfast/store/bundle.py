"""A bundle: a whole store as one file, which is read where it lies and never changed.

The file is a zip archive whose members are the objects of the store, by their keys, none of them
compressed, so that any stretch of an object is a stretch of the file and every unpacker knows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NoReturn, final

from holdfast.errors import ChunkMissing, UsageError
from holdfast.format.zip_headers import MEMBER_MAGIC
from holdfast.store.bundle_members import members_of
from holdfast.store.contract import Buffer, ObjectInfo, ObjectReader, Staged, StoreLock
from holdfast.store.keys import check_key, folders_below
from holdfast.store.os_errors import translated
from holdfast.store.range_reader import RangeReader
from holdfast.store.recipe import Recipe


def is_bundle(path: str) -> bool:
    """Say whether there is a file at path that begins like a bundle."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MEMBER_MAGIC)) == MEMBER_MAGIC
    except OSError:
        return False


@final
class BundleStore:
    """The store in a bundle. Whatever would change it is refused.

    Raises:
        StoreUnavailable: The file cannot be read.
        ManifestDamaged: It is no bundle, or was cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location = os.path.abspath(os.fspath(path))
        with translated("open", self.location):
            self._fd = os.open(self.location, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._modified_s = os.fstat(self._fd).st_mtime
                self._members = members_of(self._fd, self.location)
            except BaseException:
                os.close(self._fd)
                self._fd = -1
                raise

    def __repr__(self) -> str:
        return f"BundleStore({self.location!r})"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def recipe(self) -> Recipe:
        return Recipe("holdfast.store.bundle:BundleStore", {"path": self.location})

    # --- reading ---

    def get(self, key: str) -> bytes:
        reader = self.open(key)
        data = bytearray(reader.size)
        reader.read(memoryview(data), 0)
        return bytes(data)

    def open(self, key: str) -> ObjectReader:
        found = self._members.get(check_key(key))
        if found is None:
            raise ChunkMissing(
                f"The object {key!r} is not in the bundle {self.location!r}. Nothing was changed "
                "in your state.",
                key=key,
            )
        # The descriptor is the store's: as long as it is read, the store must stay.
        return RangeReader(key, found.size, partial(self._fetch, key, found.offset))

    def _fetch(self, key: str, begin: int, into: memoryview, offset: int) -> int:
        done = 0
        with translated("read", key):
            while done < into.nbytes:
                n = os.preadv(self._fd, [into[done:]], begin + offset + done)
                if n == 0:
                    break
                done += n
        return done

    def exists(self, key: str) -> bool:
        return check_key(key) in self._members

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for key in sorted(self._members):
            if key.startswith(prefix):
                yield ObjectInfo(key, self._members[key].size, self._modified_s)

    def folders(self, prefix: str) -> Sequence[str]:
        return folders_below(prefix, self._members)

    def free_bytes(self) -> int | None:
        return None

    # --- what is refused ---

    def create(self) -> None:
        self._refuse()

    def stage(self, key: str, buffers: Sequence[Buffer]) -> Staged:
        self._refuse()

    def publish(self, staged: Sequence[Staged]) -> None:
        self._refuse()

    def discard(self, staged: Sequence[Staged]) -> None:
        """Do nothing: nothing is ever staged."""

    def put(self, key: str, data: Buffer) -> None:
        self._refuse()

    def put_hint(self, key: str, data: Buffer) -> None:
        self._refuse()

    def put_new(self, key: str, data: Buffer) -> bool:
        self._refuse()

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        self._refuse()

    def open_lock(self, key: str) -> StoreLock:
        self._refuse()

    def clear_debris(self, prefix: str) -> None:
        self._refuse()

    def delete_hint(self, key: str) -> None:
        self._refuse()

    def delete(self, keys: Sequence[str]) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"{self.location!r} is a bundle, which is only read. Nothing was changed. Copy what is "
            f"in it into a store: holdfast --store {self.location} copy REF STORE",
            location=self.location,
        )

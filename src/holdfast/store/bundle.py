"""A bundle: a whole store as one file, which is read where it lies and never changed.

The file is a zip archive whose members are the objects of the store, by their keys, none of them
compressed, so that any stretch of an object is a stretch of the file and every unpacker knows it.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, final

from holdfast.errors import ChunkDamaged, ChunkMissing, StoreUnavailable, UsageError
from holdfast.store.contract import Buffer, ObjectInfo, ObjectStore, Staged, StoreLock
from holdfast.store.keys import check_key
from holdfast.store.os_errors import translated
from holdfast.store.recipe import Recipe

SUFFIX = ".holdfast"
_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_PIECE_BYTES = 4 << 20
# The last two of places beyond any file, and of a member without a name.
_MALFORMED = (
    zipfile.BadZipFile,
    struct.error,
    NotImplementedError,
    ValueError,
    OverflowError,
    IndexError,
)
# Bookkeeping of a folder that means nothing elsewhere.
_LEFT_OUT = ("/writer.lock", "/records.lock", "/events.jsonl")


def is_bundle_path(location: object) -> bool:
    """Say whether a location names a bundle, whether or not it is there.

    >>> is_bundle_path("out/best.holdfast"), is_bundle_path("ckpts")
    (True, False)
    """
    return isinstance(location, str | os.PathLike) and os.fspath(location).endswith(SUFFIX)


def is_bundle(path: str) -> bool:
    """Say whether there is a file at path that begins like a bundle."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def write_bundle(objects: ObjectStore, path: str) -> None:
    """Write all objects of a store into a file, which is there whole or not at all.

    Raises:
        NoSpace, StoreUnavailable: It cannot be written; nothing is left of it.
    """
    temporary = f"{path}.tmp-{os.getpid()}"
    with translated("write", path):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "wb") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for info in objects.list(""):
                        if "/" in info.key or info.key.endswith(".json"):
                            _add(archive, objects, info)
                file.flush()
                os.fsync(fd)
            os.rename(temporary, path)
        except BaseException:
            _forget(temporary)
            raise
        _sync_folder(os.path.dirname(path) or ".")


def _add(archive: zipfile.ZipFile, objects: ObjectStore, info: ObjectInfo) -> None:
    if info.key.endswith(_LEFT_OUT):
        return
    member = zipfile.ZipInfo(info.key)
    member.external_attr = 0o600 << 16
    member.file_size = info.size
    reader = objects.open(info.key)
    try:
        with archive.open(member, "w", force_zip64=True) as into:
            for begin in range(0, info.size, _PIECE_BYTES):
                piece = bytearray(min(_PIECE_BYTES, info.size - begin))
                reader.read(memoryview(piece), begin)
                into.write(piece)
    finally:
        reader.close()


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _Member:
    """Where an object lies in the file."""

    offset: int
    size: int


@final
class BundleStore:
    """The store in a bundle. Whatever would change it is refused.

    Raises:
        StoreUnavailable: The file cannot be read, or is no bundle.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location = os.path.abspath(os.fspath(path))
        with translated("open", self.location):
            self._fd = os.open(self.location, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._modified_s = os.fstat(self._fd).st_mtime
                self._members = _members(self._fd, self.location)
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

    def open(self, key: str) -> _MemberReader:
        found = self._members.get(check_key(key))
        if found is None:
            raise ChunkMissing(
                f"The object {key!r} is not in the bundle {self.location!r}. Nothing was changed "
                "in your state.",
                key=key,
            )
        return _MemberReader(self, key, found, self._fd)

    def exists(self, key: str) -> bool:
        return check_key(key) in self._members

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for key in sorted(self._members):
            if key.startswith(prefix):
                yield ObjectInfo(key, self._members[key].size, self._modified_s)

    def folders(self, prefix: str) -> Sequence[str]:
        rests = [key[len(prefix) :] for key in self._members if key.startswith(prefix)]
        return sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest})

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

    def append(self, key: str, data: bytes) -> None:
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


@final
class _MemberReader:
    """An object in a bundle, opened."""

    def __init__(self, store: BundleStore, key: str, member: _Member, fd: int) -> None:
        self.size = member.size
        # The descriptor is the store's; as long as it is read, the store must stay.
        self._store = store
        self._key = key
        self._offset = member.offset
        self._fd = fd

    def read(self, into: memoryview, offset: int) -> None:
        if offset + into.nbytes > self.size:
            raise self._cut_short(self.size)
        filled = 0
        with translated("read", self._key):
            while filled < into.nbytes:
                n = os.preadv(self._fd, [into[filled:]], self._offset + offset + filled)
                if n == 0:
                    raise self._cut_short(offset + filled)
                filled += n

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
        """Do nothing: the descriptor is the store's."""


def _members(fd: int, path: str) -> dict[str, _Member]:
    """Return where each object lies; all of it is checked against the size of the file."""
    size = os.fstat(fd).st_size
    found: dict[str, _Member] = {}
    try:
        with os.fdopen(os.dup(fd), "rb") as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                begin = _begin_of_data(fd, info.header_offset)
                is_plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
                if not is_plain or info.filename in found or begin + info.file_size > size:
                    raise _no_bundle(path, f"its member {info.filename!r} is not as it should be")
                found[check_key(info.filename)] = _Member(begin, info.file_size)
    except _MALFORMED as error:
        raise _no_bundle(path, str(error)) from error
    except UsageError as error:
        raise _no_bundle(path, f"a member has no name that a store could have: {error}") from error
    return found


def _begin_of_data(fd: int, header: int) -> int:
    fields = _LOCAL_HEADER.unpack(os.pread(fd, _LOCAL_HEADER.size, header))
    if fields[0] != _MAGIC:
        raise zipfile.BadZipFile(f"there is no member at byte {header}")
    return int(header + _LOCAL_HEADER.size + fields[9] + fields[10])


def _no_bundle(path: str, why: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path!r} is no bundle, or was cut short on the way: {why}. Nothing was read. Copy it "
        "again from where it was made.",
        path=path,
    )

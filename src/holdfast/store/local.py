"""A folder as a store: durable by fsync of files and folders, fast by direct I/O.

An object is written under a temporary name beside its final one, synced, then renamed; a folder
is synced after the rename, and its parent after the folder was made. Everything is private to
its owner (0700 and 0600), or shared with a group (``modes``).
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from holdfast.errors import ChunkMissing, StoreUnavailable
from holdfast.store import direct
from holdfast.store.contract import Buffer, ObjectInfo, Staged
from holdfast.store.file_lock import FileLock
from holdfast.store.file_reader import FileReader
from holdfast.store.folders import forget, sync_folder
from holdfast.store.keys import check_key
from holdfast.store.links import read_whole, refuse_links
from holdfast.store.modes import Share, modes_of
from holdfast.store.os_errors import translated
from holdfast.store.recipe import Recipe

TEMPORARY = ".tmp-"
# Below this, the page cache is faster than the set-up of direct I/O.
DIRECT_BYTES = 1 << 20
# The file is gone, somebody else's, has too many names, or its file system knows no links.
_NO_LINK = (
    *(errno.ENOENT, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EXDEV),
    *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
)
# How often an object that somebody clears away before it is placed is written again.
_ATTEMPTS = 4
_T = TypeVar("_T")
_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class StagedFile(Staged):
    """A file that is written but neither synced nor renamed."""

    file: io.FileIO
    temporary: str
    final: str


class LocalStore:
    """The store in a folder of a local or mounted file system."""

    def __init__(self, root: str | os.PathLike[str], share: Share = "private") -> None:
        self.location = os.path.abspath(os.fspath(root))
        self.modes = modes_of(share)
        self._synced: set[str] = set()
        self._lock = threading.Lock()

    def recipe(self) -> Recipe:
        return Recipe(
            "holdfast.store.local:LocalStore", {"root": self.location, "share": self.modes.share}
        )

    # --- writing ---

    def create(self) -> None:
        with translated("create the store", self.location):
            self._make_folder(self.location)

    def stage(self, key: str, buffers: Sequence[Buffer]) -> StagedFile:
        views = [memoryview(b).cast("B") for b in buffers]
        size = sum(v.nbytes for v in views)
        with translated("write", key):
            fd, temporary, final = self._open_temporary(key, large=size >= DIRECT_BYTES)
            try:
                direct.write_all(fd, views)
            except BaseException:
                os.close(fd)
                forget(temporary)
                raise
        return StagedFile(key, size, io.FileIO(fd, "wb"), temporary, final)

    def publish(self, staged: Sequence[Staged]) -> None:
        files = _files(staged)
        try:
            with translated("make durable", files[0].key if files else ""):
                # All files first: one journal commit of the file system serves many of them.
                for item in files:
                    os.fsync(item.file.fileno())
                for item in files:
                    item.file.close()
                    os.rename(item.temporary, item.final)
                for folder in {os.path.dirname(item.final) for item in files}:
                    sync_folder(folder)
        except BaseException:
            self.discard(files)
            raise

    def discard(self, staged: Sequence[Staged]) -> None:
        for item in _files(staged):
            with suppress(OSError):
                item.file.close()
            forget(item.temporary)

    def put(self, key: str, data: Buffer) -> None:
        self._staged_for(key, data, lambda staged: self.publish([staged]))

    def put_hint(self, key: str, data: Buffer) -> None:
        self._staged_for(key, data, self._rename)

    def put_new(self, key: str, data: Buffer) -> bool:
        return self._staged_for(key, data, lambda staged: self._name(staged, data))

    def _staged_for(self, key: str, data: Buffer, place: Callable[[StagedFile], _T]) -> _T:
        """Stage an object and place it; anew, if its temporary file was cleared away in between.

        Who puts a tag, say, does not hold the run. Whoever takes the run meanwhile, as a trainer
        that begins, takes the file for one of a writer that died.
        """
        for _ in range(_ATTEMPTS):
            staged = self.stage(key, [data])
            try:
                return place(staged)
            except StoreUnavailable as error:
                is_gone = error.facts.get("errno") == errno.ENOENT
                if not is_gone or not os.path.isdir(os.path.dirname(staged.final)):
                    raise
        return place(self.stage(key, [data]))

    def _rename(self, staged: StagedFile) -> None:
        try:
            with translated("write", staged.key):
                staged.file.close()
                os.rename(staged.temporary, staged.final)
        except BaseException:
            self.discard([staged])
            raise

    def _name(self, staged: StagedFile, data: Buffer) -> bool:
        try:
            with translated("write", staged.key):
                os.fsync(staged.file.fileno())
                try:
                    os.link(staged.temporary, staged.final)
                except FileExistsError:
                    # Who was first may have died before it was durable, and we rely on it.
                    sync_folder(os.path.dirname(staged.final))
                    return False
                except FileNotFoundError:
                    # Who won has cleared our temporary file away.
                    if os.path.lexists(staged.final):
                        return False
                    raise
                except OSError as error:
                    if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
                        raise
                    return self._put_exclusively(staged.final, data)
                sync_folder(os.path.dirname(staged.final))
                return True
        finally:
            self.discard([staged])

    def _put_exclusively(self, final: str, data: Buffer) -> bool:
        # Without hard links a crash can leave a torn object; commits carry a digest that tells.
        try:
            fd = self.modes.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        except FileExistsError:
            return False
        try:
            direct.write_all(fd, [memoryview(data)])
            os.fsync(fd)
        except BaseException:
            # Nobody else can have made it: what is torn by an error need not stay.
            forget(final)
            raise
        finally:
            os.close(fd)
        sync_folder(os.path.dirname(final))
        return True

    def link(self, source: str, target: str) -> bool:
        """Give a file a second name; see ``store.contract.linking``."""
        with translated("write", target):
            final = self.path(target)
            self._make_folder(os.path.dirname(final))
            try:
                os.link(self.path(source), final, follow_symlinks=False)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                return False
            sync_folder(os.path.dirname(final))
            return True

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        with translated("write", key):
            path = self.path(key)
            self._make_folder(os.path.dirname(path))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = self.modes.open(path, flags)
            try:
                # A write may be short, on a disk that fills up say; the rest then says why.
                direct.write_all(fd, [memoryview(data)])
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)

    def open_lock(self, key: str) -> FileLock:
        with translated("lock", key):
            path = self.path(key)
            self._make_folder(os.path.dirname(path))
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = self.modes.open(path, flags)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(errno.EINVAL, "is no plain file; take it away", path)
            return FileLock(fd)

    def delete_hint(self, key: str) -> None:
        with translated("delete", key), suppress(FileNotFoundError):
            os.unlink(self.path(key))

    def delete(self, keys: Sequence[str]) -> None:
        folders = set()
        with translated("delete from", self.location):
            for key in keys:
                path = self.path(key)
                with suppress(FileNotFoundError):
                    os.unlink(path)
                    folders.add(os.path.dirname(path))
            for folder in folders:
                sync_folder(folder)

    # --- reading ---

    def get(self, key: str) -> bytes:
        with translated("read", key):
            return read_whole(self.path(key), key)

    def open(self, key: str) -> FileReader:
        with translated("read", key):
            return FileReader(key, self.path(key))

    def exists(self, key: str) -> bool:
        return os.path.lexists(self.path(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with translated("list", prefix):
            yield from self._walk(self._folder(prefix), prefix)

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        try:
            # In the order of keys, in which the slash behind a folder's name counts.
            entries = sorted(
                os.scandir(folder), key=lambda e: e.name + "/" * e.is_dir(follow_symlinks=False)
            )
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{prefix}{entry.name}/")
            elif _is_object(entry):
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield ObjectInfo(prefix + entry.name, found.st_size, found.st_mtime, found.st_nlink)

    def folders(self, prefix: str) -> Sequence[str]:
        try:
            with translated("list", prefix), os.scandir(self._folder(prefix)) as entries:
                return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except ChunkMissing:
            return []

    def clear_debris(self, prefix: str) -> None:
        with translated("clear", prefix or self.location):
            for folder, below, names in os.walk(self._folder(prefix)):
                for name in names:
                    if name.startswith(TEMPORARY):
                        forget(os.path.join(folder, name))
                if not prefix:
                    below.clear()

    def free_bytes(self) -> int | None:
        with translated("look at", self.location):
            return shutil.disk_usage(self.location).free

    def path(self, key: str) -> str:
        """Return the file of a key; keys that would leave the store are refused.

        Raises:
            LinkInStore: A folder on the way is a symbolic link.
        """
        parts = check_key(key).split("/")
        refuse_links(self.location, parts[:-1])
        return os.path.join(self.location, *parts)

    # --- folders ---

    def _folder(self, prefix: str) -> str:
        parts = check_key(prefix.rstrip("/")).split("/") if prefix else []
        refuse_links(self.location, parts)
        return os.path.join(self.location, *parts)

    def _open_temporary(self, key: str, *, large: bool) -> tuple[int, str, str]:
        final = self.path(key)
        folder, name = os.path.split(final)
        temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{next(_counter)}-{name}"[:250])
        self._make_folder(folder)
        fd = direct.open_for_writing(temporary, self.modes.file, direct=large)
        self.modes.fit_file(fd)
        return fd, temporary, final

    def _make_folder(self, folder: str) -> None:
        if folder in self._synced:
            return
        parent = os.path.dirname(folder)
        if not os.path.isdir(folder):
            self._make_folder(parent)
            with suppress(FileExistsError):
                os.mkdir(folder, self.modes.folder)
            if not os.path.isdir(folder):
                raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder", folder)
        if folder == self.location or folder.startswith(f"{self.location}/"):
            self.modes.fit_folder(folder)
        # Also where the folder was there: who made it may have died before it was durable.
        if parent != folder and os.access(parent, os.R_OK):
            sync_folder(parent)
        with self._lock:
            self._synced.add(folder)


def _files(staged: Sequence[Staged]) -> list[StagedFile]:
    return [item for item in staged if isinstance(item, StagedFile)]


def _is_object(entry: os.DirEntry[str]) -> bool:
    # A link counts, so that it is found, and told when it is read: what is only passed over, a
    # sweep would take for nothing.
    return entry.is_symlink() or (
        entry.is_file(follow_symlinks=False) and not entry.name.startswith(TEMPORARY)
    )

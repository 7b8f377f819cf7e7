"""A folder for what is being made beside its final place; whoever makes the same again clears it.

Its maker holds a lock on it, which the kernel takes back when the maker dies. A folder of the same
path that nobody holds is what a killed one left.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import xxhash

from holdfast.store.file_lock import FileLock

# Where a folder that is replaced is meanwhile: a kill must not take both.
REPLACED = "replaced"


@contextmanager
def scratch_beside(path: str) -> Iterator[str]:
    """Lend a new folder beside a path, for this path alone; nothing is left of it at the end.

    What others left there that were killed while they made the same is removed; what such a one
    had put aside to be replaced comes back.

    Args:
        path: What shall be made; its folder is there.
    """
    folder, name = os.path.split(os.path.abspath(path))
    # Not the name itself, which may be as long as a name can be.
    prefix = os.path.join(folder, f".tmp-{xxhash.xxh3_64_hexdigest(os.fsencode(name))[:8]}-")
    _clear(prefix, path)
    scratch, lock = _made(prefix)
    with closing(lock):
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _made(prefix: str) -> tuple[str, FileLock]:
    while True:
        scratch = f"{prefix}{uuid.uuid4().hex}"
        os.mkdir(scratch)
        # Somebody who clears may have seen it before it was held.
        with suppress(FileNotFoundError):
            lock = FileLock(os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if _held(lock, scratch):
                return scratch, lock
            lock.close()


def _held(lock: FileLock, scratch: str) -> bool:
    try:
        return lock.acquire() and os.path.isdir(scratch)
    except OSError:
        return True  # This file system knows no such locks: then nobody clears, either.


def _clear(prefix: str, path: str) -> None:
    folder, begin = os.path.split(prefix)
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(begin):
                with suppress(OSError):
                    _clear_one(os.path.join(folder, name), path)


def _clear_one(scratch: str, path: str) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(FileLock(os.open(scratch, flags))) as lock:
        if not lock.acquire():
            return
        aside = os.path.join(scratch, REPLACED)
        if os.path.isdir(aside) and not os.path.lexists(path):
            os.rename(aside, path)
        shutil.rmtree(scratch, ignore_errors=True)

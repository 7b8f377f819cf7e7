"""Files that only their owner may read or change, checked before a byte of them is used."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable

from holdfast.errors import AlreadyExists, HoldfastError, NotFound, StoreUnavailable

MAX_BYTES = 1 << 20
PRIVATE, PUBLIC = 0o600, 0o644
_OTHERS_MAY_READ = 0o077
_OTHERS_MAY_WRITE = 0o022

Refusal = Callable[..., HoldfastError]


def read_private(path: str, refusal: Refusal, malformed: Refusal | None = None) -> bytes:
    """Return the bytes of a secret file.

    Args:
        path: The file.
        refusal: Class of the error for a file that others may read or change.
        malformed: Class of the error for what is no file of a key; ``refusal`` if not given.

    Raises:
        NotFound: There is no such file.
    """
    remedy = f"chmod 600 {shlex.quote(path)}"
    return _read(path, _OTHERS_MAY_READ, "read or change it", remedy, refusal, malformed or refusal)


def read_authentic(path: str, refusal: Refusal) -> bytes:
    """Return the bytes of a file that everybody may read but only its owner may change.

    Args:
        path: The file.
        refusal: Class of the error for a file, or a folder around it, that others may change.

    Raises:
        NotFound: There is no such file.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(folder):
        mode = os.stat(folder).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise refusal(
                f"Everybody may put another file in the place of {path!r}: its folder has mode "
                f"{stat.S_IMODE(mode):04o}. It was not used. Run: chmod o-w {shlex.quote(folder)}",
                path=path,
            )
    remedy = f"chmod go-w {shlex.quote(path)}"
    return _read(path, _OTHERS_MAY_WRITE, "change it", remedy, refusal, refusal)


def write_new(path: str, data: bytes, *, mode: int) -> None:
    """Write a file that is not there yet, durably.

    Raises:
        FileExistsError: It is there.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)
    _sync_folder_of(path)


def write_secret(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a new file that only its owner can read, durable on return.

    Raises:
        AlreadyExists: There is one; it is left as it is.
        StoreUnavailable: The system does not let it be written.
    """
    name = os.fspath(path)
    try:
        write_new(name, data, mode=PRIVATE)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{name!r} is there already. It was left as it is: a key that is written over is lost.",
            path=name,
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            f"The key file {name!r} cannot be written: {error.strerror}.", path=name
        ) from error


def replace_file(path: str, data: bytes, *, mode: int) -> None:
    """Write a file in one step, in the place of one that may be there."""
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        write_new(temporary, data, mode=mode)
        os.replace(temporary, path)
        _sync_folder_of(path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _sync_folder_of(path: str) -> None:
    # The name is durable only when its folder is: a store outlives a key file that is lost.
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(
    path: str, forbidden: int, deed: str, remedy: str, refusal: Refusal, malformed: Refusal
) -> bytes:
    try:
        # Not to wait for a writer, if it is a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path!r}.", path=path) from None
    except OSError as error:
        raise malformed(f"{path!r} could not be read: {error.strerror}.", path=path) from error
    try:
        # Of the open file: what the name means may change meanwhile.
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise malformed(f"{path!r} is no file of a key or of trust.", path=path)
        if found.st_mode & forbidden:
            raise refusal(
                f"{path!r} has mode {stat.S_IMODE(found.st_mode):04o}: others may {deed}. It was "
                f"not used. Run: {remedy}",
                path=path,
                mode=stat.S_IMODE(found.st_mode),
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise refusal(
                f"{path!r} belongs to user {found.st_uid}, who may {deed}. It was not used. Make "
                "a copy of your own.",
                path=path,
                owner=found.st_uid,
            )
        return os.read(fd, found.st_size)
    finally:
        os.close(fd)

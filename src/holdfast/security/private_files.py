"""Files that hold a secret: read only where nobody else can, written so that nobody else will."""

from __future__ import annotations

import os
import stat

from holdfast.errors import AlreadyExists, InvalidKey, KeyExposed, NotFound, StoreUnavailable

MAX_BYTES = 1 << 20
_MODE = 0o600


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file with a secret.

    Raises:
        NotFound: There is no such file.
        KeyExposed: Others can read or write it.
        InvalidKey: It is no file, or far too large for a secret.
        StoreUnavailable: The system does not let it be read.
    """
    name = os.fspath(path)
    try:
        # Without waiting, should it be a pipe that nobody writes to.
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFound(f"There is no key file {name!r}.", path=name) from error
    except OSError as error:
        raise StoreUnavailable(
            f"The key file {name!r} cannot be read: {error.strerror}.", path=name
        ) from error
    try:
        _check(name, os.fstat(fd))
        return os.read(fd, MAX_BYTES)
    finally:
        os.close(fd)


def write_private(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a new file that only its owner can read, durable on return.

    Raises:
        AlreadyExists: There is one; it is left as it is.
        StoreUnavailable: The system does not let it be written.
    """
    name = os.fspath(path)
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{name!r} is there already. It was left as it is: a key that is written over is lost.",
            path=name,
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            f"The key file {name!r} cannot be written: {error.strerror}.", path=name
        ) from error
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _check(name: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        raise InvalidKey(f"{name!r} is no key file: a short text file is.", path=name)
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyExposed(
            f"The key file {name!r} has mode {stat.S_IMODE(found.st_mode):04o}: others on this "
            "machine can get at it, and it is not used. If nobody has, run "
            f"'chmod 600 {name}'; else make a new key.",
            path=name,
            mode=stat.S_IMODE(found.st_mode),
        )

"""Files in memory without a name, which the trainer shares with its persister."""

from __future__ import annotations

import os
import tempfile

from holdfast.errors import NoSpace


def shared_file(nbytes: int) -> int:
    """Return the descriptor of a new one of that size.

    Raises:
        NoSpace: There is not that much memory, or a limit of this process is in the way.
    """
    try:
        fd = _anonymous_file()
        try:
            os.ftruncate(fd, nbytes)
        except BaseException:
            os.close(fd)
            raise
    except (OSError, ValueError) as error:
        raise no_room(nbytes, error) from error
    return fd


def no_room(nbytes: int, error: Exception) -> NoSpace:
    """Return the error for memory that the processes cannot share."""
    return NoSpace(
        f"Could not make {nbytes:,} bytes of memory that trainer and persister share: {error}. "
        "Nothing was saved. Free memory, or save less with only= or skip=; limits of this process "
        "('ulimit -a') count here, too.",
        nbytes=nbytes,
    )


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("holdfast-arena", os.MFD_CLOEXEC)
    with tempfile.NamedTemporaryFile(prefix="holdfast-arena-", delete=True) as file:
        return os.dup(file.fileno())

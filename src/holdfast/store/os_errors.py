"""The operating system's errors, turned into holdfast's: what failed, what is safe, what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import ChunkDamaged, ChunkMissing, NoSpace, StoreUnavailable
from holdfast.store.links import link_in_store

_ADVICE = {
    errno.EROFS: "It is mounted read-only: have it writable, or save to another store.",
    errno.EACCES: "Give yourself the right to, or save to another store.",
    errno.EPERM: "Give yourself the right to, or save to another store.",
    errno.EIO: "The disk has failed at it: look at the system's log before you trust it again.",
}

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def translated(action: str, name: str) -> Iterator[None]:
    """Turn the operating system's errors into holdfast's."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        if action not in ("read", "list") and isinstance(error, IsADirectoryError):
            raise StoreUnavailable(
                f"Could not {action} {name!r}: a folder is in its place. Checkpoints committed "
                "before are not affected. Take it away, and do it again.",
                key=name,
                errno=error.errno,
            ) from error
        if action not in ("read", "list"):
            raise StoreUnavailable(
                f"Could not {action} {name!r}: the folder is gone ({error.filename}). Was the "
                "store moved, or its disk unmounted? Bring it back and save again.",
                key=name,
                errno=error.errno,
            ) from error
        # Where a file was open, the system knows but the number of it.
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        raise ChunkMissing(
            f"The object {name!r} is not in the store{where}. Nothing was changed in "
            "your state. Restore another checkpoint: 'holdfast verify' tells which are good.",
            key=name,
        ) from error
    except EOFError as error:
        raise ChunkDamaged(f"The object {name!r} is cut short: {error}.", key=name) from error
    except OSError as error:
        if error.errno == errno.ELOOP and error.filename:
            raise link_in_store(str(error.filename)) from error
        if error.errno in _FULL:
            raise NoSpace(
                f"Could not {action} {name!r}: {error.strerror}. Checkpoints committed before are "
                "safe. Free some space ('holdfast prune' helps) and save again.",
                key=name,
                errno=error.errno,
            ) from error
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        advice = f" {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
        raise StoreUnavailable(
            f"Could not {action} {name!r}: {error.strerror or error}{where}. Checkpoints "
            f"committed before are not affected.{advice}",
            key=name,
            errno=error.errno,
        ) from error

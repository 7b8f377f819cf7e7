"""The operating system's errors, turned into holdfast's: what failed, what is safe, what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import ChunkDamaged, ChunkMissing, NoSpace, StoreUnavailable
from holdfast.store.links import link_in_store

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def translated(action: str, name: str) -> Iterator[None]:
    """Turn the operating system's errors into holdfast's."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        if action not in ("read", "list"):
            raise StoreUnavailable(
                f"Could not {action} {name!r}: the folder is gone ({error.filename}). Was the "
                "store moved, or its disk unmounted? Bring it back and save again.",
                key=name,
                errno=error.errno,
            ) from error
        raise ChunkMissing(
            f"The object {name!r} is not in the store ({error.filename}). Nothing was changed in "
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
        where = f" ({error.filename})" if error.filename else ""
        raise StoreUnavailable(
            f"Could not {action} {name!r}: {error.strerror or error}{where}. Checkpoints "
            "committed before are not affected.",
            key=name,
            errno=error.errno,
        ) from error

"""Where the memory tier of a store is: a folder in memory that only its owner may enter."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from holdfast.errors import StoreUnavailable, UsageError
from holdfast.format.digests import digest
from holdfast.records import marker
from holdfast.store.contract import ObjectStore
from holdfast.store.os_errors import translated

# What Linux keeps in memory; Docker makes it 64 MB unless it is told otherwise.
SHARED_MEMORY = "/dev/shm"
_PREFIX = "holdfast-"
_MAY_OTHERS = 0o077


def memory_folder(home: ObjectStore, base: str | None) -> str:
    """Return the folder of a store's memory tier; the one around it is made if need be.

    It goes by where the store is and by its own id: a store that is made anew in the same place
    does not find what was saved of the one before it.

    Args:
        home: The store.
        base: A folder in memory; None: where this system has it.

    Raises:
        UsageError: This system has none.
        StoreUnavailable: Others may enter it.
    """
    return os.path.join(_private(base or _shared_memory()), _name_of(home))


def find_memory(home: ObjectStore, base: str | None = None) -> str | None:
    """Return the folder of a store's memory tier if it is there; nothing is made."""
    folder = os.path.join(_of_this_user(base or SHARED_MEMORY), _name_of(home))
    return folder if os.path.isdir(folder) else None


def _shared_memory() -> str:
    if not os.path.isdir(SHARED_MEMORY):
        raise UsageError(
            f"This system has no {SHARED_MEMORY}, so that tier.memory() does not know where to "
            "keep checkpoints in memory. Give it a folder that is: tier.memory(folder=…)."
        )
    return SHARED_MEMORY


def _name_of(home: ObjectStore) -> str:
    # Copies of a store have its id too: so where it lies counts besides.
    named = f"{marker.store_id(home)}\0{home.location}"
    return digest(named.encode()).hex()[:32]


def _of_this_user(base: str) -> str:
    return os.path.join(base, f"{_PREFIX}{os.geteuid()}")


def _private(base: str) -> str:
    folder = _of_this_user(base)
    with translated("make the memory tier", folder):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        # Not what a link leads to: everybody may put one there.
        found = os.lstat(folder)
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or mode & _MAY_OTHERS:
        raise StoreUnavailable(
            f"{folder!r} is not a folder of yours alone (owner {found.st_uid}, mode {mode:04o}): "
            "others could read or change checkpoints there. Nothing was written to it. Remove it, "
            "or give tier.memory(folder=…) another place.",
            path=folder,
        )
    return folder

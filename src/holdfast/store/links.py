"""Symbolic links and other things in a store's folder that are no objects of it.

A store that came from somewhere else may hold links, which would make its reader read, write or
delete outside of it. None is followed below the store's own folder. What swaps a folder for a link
in the moment between the look and the use is not kept out: whoever can do that writes there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from holdfast.errors import ChunkDamaged, LinkInStore

# A pipe in the place of an object would be waited for without end.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# What is read as a whole is a record or a manifest; none is larger.
MOST_WHOLE_BYTES = 2 << 30


def refuse_links(root: str, parts: Sequence[str]) -> None:
    """Raise LinkInStore where one of the folders below root, each in the one before, is a link."""
    path = root
    for part in parts:
        path = os.path.join(path, part)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            # Who uses it will find out, and knows the words for it.
            return
        if stat.S_ISLNK(mode):
            raise link_in_store(path)


def link_in_store(path: str) -> LinkInStore:
    """Return the error for a link that is where a folder or an object should be."""
    return LinkInStore(
        f"{path!r} is a symbolic link; in a store none is followed. Nothing was read, written or "
        "deleted through it. If it is yours, move what it leads to into the store, or make the "
        "store's own folder the link.",
        path=path,
    )


def read_whole(path: str, key: str) -> bytes:
    """Return the bytes of a plain file that is no larger than any record."""
    # By an opener, which closes what it opened where that turns out to be a folder.
    with open(path, "rb", opener=lambda path, _: os.open(path, READ_FLAGS)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(2, "not a file", path)
        if found.st_size > MOST_WHOLE_BYTES:
            raise ChunkDamaged(
                f"The object {key!r} has {found.st_size} bytes, more than any record.", key=key
            )
        return file.read()

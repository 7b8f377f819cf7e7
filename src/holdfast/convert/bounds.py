"""How much may be made of a foreign file: in proportion to the bytes that are there.

Every format can say that few bytes are many: by compression, by arrays that lie over one another,
by chunks that were never written. Readers look at arrays lazily, so that all of it is known before
any is asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.convert.counting import array_sizes
from holdfast.errors import ForeignRefused
from holdfast.foreign.limits import Limits
from holdfast.state.paths import Patterns

# A file of that kind tells of others beside it.
_INDICES = (".json", ".index", ".metadata")


def require_in_proportion(
    tree: dict[str, Any], path: Path, only: Patterns = None, skip: Patterns = None
) -> None:
    """Refuse a file whose arrays have far more bytes than it has.

    Args:
        tree: What was found in it, with lazy arrays.
        path: The file or folder, or what the names of its files begin with.
        only: Glob patterns on leaf paths; only arrays that match count.
        skip: Glob patterns on leaf paths; arrays that match do not count.

    Raises:
        ForeignRefused: The arrays have more than ``Limits`` allows.
    """
    wanted, there, limits = sum(array_sizes(tree, only, skip).values()), bytes_at(path), Limits()
    if wanted > limits.most_array_bytes(there):
        raise ForeignRefused(
            f"{str(path)!r} has {there:,} bytes, and arrays of {wanted:,}: more than "
            f"{limits.ratio} times as many. Nothing was saved. If it is no bomb, unpack it first "
            "with the tool that it comes from (h5repack -f NONE, say), or take a part of it with "
            "--only.",
            path=str(path),
            what=f"arrays of {wanted} bytes in a file of {there}",
        )


def require_plain(path: Path) -> None:
    """Refuse what has no bytes of its own: a pipe, which may never give any, a socket, a device.

    Raises:
        ForeignRefused: It is such a thing, or a folder that has one.
    """
    for file in _below(path) if path.is_dir() else [str(path)]:
        try:
            mode = os.stat(file).st_mode
        except OSError:
            continue  # Whoever wants to read it says more.
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ForeignRefused(
                f"{file!r} is no plain file but a pipe, a socket or a device. Nothing of it was "
                "read, nothing was saved.",
                path=file,
                what="no plain file",
            )


def bytes_at(path: Path) -> int:
    """Return how many bytes a file or folder has, with those that it tells of."""
    if path.is_dir():
        return sum(map(_size, _below(path)))
    if not path.is_file() or path.name.endswith(_INDICES):
        return sum(_size(str(beside)) for beside in path.parent.iterdir())
    return _size(str(path))


def _below(folder: Path) -> Iterator[str]:
    return (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def require_inside(file: Path, folder: Path) -> Path:
    """Refuse a file of a folder that is a link to somewhere else; return it.

    A cache of a hub is one folder to whoever uses it: ``snapshots/REVISION/FILE`` leads to
    ``blobs``, which is beside ``snapshots``.

    Raises:
        ForeignRefused: It leads out of the folder.
    """
    inside, real = folder.resolve(), file.resolve()
    homes = [inside, inside.parents[1] / "blobs"] if inside.parent.name == "snapshots" else [inside]
    if not any(real.is_relative_to(home) for home in homes):
        raise ForeignRefused(
            f"{str(file)!r} is a link that leads out of its folder, to {str(real)!r}. Nothing was "
            "saved. If that is what you want, put a copy in its place.",
            path=str(file),
            what="a link that leads out of its folder",
        )
    return file

"""How much may be made of a foreign file: in proportion to the bytes that are there.

Every format can say that few bytes are many: by compression, by arrays that lie over one another,
by chunks that were never written. Readers look at arrays lazily, so that all of it is known before
any is asked for.
"""

from __future__ import annotations

import os
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


def bytes_at(path: Path) -> int:
    """Return how many bytes a file or folder has, with those that it tells of."""
    if path.is_dir():
        return sum(
            _size(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names
        )
    if not path.is_file() or path.name.endswith(_INDICES):
        return sum(_size(str(beside)) for beside in path.parent.iterdir())
    return _size(str(path))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

"""Keys of objects: relative paths of safe components, so that no key leads out of a store."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.errors import UsageError


def check_key(key: str) -> str:
    """Return key if an object may lie under it.

    Raises:
        UsageError: It would leave the store, or name an object that has another key too.
    """
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        raise UsageError(f"{key!r} is no key of an object in a store.", key=key)
    return key


def folders_below(prefix: str, keys: Iterable[str]) -> list[str]:
    """Return the names right below a prefix that have keys below themselves, sorted.

    >>> folders_below("runs/", ["runs/b/1", "runs/a/x/2", "runs/a/3", "runs/c", "d/e"])
    ['a', 'b']
    """
    rests = (key[len(prefix) :] for key in keys if key.startswith(prefix))
    return sorted({rest.split("/", 1)[0] for rest in rests if "/" in rest})

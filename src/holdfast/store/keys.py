"""Keys of objects: relative paths of safe components, so that no key leads out of a store."""

from __future__ import annotations

from holdfast.errors import UsageError


def check_key(key: str) -> str:
    """Return key if an object may lie under it.

    Raises:
        UsageError: It would leave the store, or name an object that has another key too.
    """
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        raise UsageError(f"{key!r} is no key of an object in a store.", key=key)
    return key

"""Which packs a manifest names, remembered: manifests never change, and retention asks often."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from holdfast.errors import ManifestDamaged
from holdfast.format import part as part_format
from holdfast.format.digests import digest
from holdfast.store.contract import ObjectStore

_CACHE_SIZE = 4096
_known: OrderedDict[tuple[str, str], Mapping[str, int]] = OrderedDict()
_lock = threading.Lock()


def packs_in(store: ObjectStore, part_key: str, expected: bytes | None) -> Mapping[str, int]:
    """Return the keys of the packs that a manifest names, with their lengths in bytes.

    Args:
        store: Where it is.
        part_key: Its key.
        expected: What it must digest to; None where nobody says.

    Raises:
        ChunkMissing: It is not there.
        ManifestDamaged: It is damaged.
    """
    place = store.location, part_key
    with _lock:
        if place in _known:
            return _known[place]
    data = store.get(part_key)
    if expected is not None and digest(data) != expected:
        raise ManifestDamaged(f"The manifest {part_key} is damaged.", record=part_key)
    part = part_format.decode(data, what=f"the manifest {part_key}")
    found = {pack.key: pack.length for pack in part.packs}
    with _lock:
        _known[place] = found
        while len(_known) > _CACHE_SIZE:
            _known.popitem(last=False)
    return found


def forget() -> None:
    """Forget all that was read."""
    with _lock:
        _known.clear()

"""Stores beside the one that a run is at home in, opened with the same keys.

Packs go from one to the other as they are, sealed chunks and all: so an encrypted store has tiers
with its own keyring, and an open one has open tiers.
"""

from __future__ import annotations

from holdfast.errors import ChunkMissing, UsageError
from holdfast.records import keyrings, marker, unlocking
from holdfast.records.marker import Made
from holdfast.records.opening import open_store
from holdfast.sealed.store import SealedStore
from holdfast.store.contract import ObjectStore


def open_beside(objects: ObjectStore, home: ObjectStore, *, create: bool) -> ObjectStore:
    """Open the store of a tier; with ``create`` it is made if it is not there, as home is.

    Raises:
        NotFound: It is not there.
        UsageError: It has other keys than home.
    """
    if not isinstance(home, SealedStore):
        if _ring_of(objects) is not None:
            raise _other_keys(objects, home, "is encrypted, and the store itself is not")
        return open_store(objects, create=create)
    ring = home.unlocked.ring
    if create:
        _copy_keyring(objects, home)
        # Whoever was first: the check below tells.
        marker.put_new(objects, Made("private", ring))
    elif _ring_of(objects) is None:
        open_store(objects, create=False)
    if _ring_of(objects) != ring:
        raise _other_keys(objects, home, "does not have the keys of the store itself")
    sealed = unlocking.following(SealedStore(objects, home.unlocked))
    if create:
        sealed.clear_debris("")
    return sealed


def _ring_of(objects: ObjectStore) -> str | None:
    try:
        return marker.check(objects).ring
    except ChunkMissing:
        return None


def _copy_keyring(objects: ObjectStore, home: SealedStore) -> None:
    """Give a tier the keyring that home has now, so that the same holders open it."""
    objects.create()
    ring, number = home.unlocked.ring, home.unlocked.number
    if number in keyrings.numbers(objects, ring):
        return
    for key in keyrings.keys_of(ring, number):
        if home.inner.exists(key):
            objects.put(key, home.inner.get(key))
    if number in keyrings.numbers(objects, ring):
        keyrings.delete_older(objects, ring, number)


def _other_keys(objects: ObjectStore, home: ObjectStore, what: str) -> UsageError:
    return UsageError(
        f"The tier at {objects.location!r} {what} ({home.location!r}). Nothing was copied. A tier "
        "has the keys of the store itself: let it be made by the Checkpointer, at a place of its "
        "own; or copy by hand, which encrypts anew: Store(…).copy(ref, Store(…, keys=…)).",
        location=objects.location,
    )

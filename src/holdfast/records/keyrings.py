"""Keyrings as they lie in a store: who can open it, and the store's keys sealed for them.

A keyring is one object, numbered like a commit, with a copy beside it since everything depends on
it. A change writes the next number, whole, if it is still free, and takes the old one away last:
whenever it is interrupted, the old keyring is there, or the new one, or both.
"""

from __future__ import annotations

from holdfast.errors import ChunkMissing, HoldfastError, ManifestDamaged, StoreUnavailable
from holdfast.format.names import KEYRINGS_PREFIX, keyring_key
from holdfast.sealed.store import SealedStore
from holdfast.security.locked import Locked, damaged, decode, encode
from holdfast.security.unlocked import Unlocked
from holdfast.store.contract import ObjectStore

_COPY = "-copy"
_ATTEMPTS = 20


def rings(store: ObjectStore) -> list[str]:
    """Return the ids of the keyrings in a store; one that was not made to its end counts too."""
    return [ring for ring in store.folders(KEYRINGS_PREFIX) if numbers(store, ring)]


def read(store: ObjectStore, ring: str) -> Locked:
    """Return a keyring as it is now.

    Raises:
        ManifestDamaged: It is damaged, its copy too, or gone.
        StoreTooNew: A newer version of holdfast wrote it.
    """
    for _ in range(_ATTEMPTS):
        problem: HoldfastError = damaged(f"the keyring {ring[:8]}… ({KEYRINGS_PREFIX}{ring})")
        there = numbers(store, ring)
        for number in reversed(there):
            for key in keys_of(ring, number):
                try:
                    return decode(ring, number, store.get(key))
                except ChunkMissing:
                    continue
                except ManifestDamaged as error:
                    problem = error
        if numbers(store, ring) == there:
            break  # Else it was changed meanwhile.
    raise problem


def problems(store: ObjectStore) -> list[str]:
    """Return what is wrong with the keyring of a store that was opened with it, in words.

    That it has no copy is nothing wrong: a change may have been interrupted.
    """
    found = [error.message for error in troubles(store) if not isinstance(error, ChunkMissing)]
    if found and isinstance(store, SealedStore):
        torn = _torn(store.inner, store.unlocked.ring)
        return [torn.message] if torn is not None else found
    return found


def troubles(store: ObjectStore) -> list[HoldfastError]:
    """Return why the keyring or its copy cannot be read; nothing if the store is not encrypted."""
    if not isinstance(store, SealedStore):
        return []
    found, ring = [], store.unlocked.ring
    for number in numbers(store.inner, ring)[-1:]:
        for key in keys_of(ring, number):
            try:
                decode(ring, number, store.inner.get(key))
            except HoldfastError as error:
                found.append(error)
    return found


def write(store: ObjectStore, unlocked: Unlocked) -> None:
    """Write a keyring under its number, and take those with lower numbers away.

    Raises:
        StoreUnavailable: Somebody else changes it at the same time; nothing was changed.
        ManifestDamaged: The newest one is damaged, and an older one opens the store.
    """
    data = encode(unlocked)
    ring, number = unlocked.ring, unlocked.number
    first, copy = keys_of(ring, number)
    if not store.put_new(first, data):
        raise _torn(store, ring) or _changed_meanwhile(store, ring)
    # The number may be free again, since others went on from it and took it away. Theirs is there.
    if max(numbers(store, ring)) > number:
        store.delete([first])
        raise _torn(store, ring) or _changed_meanwhile(store, ring)
    store.put(copy, data)
    delete_older(store, ring, number)


def _changed_meanwhile(store: ObjectStore, ring: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Somebody else has changed the keys of the store at {store.location!r} at the same "
        "moment. Nothing was changed by this one; try again.",
        ring=ring,
    )


def _torn(store: ObjectStore, ring: str) -> ManifestDamaged | None:
    """Return the error for a keyring that is good nowhere, where an older one is left."""
    there = numbers(store, ring)
    if len(there) < 2:
        return None
    newest = keys_of(ring, there[-1])
    for key in newest:
        try:
            decode(ring, there[-1], store.get(key))
            return None
        except (ManifestDamaged, ChunkMissing):
            continue
    return ManifestDamaged(
        f"The newest keyring of the store ({newest[0]}) is damaged, and has no good copy: a change "
        "of keys did not come to its end, or was harmed since. Those who could open the store "
        "before that change still can, with the keyring before it; keys can not be changed. Bring "
        "it back from a copy of the store. Where there is none, delete it: the keys are then as "
        "they were before that change.",
        key=newest[0],
    )


def delete_older(store: ObjectStore, ring: str, number: int) -> None:
    """Take keyrings with lower numbers away."""
    older = [n for n in numbers(store, ring) if n < number]
    store.delete([key for n in older for key in keys_of(ring, n)])


def discard(store: ObjectStore, ring: str) -> None:
    """Take away a keyring that no store was made with."""
    store.delete([key for number in numbers(store, ring) for key in keys_of(ring, number)])


def numbers(store: ObjectStore, ring: str) -> list[int]:
    """Return the numbers of a keyring that are there, rising."""
    names = (i.key.rsplit("/", 1)[-1] for i in store.list(f"{KEYRINGS_PREFIX}{ring}/"))
    return sorted({int(n) for name in names if (n := name.removesuffix(_COPY)).isdecimal()})


def keys_of(ring: str, number: int) -> tuple[str, str]:
    """Return where a keyring of that number lies, and where its copy does."""
    key = keyring_key(ring, number)
    return key, key + _COPY

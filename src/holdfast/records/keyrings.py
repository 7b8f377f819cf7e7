"""Keyrings as they lie in a store: who can open it, and the store's keys sealed for them.

A keyring is one object, numbered like a commit, with a copy beside it since everything depends on
it. A change writes the next number, whole, if it is still free, and takes the old one away last:
whenever it is interrupted, the old keyring is there, or the new one, or both.
"""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress

from holdfast.errors import (
    ChunkMissing,
    DataError,
    HoldfastError,
    KeyNeeded,
    ManifestDamaged,
    StoreUnavailable,
    WrongKey,
)
from holdfast.format.names import KEYRINGS_PREFIX, keyring_key
from holdfast.sealed.store import SealedStore
from holdfast.security import age
from holdfast.security.holders import holders_of, identities
from holdfast.security.keyring import KEY_BYTES, Keyring
from holdfast.security.keys import Keys, Recipient, as_keys
from holdfast.security.locked import Locked, damaged, decode, encode, opened
from holdfast.security.unlocked import Unlocked
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

_COPY = "-copy"
_ATTEMPTS = 20
# Changes of keys that this process cannot follow, by location; each is told once.
_told: dict[str, int] = {}


# --- making and opening ---


def make(store: ObjectStore, keys: Keys) -> Unlocked:
    """Write the keyring of a new store, for all the keys.

    Raises:
        KeyNeeded: None of them could open it again.
    """
    given = as_keys(keys)
    if all(isinstance(key, Recipient) for key in given):
        raise KeyNeeded(
            "A recipient's public key opens nothing: a store made with it alone could not be read "
            "by who makes it. Give your own identity or a passphrase besides."
        )
    holders = [holder for key in given for holder in holders_of(key)]
    made = Unlocked(uuid.uuid4().hex, 1, os.urandom(KEY_BYTES), Keyring.new(), tuple(holders))
    write(store, made)
    return made


def unlock(store: ObjectStore, ring: str, keys: Keys) -> Unlocked:
    """Open a keyring with the first of the keys that does.

    Raises:
        KeyNeeded: Only public keys were given.
        WrongKey: None of the keys opens it.
        ManifestDamaged: The keyring is damaged.
    """
    given = as_keys(keys)
    if all(isinstance(key, Recipient) for key in given):
        raise KeyNeeded(
            f"The store at {store.location!r} is encrypted, and a recipient's public key opens "
            "nothing: it only adds somebody. Give an identity or a passphrase."
        )
    locked = read(store, ring)
    for holder, private in identities(given, [holder for holder, _ in locked.slots]):
        wrapped = next(data for other, data in locked.slots if other is holder)
        wrapping_key = age.unwrap(wrapped, private)
        if wrapping_key is not None and len(wrapping_key) == KEY_BYTES:
            return opened(locked, wrapping_key)
    known = ", ".join(h.recipient if h.locked is None else "a passphrase" for h, _ in locked.slots)
    raise WrongKey(
        f"None of the keys that were given opens the store at {store.location!r}: the passphrase "
        f"is wrong, or the key is none of its holders'. Nothing was read or changed. It opens "
        f"with: {known or 'nothing that is left'}."
    )


def follow(store: SealedStore) -> None:
    """Take up what has become of a store's keys since it was opened, before more is written.

    A process that cannot open the new keyring goes on with the keys that it has, as long as what it
    writes can be read, and says so.

    Raises:
        KeyNeeded: It cannot any more.
    """
    try:
        locked = _taken_up(store)
    except DataError as error:
        _log.warning("What is saved now may be lost: %s", error)
        return
    if locked is None:
        if unended(store):
            # Until then whoever was removed opens the old keyring.
            with suppress(HoldfastError):
                mend(store, dry_run=False)
        return
    if store.unlocked.keyring.newest in locked.generations:
        if _told.get(store.location) != locked.number:
            _told[store.location] = locked.number
            _log.warning(
                "A holder of the keys of the store at %r was removed, and this process cannot open "
                "the new keys. It goes on with those that it has, which whoever was removed may "
                "have kept. Start it again when you can.",
                store.location,
            )
    else:
        raise KeyNeeded(
            f"The keys of the store at {store.location!r} were changed, and the ones that this "
            "process has are no longer used. Nothing was saved; checkpoints committed before are "
            "safe. Start it again, with a key that opens the store."
        )


def following(store: SealedStore, keys: Keys | None = None) -> SealedStore:
    """Return a store that takes up new keys by itself where it meets what is sealed with them.

    Args:
        store: The store.
        keys: What opens its keyring; None where only its wrapping key is known.
    """

    def look_again() -> None:
        # Whoever asked is told what it could not open, and with which generation.
        with suppress(HoldfastError):
            if _taken_up(store) is not None and keys is not None:
                found = unlock(store.inner, store.unlocked.ring, keys)
                # Holders' public keys stand in the open: who can write may have made a keyring of
                # his own for them. The root never changes, and he does not know it.
                if found.keyring.root == store.unlocked.keyring.root:
                    store.take_up(found)

    store.seals.look_again = look_again
    return store


def _taken_up(store: SealedStore) -> Locked | None:
    """Take up the keyring as it is now; return it if the wrapping key does not open it."""
    ring, number = store.unlocked.ring, store.unlocked.number
    if _numbers(store.inner, ring)[-1:] == [number]:
        return None
    locked = read(store.inner, ring)
    try:
        store.take_up(opened(locked, store.unlocked.wrapping_key))
    except ManifestDamaged:
        return locked
    return None


# --- in the store ---


def rings(store: ObjectStore) -> list[str]:
    """Return the ids of the keyrings in a store; one that was not made to its end counts too."""
    return [ring for ring in store.folders(KEYRINGS_PREFIX) if _numbers(store, ring)]


def read(store: ObjectStore, ring: str) -> Locked:
    """Return a keyring as it is now.

    Raises:
        ManifestDamaged: It is damaged, its copy too, or gone.
        StoreTooNew: A newer version of holdfast wrote it.
    """
    for _ in range(_ATTEMPTS):
        problem: HoldfastError = damaged(f"the keyring {ring[:8]}… ({KEYRINGS_PREFIX}{ring})")
        numbers = _numbers(store, ring)
        for number in reversed(numbers):
            for key in _keys(ring, number):
                try:
                    return decode(ring, number, store.get(key))
                except ChunkMissing:
                    continue
                except ManifestDamaged as error:
                    problem = error
        if _numbers(store, ring) == numbers:
            break  # Else it was changed meanwhile.
    raise problem


def problems(store: ObjectStore) -> list[str]:
    """Return what is wrong with the keyring of a store that was opened with it, in words.

    That it has no copy is nothing wrong: a change may have been interrupted.
    """
    return [error.message for error in _troubles(store) if not isinstance(error, ChunkMissing)]


def _troubles(store: ObjectStore) -> list[HoldfastError]:
    if not isinstance(store, SealedStore):
        return []
    found, ring = [], store.unlocked.ring
    for number in _numbers(store.inner, ring)[-1:]:
        for key in _keys(ring, number):
            try:
                decode(ring, number, store.inner.get(key))
            except HoldfastError as error:
                found.append(error)
    return found


def write(store: ObjectStore, unlocked: Unlocked) -> None:
    """Write a keyring under its number, and take those with lower numbers away.

    Raises:
        StoreUnavailable: Somebody else changes it at the same time; nothing was changed.
    """
    data = encode(unlocked)
    ring, number = unlocked.ring, unlocked.number
    first, copy = _keys(ring, number)
    if not store.put_new(first, data):
        raise _changed_meanwhile(store, ring)
    # The number may be free again, since others went on from it and took it away. Theirs is there.
    if max(_numbers(store, ring)) > number:
        store.delete([first])
        raise _changed_meanwhile(store, ring)
    store.put(copy, data)
    _delete_older(store, ring, number)


def _changed_meanwhile(store: ObjectStore, ring: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Somebody else has changed the keys of the store at {store.location!r} at the same "
        "moment. Nothing was changed by this one; try again.",
        ring=ring,
    )


def _delete_older(store: ObjectStore, ring: str, number: int) -> None:
    older = [n for n in _numbers(store, ring) if n < number]
    store.delete([key for n in older for key in _keys(ring, n)])


def discard(store: ObjectStore, ring: str) -> None:
    """Take away a keyring that no store was made with."""
    numbers = _numbers(store, ring)
    store.delete([key for number in numbers for key in _keys(ring, number)])


def mend(store: ObjectStore, *, dry_run: bool) -> list[str]:
    """Write a good keyring over its copy that is not, or is not there; return the keys.

    Where a change of keys was interrupted, older keyrings are taken away, as it would have done.
    """
    if not isinstance(store, SealedStore):
        return []
    inner, ring = store.inner, store.unlocked.ring
    bad = _mended(inner, ring, dry_run=dry_run) if _troubles(store) else []
    older = unended(store) if not _lost(store, bad) else []
    if older and not dry_run:
        _delete_older(inner, ring, _numbers(inner, ring)[-1])
    return [*bad, *older]


def unended(store: ObjectStore) -> list[str]:
    """Return the keys of keyrings that a change of keys which was interrupted has left there."""
    if not isinstance(store, SealedStore):
        return []
    ring = store.unlocked.ring
    return [key for n in _numbers(store.inner, ring)[:-1] for key in _keys(ring, n)[:1]]


def _lost(store: SealedStore, bad: list[str]) -> bool:
    """Say whether the newest keyring is good nowhere: an older one is all that is left."""
    damaged_ones = [e for e in _troubles(store) if not isinstance(e, ChunkMissing)]
    return bool(damaged_ones) and not bad


def _mended(inner: ObjectStore, ring: str, *, dry_run: bool) -> list[str]:
    number = _numbers(inner, ring)[-1]
    good = {key: data for key in _keys(ring, number) if (data := _good(inner, ring, number, key))}
    bad = [key for key in _keys(ring, number) if key not in good]
    for key in bad if good and not dry_run else ():
        inner.put(key, next(iter(good.values())))
    return bad if good else []


def _good(store: ObjectStore, ring: str, number: int, key: str) -> bytes | None:
    try:
        data = store.get(key)
        decode(ring, number, data)
    except HoldfastError:
        return None
    return data


def _numbers(store: ObjectStore, ring: str) -> list[int]:
    names = (i.key.rsplit("/", 1)[-1] for i in store.list(f"{KEYRINGS_PREFIX}{ring}/"))
    return sorted({int(n) for name in names if (n := name.removesuffix(_COPY)).isdecimal()})


def _keys(ring: str, number: int) -> tuple[str, str]:
    key = keyring_key(ring, number)
    return key, key + _COPY

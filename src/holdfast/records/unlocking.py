"""The keys of a store: made, opened with what its users have, and followed where they change."""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress

from holdfast.errors import DataError, HoldfastError, KeyNeeded, ManifestDamaged, WrongKey
from holdfast.records import keyring_repair, keyrings
from holdfast.sealed.store import SealedStore
from holdfast.security import age
from holdfast.security.holders import holders_of, identities
from holdfast.security.keyring import KEY_BYTES, Keyring
from holdfast.security.keys import Keys, Recipient, as_keys
from holdfast.security.locked import Locked, opened
from holdfast.security.unlocked import Unlocked
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

# Changes of keys that this process cannot follow, by location; each is told once.
_told: dict[str, int] = {}


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
    keyrings.write(store, made)
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
    locked = keyrings.read(store, ring)
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
        if keyring_repair.unended(store):
            # Until then whoever was removed opens the old keyring.
            with suppress(HoldfastError):
                keyring_repair.mend(store, dry_run=False)
        return
    if store.unlocked.keyring.newest not in locked.generations:
        raise KeyNeeded(
            f"The keys of the store at {store.location!r} were changed, and the ones that this "
            "process has are no longer used. Nothing was saved; checkpoints committed before are "
            "safe. Start it again, with a key that opens the store."
        )
    if _told.get(store.location) != locked.number:
        _told[store.location] = locked.number
        _log.warning(
            "A holder of the keys of the store at %r was removed, and this process cannot open "
            "the new keys. It goes on with those that it has, which whoever was removed may "
            "have kept. Start it again when you can.",
            store.location,
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
    if keyrings.numbers(store.inner, ring)[-1:] == [number]:
        return None
    locked = keyrings.read(store.inner, ring)
    try:
        store.take_up(opened(locked, store.unlocked.wrapping_key))
    except ManifestDamaged:
        return locked
    return None

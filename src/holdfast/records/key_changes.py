"""Changes to the keys of an encrypted store; each is one new keyring, whole or not there at all.

None of them touches what is stored. ``engine.reencrypt`` writes that anew.
"""

from __future__ import annotations

import os
from dataclasses import replace

from holdfast.errors import AlreadyExists, NotFound, UsageError
from holdfast.records import keyrings
from holdfast.sealed.store import SealedStore
from holdfast.security.holders import Holder, holders_of
from holdfast.security.keyring import KEY_BYTES
from holdfast.security.keys import Key
from holdfast.security.locked import MAX_HOLDERS
from holdfast.security.unlocked import Unlocked


def add_holder(store: SealedStore, key: Key, label: str = "") -> list[Holder]:
    """Let somebody else open the store: the wrapping key is wrapped for them too.

    Raises:
        AlreadyExists: They can already.
    """
    before = store.unlocked
    new = holders_of(key, label)
    there = {holder.recipient for holder in before.holders}
    if taken := [holder.recipient for holder in new if holder.recipient in there]:
        raise AlreadyExists(f"{taken[0]} can open the store already. Nothing was changed.")
    if len(before.holders) + len(new) > MAX_HOLDERS:
        raise UsageError(f"A store has {MAX_HOLDERS} holders at most. Nothing was changed.")
    _change(store, replace(before, holders=(*before.holders, *new)))
    return new


def remove_holder(store: SealedStore, recipient: str) -> Holder:
    """Let somebody not open the store any more, by their public key or their label.

    The keys change for everybody else: a new wrapping key, and a new generation to write with.
    What was written before is still sealed with keys that they may have kept.

    Raises:
        NotFound: Nobody has that key, or several have that label.
        UsageError: They are the last.
    """
    before = store.unlocked
    # Those without a label are not all called nothing: a variable of a shell may not be set.
    found = [h for h in before.holders if recipient and recipient in (h.recipient, h.label)]
    if len(found) != 1:
        known = ", ".join(h.recipient for h in before.holders)
        raise NotFound(
            f"{recipient!r} is {'none' if not found else 'several'} of the store's holders. "
            f"Nothing was changed. They are: {known}.",
            recipient=recipient,
        )
    rest = tuple(holder for holder in before.holders if holder is not found[0])
    if not rest:
        raise UsageError(
            "Without its last holder nobody could open the store. Nothing was changed; add another "
            "first."
        )
    new = replace(
        before, wrapping_key=os.urandom(KEY_BYTES), keyring=before.keyring.rotated(), holders=rest
    )
    _change(store, new)
    return found[0]


def rotate(store: SealedStore) -> int:
    """Begin a new generation of data keys, to write with from now on; return its number."""
    keyring = store.unlocked.keyring.rotated()
    _change(store, replace(store.unlocked, keyring=keyring))
    return keyring.newest


def retire(store: SealedStore) -> None:
    """Forget all generations but the newest: nothing that was sealed with them opens any more."""
    _change(store, replace(store.unlocked, keyring=store.unlocked.keyring.without_old()))


def _change(store: SealedStore, new: Unlocked) -> None:
    new = replace(new, number=new.number + 1)
    keyrings.write(store.inner, new)
    store.take_up(new)

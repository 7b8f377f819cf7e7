"""``Store.keys``: who can open an encrypted store, and what it is sealed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.engine.reencrypt import ReencryptReport, reencrypt
from holdfast.errors import InvalidKey, UsageError
from holdfast.records import key_changes
from holdfast.sealed.store import SealedStore
from holdfast.security.holders import Holder
from holdfast.security.keys import Key
from holdfast.store.contract import ObjectStore


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Somebody who can open a store.

    Attributes:
        recipient: Their public key.
        kind: ``recipient`` or ``passphrase``.
        label: What they are called.
    """

    recipient: str
    kind: str
    label: str


class StoreKeys:
    """The keys of an encrypted store. A change is there as a whole, or not at all.

    Args:
        open_store: Opens the store.
    """

    def __init__(self, open_store: Callable[[], ObjectStore]) -> None:
        self._open_store = open_store

    def holders(self) -> list[KeyHolder]:
        """Return who can open the store."""
        return [_shown(holder) for holder in self._open().unlocked.holders]

    def generations(self) -> list[int]:
        """Return the numbers of the data keys in use; the last is the one to write with."""
        return sorted(self._open().unlocked.keyring.generations)

    def add(self, key: Key, label: str = "") -> list[KeyHolder]:
        """Let somebody else open the store, from now on; what is stored is not touched.

        Args:
            key: ``keys.recipient("age1…")``, a passphrase, or an identity.
            label: What to call them.

        Raises:
            AlreadyExists: They can already.
        """
        if not isinstance(key, Key):
            raise InvalidKey("add() takes one key, as of holdfast.keys.recipient('age1…').")
        return [_shown(holder) for holder in key_changes.add_holder(self._open(), key, label)]

    def remove(self, recipient: str) -> KeyHolder:
        """Let somebody not open the store any more, by their public key or label.

        What is written from now on is sealed with keys that they never had. What was written before
        they may have kept, or its keys: ``reencrypt`` makes the keys worthless.

        Raises:
            NotFound: There is no such holder.
            UsageError: It is the last.
        """
        return _shown(key_changes.remove_holder(self._open(), recipient))

    def rotate(self) -> int:
        """Seal what is written from now on with a new key; return its number.

        What was written before stays readable, and a process that is writing takes the key up with
        its next save.
        """
        return key_changes.rotate(self._open())

    def reencrypt(self, progress: Callable[[int, int], None] | None = None) -> ReencryptReport:
        """Seal all that is stored with the newest key, and throw older keys away.

        Runs that are being written are left alone, and the keys stay until another time.

        Args:
            progress: Called with the bytes done and the bytes to do.
        """
        return reencrypt(self._open(), progress)

    def _open(self) -> SealedStore:
        store = self._open_store()
        if not isinstance(store, SealedStore):
            raise UsageError(f"The store at {store.location!r} is not encrypted: it has no keys.")
        return store


def _shown(holder: Holder) -> KeyHolder:
    return KeyHolder(holder.recipient, holder.kind, holder.label)

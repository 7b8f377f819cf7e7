"""The marker that makes a folder a store, and says which format it has."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from holdfast.errors import (
    ChunkMissing,
    DataError,
    HoldfastError,
    ManifestDamaged,
    StoreTooNew,
    StoreUnavailable,
    UsageError,
)
from holdfast.format import envelope
from holdfast.format.names import MARKER_KEY, is_id
from holdfast.records import commits, keyrings
from holdfast.sealed.store import SealedStore
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.modes import SHARES, Share

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.holdfast.store+json"


@dataclass(frozen=True, slots=True)
class Made:
    """How a store was made: who else may use it, and the id of its keyring if it is encrypted."""

    share: Share = "private"
    ring: str | None = None


def check(store: ObjectStore) -> Made:
    """Return how a store was made; raise where its marker is not good.

    Raises:
        ChunkMissing: There is none.
        ManifestDamaged: It is damaged.
        StoreTooNew: A newer version of holdfast wrote it.
    """
    what = f"the marker of the store at {store.location!r}"
    try:
        payload = envelope.unwrap(store.get(MARKER_KEY), PAYLOAD_TYPE, what=what)
    except ManifestDamaged as error:
        raise ManifestDamaged(
            f"{what} ({MARKER_KEY}) is damaged. The checkpoints do not depend on it; the next save "
            "writes it anew.",
            record=what,
        ) from error
    if payload.get("format") != FORMAT:
        raise StoreTooNew(
            f"The store at {store.location!r} has format {payload.get('format')}; this version "
            f"of holdfast reads {FORMAT}. Nothing is wrong with it: upgrade holdfast.",
            found=payload.get("format"),
            supported=FORMAT,
        )
    ring = payload.get("keyring")
    if ring is not None and not is_id(ring):
        raise ManifestDamaged(f"{what} ({MARKER_KEY}) names no keyring.", record=what)
    return Made(_share_in(payload, what), None if ring is None else str(ring))


def _share_in(payload: envelope.Json, what: str) -> Share:
    try:
        return check_share(payload.get("share", "private"))
    except UsageError as error:
        raise ManifestDamaged(f"{what} is malformed: {error}", record=what) from error


def check_share(share: object) -> Share:
    """Return share if it is one of the ways to share a store, else raise UsageError."""
    for known in SHARES:
        if share == known:
            return known
    raise UsageError(f"share={share!r} is neither 'private' nor 'group'.")


def share_of(store: ObjectStore) -> Share:
    """Return who else may use a store, as its files are opened."""
    files = store.inner if isinstance(store, SealedStore) else store
    return files.modes.share if isinstance(files, LocalStore) else "private"


def find_ring(store: ObjectStore) -> str | None:
    """Return the id of the keyring in a store whose marker cannot be read; None without any.

    Raises:
        ManifestDamaged: There are several.
    """
    if isinstance(store, SealedStore):
        return store.unlocked.ring
    found = keyrings.rings(store)
    if len(found) > 1:
        raise ManifestDamaged(
            f"The store at {store.location!r} has {len(found)} keyrings, and no marker that says "
            f"which is its own. Bring {MARKER_KEY} back from a copy of the store.",
            record=MARKER_KEY,
        )
    return found[0] if found else None


def store_id(store: ObjectStore) -> str | None:
    """Return the random id that a store was given when it was made; copies of it have it too."""
    try:
        payload = envelope.unwrap(store.get(MARKER_KEY), PAYLOAD_TYPE, what="the marker")
    except DataError:
        return None
    return str(payload.get("id"))


def problems(store: ObjectStore) -> list[str]:
    """Return what is wrong with the marker of a store, in words; that there is none is not."""
    try:
        check(store)
    except ChunkMissing:
        return []
    except DataError as error:
        return [str(error)]
    return []


def put_new(store: ObjectStore, made: Made) -> bool:
    """Write the marker of a new store, if it has none; return whether it had none."""
    return store.put_new(MARKER_KEY, _marker(made))


def renew(store: ObjectStore) -> None:
    """Write the marker anew; what is in the store stays, and its id where a checkpoint tells it."""
    made = Made(share_of(store), find_ring(store))
    try:
        store.put(MARKER_KEY, _marker(made, _id_in_commits(store)))
    except StoreUnavailable:
        # Somebody else who opens the store has cleared our temporary file away; and is at the same.
        if not _is_good(store):
            raise


def _is_good(store: ObjectStore) -> bool:
    try:
        check(store)
    except HoldfastError:
        return False
    return True


def _id_in_commits(store: ObjectStore) -> str | None:
    """Return the store's id as a checkpoint tells it that went on from another one here."""
    for run in commits.runs(store):
        for record in reversed(commits.good_commits(store, run)):
            origin = record.lineage.resumed_from
            if origin is not None and origin.run == run and origin.store is not None:
                return origin.store
    return None


def _marker(made: Made, store_id: str | None = None) -> bytes:
    name = store_id or uuid.uuid4().hex
    payload = {"format": FORMAT, "id": name, "created_ns": time.time_ns()}
    shared = {} if made.share == "private" else {"share": made.share}
    sealed = {} if made.ring is None else {"keyring": made.ring}
    return envelope.wrap(PAYLOAD_TYPE, payload | shared | sealed)

"""The marker that makes a folder a store, and says which format it has."""

from __future__ import annotations

import logging
import os
import time
import uuid

from holdfast.errors import (
    ChunkMissing,
    DataError,
    KeyNeeded,
    ManifestDamaged,
    NotFound,
    StoreTooNew,
    StoreUnavailable,
    UsageError,
)
from holdfast.format import envelope
from holdfast.format.names import MARKER_KEY, RUNS_PREFIX, is_id
from holdfast.records import keyrings
from holdfast.sealed.store import SealedStore
from holdfast.security.keys import Keys
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore

_log = logging.getLogger("holdfast")

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.holdfast.store+json"

Location = str | os.PathLike[str] | ObjectStore


def open_store(location: Location, *, create: bool, keys: Keys | None = None) -> ObjectStore:
    """Open the store at a location, making it first if asked to.

    Args:
        location: Where it is.
        create: Make it, if it is not there; with keys, an encrypted one.
        keys: What opens an encrypted store.

    Where the location is an ``ObjectStore`` already, only its marker is looked at, or made.

    Raises:
        NotFound: There is no store, and ``create`` is False.
        KeyNeeded, WrongKey: It is encrypted, and the keys do not open it.
        UsageError: It is not encrypted, but keys were given.
        StoreTooNew: A newer version of holdfast made it.
        StoreUnavailable: The location is a file, or may not be read or written.
    """
    store = objects_at(location)
    try:
        ring = check(store)
    except ChunkMissing:
        if not create:
            _explain_absence(store)
        ring = _made(store, keys)
    except ManifestDamaged as error:
        if not store.folders(RUNS_PREFIX):
            raise _may_be_anything(store) from error
        # The runs are what counts, and each commit says its own format.
        _log.warning("%s", error)
        ring = find_ring(store)
        if create:
            renew(store)
    if create:
        store.clear_debris("")
    return _opened(store, ring, keys)


def _opened(store: ObjectStore, ring: str | None, keys: Keys | None) -> ObjectStore:
    if isinstance(store, SealedStore) or (ring is None and keys is None):
        return store
    if ring is None:
        raise UsageError(
            f"Keys were given, but the store at {store.location!r} is not encrypted. Nothing was "
            "changed. Leave the keys out; or make an encrypted store at another place and copy "
            "there what is in this one: Store(…).copy(ref, Store(elsewhere, keys=…))."
        )
    if keys is None:
        raise KeyNeeded(
            f"The store at {store.location!r} is encrypted. Give a key that opens it: Store(…, "
            "keys=holdfast.keys.identity(FILE)) or keys.passphrase(…), in the place of its path; "
            "on the command line --identity FILE or --passphrase-file FILE."
        )
    return SealedStore(store, keyrings.unlock(store, ring, keys))


def is_encrypted(location: Location) -> bool:
    """Say whether a key is needed to open the store at a location, as far as can be told."""
    store = objects_at(location)
    try:
        return check(store) is not None
    except DataError:
        return bool(keyrings.rings(store))


def objects_at(location: Location) -> ObjectStore:
    """Return what holds the objects at a location, whether or not there are any.

    Raises:
        UsageError: It is no location.
        StoreUnavailable: It is a file.
    """
    place = check_location(location)
    if isinstance(place, ObjectStore):
        return place
    store = LocalStore(place)
    if os.path.exists(store.location) and not os.path.isdir(store.location):
        raise StoreUnavailable(
            f"{store.location!r} is a file; a store is a folder. Nothing was changed.",
            path=store.location,
        )
    return store


def check_location(location: object) -> Location:
    """Return location if it can be a store's, else raise UsageError."""
    if isinstance(location, ObjectStore):
        return location
    if not isinstance(location, str | os.PathLike):
        raise UsageError(
            f"A store's location is a path or an ObjectStore, not a {type(location).__name__}."
        )
    if isinstance(location, str) and "://" in location:
        raise UsageError(
            f"{location!r} is a URL; this version of holdfast keeps stores in folders only."
        )
    if not os.fspath(location) or "\0" in os.fspath(location):
        raise UsageError(f"{location!r} is no path of a folder.")
    return location


def _explain_absence(store: ObjectStore) -> None:
    # The runs are what counts; the marker can be written again by the next save.
    if store.folders(RUNS_PREFIX):
        return
    if isinstance(store, LocalStore) and os.path.isdir(store.location):
        raise NotFound(
            f"{store.location!r} is a folder but no holdfast store: it has no {MARKER_KEY}.",
            path=store.location,
        )
    raise NotFound(f"There is no store at {store.location!r}.", path=store.location)


def _may_be_anything(store: ObjectStore) -> ManifestDamaged:
    return ManifestDamaged(
        f"{store.location!r} has a damaged marker ({MARKER_KEY}) and no runs, so that it may be no "
        "store at all. Nothing was changed. If nobody else needs that file, delete it and save "
        "again.",
        record=MARKER_KEY,
    )


def check(store: ObjectStore) -> str | None:
    """Return the id of a store's keyring; None where it is not encrypted.

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
    return None if ring is None else str(ring)


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


def renew(store: ObjectStore) -> None:
    """Write the marker anew; what is in the store stays."""
    store.put(MARKER_KEY, _marker(find_ring(store)))


def _made(store: ObjectStore, keys: Keys | None) -> str | None:
    """Make a store, or the marker of one that has lost it; return the id of its keyring."""
    store.create()
    if isinstance(store, SealedStore) or store.folders(RUNS_PREFIX):
        ring = find_ring(store)
        return ring if store.put_new(MARKER_KEY, _marker(ring)) else check(store)
    new = keyrings.make(store, keys).ring if keys is not None else None
    if store.put_new(MARKER_KEY, _marker(new)):
        return new
    # Somebody was first; the store is theirs, and so are its keys.
    if new is not None:
        keyrings.discard(store, new)
    return check(store)


def _marker(ring: str | None) -> bytes:
    payload = {"format": FORMAT, "id": uuid.uuid4().hex, "created_ns": time.time_ns()}
    return envelope.wrap(PAYLOAD_TYPE, payload | ({} if ring is None else {"keyring": ring}))

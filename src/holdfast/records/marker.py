"""The marker that makes a folder a store, and says which format it has."""

from __future__ import annotations

import logging
import os
import time
import uuid
from dataclasses import dataclass

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
from holdfast.records import commits, keyrings, unlocking
from holdfast.sealed.store import SealedStore
from holdfast.security.keys import Keys
from holdfast.store.bundle import BundleStore, is_bundle
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.modes import SHARES, Share, share_of_folder
from holdfast.store.remote import RemoteStore

_log = logging.getLogger("holdfast")

FORMAT = 1
PAYLOAD_TYPE = "application/vnd.holdfast.store+json"

Location = str | os.PathLike[str] | ObjectStore


@dataclass(frozen=True, slots=True)
class Made:
    """How a store was made: who else may use it, and the id of its keyring if it is encrypted."""

    share: Share = "private"
    ring: str | None = None


def open_store(
    location: Location, *, create: bool, keys: Keys | None = None, share: Share | None = None
) -> ObjectStore:
    """Open the store at a location, making it first if asked to.

    Where the location is an ``ObjectStore`` already, only its marker is looked at, or made.

    Args:
        location: The folder, the URL of a bucket and a prefix in it, the file of a bundle, or an
            ``ObjectStore``.
        create: Make it if it is not there; with keys, an encrypted one.
        keys: What opens an encrypted store.
        share: Who else may use it, which is settled when it is made; None: as it was made,
            private if it is new.

    Raises:
        NotFound: There is no store, and ``create`` is False.
        KeyNeeded, WrongKey: It is encrypted, and the keys do not open it.
        StoreTooNew: A newer version of holdfast made it.
        StoreUnavailable: The location is a file, or may not be read or written.
        UsageError: It was made with another ``share``, or is not encrypted but keys were given.
    """
    store = objects_at(location)
    made = Made(_share_of(store))
    is_damaged = False
    try:
        made = check(store)
    except ChunkMissing:
        if not create:
            _explain_absence(store)
        store = _shared(store, share or made.share)
        made, is_damaged = _make(store, keys)
    except ManifestDamaged as error:
        if not store.folders(RUNS_PREFIX):
            raise _may_be_anything(store) from error
        # The runs are what counts, and each commit says its own format.
        _log.warning("%s", error)
        made, is_damaged = Made(made.share, find_ring(store)), True
    if share not in (None, made.share):
        raise UsageError(
            f"The store at {store.location!r} was made with share={made.share!r}, so it cannot be "
            f"opened with share={share!r}. Nothing was changed. Leave share= out, or copy its "
            "checkpoints into a store that is made as you want it.",
            share=made.share,
        )
    store = _shared(store, made.share)
    if create:
        store.clear_debris("")
    opened = _opened(store, made.ring, keys)
    if create and is_damaged:
        renew(opened)
    return opened


def _opened(store: ObjectStore, ring: str | None, keys: Keys | None) -> ObjectStore:
    if isinstance(store, SealedStore):
        return unlocking.following(store, keys)
    if ring is None and keys is None:
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
    return unlocking.following(SealedStore(store, unlocking.unlock(store, ring, keys)), keys)


def is_encrypted(location: Location) -> bool:
    """Say whether a key is needed to open the store at a location, as far as can be told."""
    store = objects_at(location)
    try:
        return check(store).ring is not None
    except DataError:
        return bool(keyrings.rings(store))


def is_there(location: Location) -> bool:
    """Say whether there is a store at a location, whether or not it can be opened."""
    store = objects_at(location)
    return store.exists(MARKER_KEY) or bool(store.folders(RUNS_PREFIX))


def _share_of(store: ObjectStore) -> Share:
    files = store.inner if isinstance(store, SealedStore) else store
    return files.modes.share if isinstance(files, LocalStore) else "private"


def _shared(store: ObjectStore, share: Share) -> ObjectStore:
    """Return a store as one that is shared in that way, where it has files to share."""
    if not isinstance(store, LocalStore) or store.modes.share == share:
        return store
    return LocalStore(store.location, share)


def objects_at(location: Location) -> ObjectStore:
    """Return what holds the objects at a location, whether or not there are any.

    Raises:
        UsageError: It is no location.
        StoreUnavailable: It is a file.
    """
    place = check_location(location)
    if isinstance(place, ObjectStore):
        return place
    if os.path.isfile(place) and is_bundle(os.fspath(place)):
        return BundleStore(place)
    # The marker says how it is shared; where that is missing or damaged, the folder's mode does.
    store = LocalStore(place, share_of_folder(os.fspath(place)))
    if os.path.exists(store.location) and not os.path.isdir(store.location):
        raise StoreUnavailable(
            f"{store.location!r} is a file, and no bundle; a store is a folder. Nothing was "
            "changed.",
            path=store.location,
        )
    return store


def check_location(location: object) -> Location:
    """Return location if it can be a store's, an object for a URL; else raise UsageError."""
    if isinstance(location, ObjectStore):
        return location
    if not isinstance(location, str | os.PathLike):
        raise UsageError(
            f"A store's location is a path or an ObjectStore, not a {type(location).__name__}."
        )
    if isinstance(location, str) and "://" in location:
        return RemoteStore(location)
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


def check_share(share: object) -> Share:
    """Return share if it is one of the ways to share a store, else raise UsageError."""
    for known in SHARES:
        if share == known:
            return known
    raise UsageError(f"share={share!r} is neither 'private' nor 'group'.")


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


def _share_in(payload: envelope.Json, what: str) -> Share:
    try:
        return check_share(payload.get("share", "private"))
    except UsageError as error:
        raise ManifestDamaged(f"{what} is malformed: {error}", record=what) from error


def renew(store: ObjectStore) -> None:
    """Write the marker anew; what is in the store stays, and its id where a checkpoint tells it."""
    store.put(MARKER_KEY, _marker(Made(_share_of(store), find_ring(store)), _id_in_commits(store)))


def _id_in_commits(store: ObjectStore) -> str | None:
    """Return the store's id as a checkpoint tells it that went on from another one here."""
    for run in commits.runs(store):
        for record in reversed(commits.good_commits(store, run)):
            origin = record.lineage.resumed_from
            if origin is not None and origin.run == run and origin.store is not None:
                return origin.store
    return None


def _make(store: ObjectStore, keys: Keys | None) -> tuple[Made, bool]:
    """Make a store; return how it was made, and whether it has lost its marker, and needs one."""
    store.create()
    share = _share_of(store)
    if isinstance(store, SealedStore) or store.folders(RUNS_PREFIX):
        return Made(share, find_ring(store)), True
    made = Made(share, unlocking.make(store, keys).ring if keys is not None else None)
    if store.put_new(MARKER_KEY, _marker(made)):
        return made, False
    # Somebody was first; the store is theirs, and so are its keys.
    if made.ring is not None:
        keyrings.discard(store, made.ring)
    return check(store), False


def _marker(made: Made, store_id: str | None = None) -> bytes:
    name = store_id or uuid.uuid4().hex
    payload = {"format": FORMAT, "id": name, "created_ns": time.time_ns()}
    shared = {} if made.share == "private" else {"share": made.share}
    sealed = {} if made.ring is None else {"keyring": made.ring}
    return envelope.wrap(PAYLOAD_TYPE, payload | shared | sealed)

"""Stores opened, and made where they are not there yet: by path, URL, or as an ``ObjectStore``."""

from __future__ import annotations

import logging
import os

from holdfast.errors import (
    ChunkMissing,
    DataError,
    KeyNeeded,
    ManifestDamaged,
    NotFound,
    StoreUnavailable,
    UsageError,
)
from holdfast.format.names import MARKER_KEY, RUNS_PREFIX
from holdfast.records import keyrings, marker, unlocking
from holdfast.records.marker import Made
from holdfast.sealed.store import SealedStore
from holdfast.security.keys import Keys
from holdfast.store.bundle import BundleStore, is_bundle
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.store.modes import Share, share_of_folder

_log = logging.getLogger("holdfast")

Location = str | os.PathLike[str] | ObjectStore


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
    store, made, needs_marker = _found_or_made(objects_at(location), create, keys, share)
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
    if create and needs_marker:
        marker.renew(opened)
    return opened


def _found_or_made(
    store: ObjectStore, create: bool, keys: Keys | None, share: Share | None
) -> tuple[ObjectStore, Made, bool]:
    """Return a store, made if need be, how it was made, and whether its marker is to be renewed."""
    as_it_is = Made(marker.share_of(store))
    try:
        return store, marker.check(store), False
    except ChunkMissing:
        if not create:
            _explain_absence(store)
        store = _shared(store, share or as_it_is.share)
        return store, *_make(store, keys)
    except ManifestDamaged as error:
        if not store.folders(RUNS_PREFIX):
            raise _may_be_anything(store) from error
        # The runs are what counts, and each commit says its own format.
        _log.warning("%s", error)
        return store, Made(as_it_is.share, marker.find_ring(store)), True


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
        return marker.check(store).ring is not None
    except DataError:
        return bool(keyrings.rings(store))


def is_there(location: Location) -> bool:
    """Say whether there is a store at a location, whether or not it can be opened."""
    store = objects_at(location)
    return store.exists(MARKER_KEY) or bool(store.folders(RUNS_PREFIX))


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
        # Who has no bucket does without what this imports.
        from holdfast.store.remote import RemoteStore

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


def _make(store: ObjectStore, keys: Keys | None) -> tuple[Made, bool]:
    """Make a store; return how it was made, and whether it has lost its marker, and needs one."""
    store.create()
    share = marker.share_of(store)
    if isinstance(store, SealedStore) or store.folders(RUNS_PREFIX):
        try:
            # Who made it since we looked has put its marker before the first run; it has an id.
            return marker.check(store), False
        except ChunkMissing:
            return Made(share, marker.find_ring(store)), True
    made = Made(share, unlocking.make(store, keys).ring if keys is not None else None)
    if marker.put_new(store, made):
        return made, False
    # Somebody was first; the store is theirs, and so are its keys.
    if made.ring is not None:
        keyrings.discard(store, made.ring)
    return marker.check(store), False

"""Keyrings put right: one from its copy, and what an interrupted change of keys has left."""

from __future__ import annotations

from holdfast.errors import ChunkMissing, HoldfastError
from holdfast.records import keyrings
from holdfast.sealed.store import SealedStore
from holdfast.security.locked import decode
from holdfast.store.contract import ObjectStore

# What was put right, or would be: its key, and what was done.
Done = tuple[str, str]


def mend(store: ObjectStore, *, dry_run: bool) -> list[Done]:
    """Write a good keyring over its copy that is not, or is not there; return what was done.

    Where a change of keys was interrupted, older keyrings are taken away, as it would have done.
    """
    if not isinstance(store, SealedStore):
        return []
    inner, ring = store.inner, store.unlocked.ring
    bad = _mended(inner, ring, dry_run=dry_run) if keyrings.troubles(store) else []
    older = unended(store) if not _lost(store, bad) else []
    if older and not dry_run:
        keyrings.delete_older(inner, ring, keyrings.numbers(inner, ring)[-1])
    copied = [(key, "keyring taken from its copy") for key in bad]
    ended = [(key, "older keyring taken away, which ends a change of keys") for key in older]
    return [*copied, *ended]


def unended(store: ObjectStore) -> list[str]:
    """Return the keys of keyrings that a change of keys which was interrupted has left there."""
    if not isinstance(store, SealedStore):
        return []
    ring = store.unlocked.ring
    older = keyrings.numbers(store.inner, ring)[:-1]
    return [keyrings.keys_of(ring, number)[0] for number in older]


def _lost(store: SealedStore, bad: list[str]) -> bool:
    """Say whether the newest keyring is good nowhere: an older one is all that is left."""
    damaged_ones = [e for e in keyrings.troubles(store) if not isinstance(e, ChunkMissing)]
    return bool(damaged_ones) and not bad


def _mended(inner: ObjectStore, ring: str, *, dry_run: bool) -> list[str]:
    number = keyrings.numbers(inner, ring)[-1]
    keys = keyrings.keys_of(ring, number)
    good = {key: data for key in keys if (data := _good(inner, ring, number, key))}
    bad = [key for key in keys if key not in good]
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

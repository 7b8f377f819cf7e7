"""Objects that nothing names any more, found and deleted; in doubt they stay.

A pack or manifest lives while a commit of its run names it, or a pin does. What is unlisted goes
first, then this sweep; ``records.pins`` tells why a save under way is safe from it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from holdfast.errors import DataError, HoldfastError
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.history.missing import told_saved
from holdfast.history.pack_names import packs_in
from holdfast.records import commits, pins, removals
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectInfo, ObjectStore

_log = logging.getLogger("holdfast")

# What was there when a record was first found unreadable: it may need any of that.
_spared: dict[tuple[str, str], frozenset[str]] = {}


def sweep(store: ObjectStore, run: str, without: Collection[str] = ()) -> int:
    """Delete what neither a commit nor a pin of the run names; return the bytes freed.

    Where a commit or a manifest cannot be read, nothing is deleted that was there when that was
    found out; nor anything of a checkpoint whose commit was lost.

    Args:
        store: Where to look.
        run: The run.
        without: Ids of checkpoints that were removed.
    """
    garbage = find_garbage(store, run, without)
    store.delete([info.key for info in garbage])
    return bytes_of(garbage)


def sweep_debris(
    store: ObjectStore,
    run: str,
    incarnation: str = "",
    go_on_with: Container[str] = (),
    *,
    others_write: bool = False,
) -> int:
    """Delete what writers that died left behind; return the bytes freed.

    Only to be called by who holds the run's lock: then every pin is a dead writer's, but for those
    of the incarnation that is named. Its ranks live, and what the first one's writer had written
    before it died is gone on with.
    What was begun of ``go_on_with`` stays: who calls goes on with it. Where ``others_write``, so
    does what is half written: it may be theirs.
    """
    keys = RunKeys(run)
    if not others_write:
        store.clear_debris(keys.root)
    removals.clear_stale(store, run)
    for pin in pins.all_pins(store, run):
        is_of_ours = incarnation and pin.incarnation == incarnation
        if not is_of_ours and pin.checkpoint_id not in go_on_with:
            pins.delete_pin(store, run, pin.checkpoint_id, pin.rank)
    debris = find_debris(store, run)
    store.delete([info.key for info in debris])
    return bytes_of(debris)


def bytes_of(garbage: Iterable[ObjectInfo]) -> int:
    """Return what deleting objects gives back: of one with other names nothing."""
    return sum(info.size for info in garbage if info.n_names == 1)


def find_debris(store: ObjectStore, run: str) -> list[ObjectInfo]:
    """Return what nothing names, looked for only where something has no commit."""
    return find_garbage(store, run) if without_commit(store, run) else []


def without_commit(store: ObjectStore, run: str) -> list[str]:
    """Return the ids that have packs or parts but no commit: unfinished, or removed but shared."""
    keys = RunKeys(run)
    known: set[str] = set()
    for found in commits.all_commits(store, run):
        if isinstance(found, DamagedCommit):
            return []
        known.add(found.id)
    present = {
        checkpoint_of(info.key)
        for prefix in (keys.packs, keys.parts)
        for info in store.list(prefix)
    }
    return sorted(present - known)


def find_garbage(store: ObjectStore, run: str, without: Collection[str] = ()) -> list[ObjectInfo]:
    """Return the packs and parts of a run that neither a commit nor a pin names.

    Args:
        store: Where to look.
        run: The run.
        without: Ids of checkpoints that count as removed already.
    """
    keys = RunKeys(run)
    # Listed before the names are read: what appears later is not looked at.
    present = [*store.list(keys.packs), *store.list(keys.parts)]
    pinned = pins.all_pins(store, run)
    parts: dict[str, bytes | None] = {key: None for pin in pinned for key in pin.base_parts}
    under_way = {pin.checkpoint_id for pin in pinned}
    accounted_for = {*without, *under_way}
    unreadable: dict[str, HoldfastError] = {}
    for found in commits.all_commits(store, run):
        if isinstance(found, DamagedCommit):
            unreadable[found.key] = found.error
        elif found.id not in without:
            parts.update((ref.key, ref.digest) for ref in found.parts)
            accounted_for.add(found.id)
    manifests = [info.key for info in present if info.key.startswith(keys.parts)]
    unknown = set(map(checkpoint_of, manifests)) - accounted_for
    lost = {missing.id for missing in told_saved(store, run, unknown)}
    parts.update((key, None) for key in manifests if checkpoint_of(key) in lost)
    live = {*parts, *(key for pin in pinned for key in pin.packs)}
    for key, expected in parts.items():
        try:
            live.update(packs_in(store, key, expected))
        except DataError as error:
            unreadable[key] = error
    live |= _spare(store, unreadable, present)
    return [
        info
        for info in present
        if info.key not in live and checkpoint_of(info.key) not in under_way
    ]


def _spare(
    store: ObjectStore, unreadable: Mapping[str, HoldfastError], present: Sequence[ObjectInfo]
) -> set[str]:
    spared: set[str] = set()
    for key, error in unreadable.items():
        known = _spared.get((store.location, key))
        if known is None:
            _log.warning("What is there now is not swept, since it may be needed: %s", error)
            known = frozenset(info.key for info in present)
            _spared[(store.location, key)] = known
        spared |= known
    return spared

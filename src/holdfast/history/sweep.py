"""Objects that nothing names any more, found and deleted; in doubt they stay.

A pack or manifest lives while a commit of its run names it, or a pin does. What is unlisted goes
first, then this sweep; ``records.pins`` tells why a save under way is safe from it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Container, Iterable

from holdfast.errors import DataError, HoldfastError
from holdfast.format import part as part_format
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.records import commits, pins, removals
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectInfo
from holdfast.store.local import LocalStore

_log = logging.getLogger("holdfast")
_CACHE_SIZE = 4096
_packs_of_part: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()


class InDoubt(HoldfastError):
    """A manifest cannot be read, so that nobody knows what it needs."""


def sweep(store: LocalStore, run: str) -> int:
    """Delete what neither a commit nor a pin of the run names; return the bytes freed.

    Where a manifest cannot be read, nothing is deleted.
    """
    try:
        garbage = find_garbage(store, run)
    except InDoubt as error:
        _log.warning("Nothing is swept from run %r: %s", run, error)
        return 0
    store.delete([info.key for info in garbage])
    return sum(info.size for info in garbage)


def sweep_debris(store: LocalStore, run: str) -> int:
    """Delete what writers that died left behind; return the bytes freed.

    Only to be called by who holds the run's lock: then every pin is a dead writer's.
    """
    keys = RunKeys(run)
    store.delete(list(store.temporaries(keys.root)))
    removals.clear_stale(store, run)
    for pin in pins.all_pins(store, run):
        pins.delete_pin(store, run, pin.checkpoint_id)
    return sweep(store, run) if unfinished(store, run) else 0


def unfinished(store: LocalStore, run: str) -> list[str]:
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


def find_garbage(store: LocalStore, run: str, without: Container[str] = ()) -> list[ObjectInfo]:
    """Return the packs and parts of a run that neither a commit nor a pin names.

    Args:
        store: Where to look.
        run: The run.
        without: Ids of checkpoints that count as removed already.

    Raises:
        InDoubt: A manifest that is named cannot be read.
    """
    keys = RunKeys(run)
    # Listed before the names are read: what appears later is not looked at.
    present = [*store.list(keys.packs), *store.list(keys.parts)]
    pinned = pins.all_pins(store, run)
    parts: set[str] = {key for pin in pinned for key in pin.base_parts}
    for found in commits.all_commits(store, run):
        if isinstance(found, DamagedCommit):
            raise InDoubt(f"{found.error}")
        if found.id not in without:
            parts.update(ref.key for ref in found.parts)
    live = parts | _packs_of(store, parts)
    under_way = {pin.checkpoint_id for pin in pinned}
    return [
        info
        for info in present
        if info.key not in live and checkpoint_of(info.key) not in under_way
    ]


def _packs_of(store: LocalStore, part_keys: Iterable[str]) -> set[str]:
    packs: set[str] = set()
    for key in part_keys:
        packs |= _packs_in(store, key)
    return packs


def _packs_in(store: LocalStore, part_key: str) -> frozenset[str]:
    cached = _packs_of_part.get((store.location, part_key))
    if cached is None:
        try:
            part = part_format.decode(store.get(part_key), what=f"the manifest {part_key}")
        except DataError as error:
            raise InDoubt(f"{error}") from error
        cached = frozenset(pack.key for pack in part.packs)
        _packs_of_part[(store.location, part_key)] = cached
        while len(_packs_of_part) > _CACHE_SIZE:
            _packs_of_part.popitem(last=False)
    return cached

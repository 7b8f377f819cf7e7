"""Hosts that start agree on what there is: every host gets the records that any of them has."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.errors import ChunkMissing, DataError, HoldfastError
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys
from holdfast.records import commits, pins
from holdfast.records.commits import DamagedCommit

# More than that nobody says who is sound.
MAX_RANKS = 100_000
_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Held:
    """What a host says that it has.

    Attributes:
        commits: Number, id and time of each commit record that can be read there.
        names: Keys of tags and of names for good.
        drafts: Of each save that rank 0 had not committed, the id, and of how many ranks it is.
    """

    commits: Mapping[int, tuple[str, int]]
    names: Sequence[str]
    drafts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What all hosts shall have.

    Attributes:
        commits: The id of each commit record by its number, and the host that has it.
        names: Keys of tags and names, and the host that has it.
        drafts: Id of each save that was not committed, the host, and of how many ranks it is.
        beaten: Numbers and ids of those that another one goes before, and their host.
    """

    commits: Mapping[int, tuple[str, str]]
    names: Mapping[str, str]
    drafts: Mapping[str, tuple[str, int]]
    beaten: Sequence[tuple[int, str, str]]


def agree(held: Mapping[str, Held]) -> Agreed:
    """Return what all hosts shall have of what each has, by name of host; all find the same.

    Where a host that was away has another checkpoint under a number that was given again since, the
    one that more hosts have counts, of equals the later one: training went on from there.

    >>> one, other = Held({1: ("aa", 5), 2: ("bb", 6)}, ()), Held({2: ("cc", 9)}, ())
    >>> agree({"a": one, "b": other})
    Agreed(commits={1: ('aa', 'a'), 2: ('cc', 'b')}, names={}, drafts={}, beaten=[(2, 'bb', 'a')])
    """
    found: dict[int, dict[tuple[int, str], list[str]]] = {}
    for host in sorted(held):
        for seq, (name, created_ns) in held[host].commits.items():
            found.setdefault(seq, {}).setdefault((created_ns, name), []).append(host)
    chosen: dict[int, tuple[str, str]] = {}
    beaten = []
    for seq, candidates in sorted(found.items()):
        best = max((len(hosts), of) for of, hosts in candidates.items())[1]
        chosen[seq] = best[1], candidates[best][0]
        beaten += [(seq, of[1], host) for of in candidates for host in candidates[of] if of != best]
    names = {key: host for host in sorted(held, reverse=True) for key in held[host].names}
    drafts = {name: (host, n) for host in sorted(held) for name, n in held[host].drafts.items()}
    return Agreed(chosen, names, drafts, beaten)


def held_by(store: PeeredStore, run: str) -> Held:
    """Return what this host has."""
    keys = RunKeys(run)
    records = list(commits.all_commits(store.local, run))
    for found in records:
        if isinstance(found, DamagedCommit) and not found.is_too_new:
            _log.warning("On this host: %s A host that has it whole is asked for it.", found.error)
    good = {r.seq: (r.id, r.created_ns) for r in records if not isinstance(r, DamagedCommit)}
    names = [info.key for prefix in (keys.tags, keys.names) for info in store.local.list(prefix)]
    pinned = pins.all_pins(store.local, run)
    left = {p.checkpoint_id: _ranks_of(p) for p in pinned if p.draft is not None and not p.rank}
    return Held(good, names, left)


def _ranks_of(pin: pins.Pin) -> int:
    found = pin.draft.get("world_size") if pin.draft is not None else None
    return found if isinstance(found, int) and 0 < found <= MAX_RANKS else 0


def to_message(held: Held) -> dict[str, Any]:
    """Return it as values of JSON."""
    records = [[seq, name, created_ns] for seq, (name, created_ns) in held.commits.items()]
    return {"commits": records, "names": list(held.names), "drafts": dict(held.drafts)}


def from_message(message: Mapping[str, Any]) -> Held:
    """Return what ``to_message`` was given."""
    records = {int(seq): (str(name), int(ns)) for seq, name, ns in message["commits"]}
    drafts = {str(name): int(n) for name, n in message["drafts"].items()}
    return Held(records, [str(key) for key in message["names"]], drafts)


def fill_up(store: PeeredStore, run: str, mine: Held, agreed: Agreed) -> None:
    """Get the records that this host lacks from hosts that have them: commits, parts, tags, names.

    What cannot be got now is told, and found missing by who needs it.
    """
    keys = RunKeys(run)
    for seq, name, host in agreed.beaten:
        _log.warning(
            "Commit %d of run %r on host %r (%s…) is of a training that did not go on; another one "
            "took its place.",
            seq,
            run,
            host,
            name[:8],
        )
    for seq, (name, host) in agreed.commits.items():
        if mine.commits.get(seq, ("", 0))[0] != name:
            _get(store, keys.commit(seq), host)
        _get_parts(store, run, seq)
    for key, host in agreed.names.items():
        if key not in mine.names:
            _get(store, key, host)
    known = {name for name, _ in agreed.commits.values()}
    for name, (host, n_ranks) in agreed.drafts.items():
        if name not in known:
            _get_draft(store, keys, name, host, n_ranks)


def _get(store: PeeredStore, key: str, host: str) -> None:
    for peer in store.peers:
        if peer.name == host:
            content = peer.get(key)
            if content is not None:
                store.local.put(key, content)


def _get_draft(store: PeeredStore, keys: RunKeys, name: str, host: str, n_ranks: int) -> None:
    """Get what says what a checkpoint would be that rank 0 had not committed, and its parts."""
    if not store.is_here(keys.pin(name)):
        for peer in store.peers:
            content = peer.get(keys.pin(name)) if peer.name == host else None
            if content is not None:
                store.local.put_hint(keys.pin(name), content)
    for rank in range(n_ranks):
        key = keys.part(name, rank)
        if not store.is_here(key):
            with suppress(ChunkMissing):
                store.fetch(key)


def _get_parts(store: PeeredStore, run: str, seq: int) -> None:
    """Get the parts of a checkpoint that this host lacks, or has damaged."""
    try:
        record = commits.read_commit(store.local, run, seq)
    except HoldfastError as error:
        _log.warning("Commit %d of run %r: %s", seq, run, error)
        return
    for ref in record.parts:
        get_part(store, ref.key, ref.digest)


def get_part(store: PeeredStore, key: str, expected: bytes) -> bool:
    """Get a part from a host that has it whole, unless it is here and whole; say if it was got."""
    if _is_whole(store, key, expected):
        return False
    try:
        store.fetch(key, lambda: _is_whole(store, key, expected))
    except DataError as error:
        _log.warning("%s", error)
        return False
    return True


def _is_whole(store: PeeredStore, key: str, expected: bytes) -> bool:
    try:
        return digest(store.local.get(key)) == expected
    except ChunkMissing:
        return False

"""Hosts that start agree on what there is: every host gets the records that any of them has."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.engine.peers.peered_store import PeeredStore
from holdfast.errors import ChunkMissing, DataError, HoldfastError
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Held:
    """What a host says that it has.

    Attributes:
        commits: Number, id and time of each commit record that can be read there.
        names: Keys of tags and of names for good.
    """

    commits: Mapping[int, tuple[str, int]]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Agreed:
    """What all hosts shall have.

    Attributes:
        commits: The id of each commit record by its number, and the host that has it.
        names: Keys of tags and names, and the host that has it.
        beaten: Numbers and ids of those that another one goes before, and their host.
    """

    commits: Mapping[int, tuple[str, str]]
    names: Mapping[str, str]
    beaten: Sequence[tuple[int, str, str]]


def agree(held: Mapping[str, Held]) -> Agreed:
    """Return what all hosts shall have of what each has, by name of host; all find the same.

    Where a host that was away has another checkpoint under a number that was given again since, the
    later one counts: training went on from there.

    >>> one, other = Held({1: ("aa", 5), 2: ("bb", 6)}, ()), Held({2: ("cc", 9)}, ())
    >>> agree({"a": one, "b": other})
    Agreed(commits={1: ('aa', 'a'), 2: ('cc', 'b')}, names={}, beaten=[(2, 'bb', 'a')])
    """
    best: dict[int, tuple[int, str, str]] = {}
    found = [
        (seq, created_ns, name, host)
        for host, has in held.items()
        for seq, (name, created_ns) in has.commits.items()
    ]
    for seq, created_ns, name, host in sorted(found):
        if seq not in best or best[seq][1] != name:
            best[seq] = created_ns, name, host
    beaten = [(seq, name, host) for seq, _, name, host in found if best[seq][1] != name]
    names = {key: host for host in sorted(held, reverse=True) for key in held[host].names}
    chosen = {seq: (name, host) for seq, (_, name, host) in sorted(best.items())}
    return Agreed(chosen, names, beaten)


def held_by(store: PeeredStore, run: str) -> Held:
    """Return what this host has."""
    keys = RunKeys(run)
    records = list(commits.all_commits(store.local, run))
    for found in records:
        if isinstance(found, DamagedCommit) and not found.is_too_new:
            _log.warning("On this host: %s A host that has it whole is asked for it.", found.error)
    good = {r.seq: (r.id, r.created_ns) for r in records if not isinstance(r, DamagedCommit)}
    names = [info.key for prefix in (keys.tags, keys.names) for info in store.local.list(prefix)]
    return Held(good, names)


def to_message(held: Held) -> dict[str, Any]:
    """Return it as values of JSON."""
    records = [[seq, name, created_ns] for seq, (name, created_ns) in held.commits.items()]
    return {"commits": records, "names": list(held.names)}


def from_message(message: Mapping[str, Any]) -> Held:
    """Return what ``to_message`` was given."""
    records = {int(seq): (str(name), int(ns)) for seq, name, ns in message["commits"]}
    return Held(records, [str(key) for key in message["names"]])


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


def _get(store: PeeredStore, key: str, host: str) -> None:
    for peer in store.peers:
        if peer.name == host:
            content = peer.get(key)
            if content is not None:
                store.local.put(key, content)


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

"""The catalog: what all commits of a run say, without reading those that were read before.

The store alone is the truth. What is listed is asked of the store each time; the catalog saves
reading what the listed objects say. One that is damaged, torn, of another version or of another
store is made anew, one that cannot be used is passed over; the answer is the same.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TypeVar

from holdfast.errors import ChunkMissing, DataError
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.history.catalog_file import (
    CatalogFile,
    Untrusted,
    discard,
    is_damage,
    opened,
    path_of,
    remove,
)
from holdfast.history.catalog_rows import Row, digest_of, infos_of_rows, packed, row_of
from holdfast.history.info import CheckpointInfo, info_of
from holdfast.history.summary import Extreme, RunSummary, summary_of
from holdfast.records import commits
from holdfast.records.commits import DamagedCommit
from holdfast.store.contract import ObjectInfo, ObjectStore
from holdfast.store.local import LocalStore

_log = logging.getLogger("holdfast")

_T = TypeVar("_T")
Found = CheckpointInfo | DamagedCommit
_UNREADABLE = (Untrusted, ValueError, TypeError, KeyError, OverflowError)
# A folder that changes twice within a tick of the file system's clock looks unchanged.
_SETTLED_S = 2.0
_ATTEMPTS = 20


def checkpoints(store: ObjectStore, run: str, *, create: bool = False) -> list[Found]:
    """Return what each commit of a run says, in order, without tags and notes.

    Args:
        store: The store.
        run: The run.
        create: Make the catalog if there is none.
    """
    for attempt in range(_ATTEMPTS):
        found, n_listed = _trusting(store, lambda file: _refreshed(store, run, file), create)
        # All that were listed may have been removed before they were read, or before the listing
        # came to them.
        if found or (not n_listed and attempt >= commits.EMPTY_LOOKS):
            return found
    return []


def note(store: ObjectStore, run: str) -> None:
    """Bring the catalog up to date after the run was written; trouble with it is no error."""
    try:
        checkpoints(store, run, create=True)
    except Exception as error:
        # A cache must never be what a save fails of.
        _log.info("The catalog of %r was not brought up to date: %s", store.location, error)


def summary(store: ObjectStore, run: str) -> RunSummary:
    """Return what there is to say of a run in a line, without tags and notes."""
    return _trusting(store, lambda file: _summary(store, run, file), create=False)


def stored_bytes(store: ObjectStore, run: str) -> int:
    """Return what a run's packs and manifests take in the store."""
    return _trusting(store, lambda file: _stored_bytes(store, run, file), create=False)


def rebuild(store: ObjectStore) -> int | None:
    """Make the catalog anew; return how many checkpoints it has, or None where it cannot be."""
    path = path_of(store)
    if path is None:
        return None
    remove(path)
    names = commits.runs(store)
    found = [checkpoints(store, run, create=True) for run in names]
    with opened(store) as file:
        if file is None or not file.is_writable:
            return None
    return sum(isinstance(item, CheckpointInfo) for items in found for item in items)


def _trusting(store: ObjectStore, ask: Callable[[CatalogFile | None], _T], create: bool) -> _T:
    """Return what is asked of the catalog; where it cannot be trusted, of a new one or of none."""
    for _ in range(2):
        with opened(store, create=create) as file:
            if file is None:
                break
            try:
                return ask(file)
            except (sqlite3.DatabaseError, *_UNREADABLE) as error:
                if not is_damage(error):
                    _log.info("The catalog of %r is passed over: %s", store.location, error)
                    break
                why = f"is damaged ({error!r})"
        discard(store, why)
        create = True
    return ask(None)


def _summary(store: ObjectStore, run: str, file: CatalogFile | None) -> RunSummary:
    listed = _listed(store, run)
    stamp = digest_of(repr([(i.key, i.size, i.modified_s) for i in listed.values()]).encode())
    kept = file.kept(run, "summary", stamp) if file is not None else None
    if file is not None and kept is not None:
        return _unpacked(file, run, kept)
    found, _ = _refreshed(store, run, file)
    infos = [item for item in found if isinstance(item, CheckpointInfo)]
    made = summary_of(infos, [str(c.error) for c in found if isinstance(c, DamagedCommit)])
    # What cannot be read is asked of the store each time: it may have been put right.
    if file is not None and not made.damaged and [i.seq for i in infos] == list(listed):
        file.keep(run, "summary", stamp, _packed(made))
    return made


def _packed(made: RunSummary) -> bytes:
    extremes = [
        {name: [found.value, found.step] for name, found in side.items()}
        for side in (made.lowest, made.highest)
    ]
    return packed([made.n_checkpoints, made.latest.seq if made.latest else None, *extremes])


def _unpacked(file: CatalogFile, run: str, kept: bytes) -> RunSummary:
    count, seq, *extremes = json.loads(kept)
    latest = None
    if seq is not None:
        [latest] = infos_of_rows([file.row(run, seq)], _reader(file))
    lowest, highest = (
        {name: Extreme(value, step) for name, (value, step) in side.items()} for side in extremes
    )
    return RunSummary(count, latest, lowest, highest)


def _refreshed(store: ObjectStore, run: str, file: CatalogFile | None) -> tuple[list[Found], int]:
    """Return what a run's commits say, and how many were listed; keep what was not known yet."""
    listed = _listed(store, run)
    rows = {row.seq: row for row in (file.rows(run) if file is not None else [])}
    known = {seq: row for seq, row in rows.items() if _stands(row, listed.get(seq))}
    read = {seq: found for seq in listed.keys() - known if (found := _read(store, run, seq))}
    if file is not None:
        records = [found for found in read.values() if isinstance(found, CommitRecord)]
        _keep(file, run, [(r, listed[r.seq]) for r in records], rows.keys() - known)
    told: dict[int, Found] = {seq: _told(found) for seq, found in read.items()}
    if file is not None:
        infos = infos_of_rows(list(known.values()), _reader(file))
        told.update((info.seq, info) for info in infos)
    return [told[seq] for seq in sorted(told)], len(listed)


def _listed(store: ObjectStore, run: str) -> dict[int, ObjectInfo]:
    named = ((info.key.rsplit("/", 1)[-1], info) for info in store.list(RunKeys(run).commits))
    return {int(name): info for name, info in named if name.isdecimal()}


def _stands(row: Row, listed: ObjectInfo | None) -> bool:
    return listed is not None and row.stands_for(listed)


def _read(store: ObjectStore, run: str, seq: int) -> CommitRecord | DamagedCommit | None:
    try:
        return commits.read_commit(store, run, seq)
    except ChunkMissing:
        return None
    except DataError as error:
        return DamagedCommit(RunKeys(run).commit(seq), seq, error)


def _told(found: CommitRecord | DamagedCommit) -> Found:
    return info_of(found) if isinstance(found, CommitRecord) else found


def _keep(
    file: CatalogFile,
    run: str,
    records: Iterable[tuple[CommitRecord, ObjectInfo]],
    gone: Iterable[int],
) -> None:
    made = [row_of(record, info) for record, info in records]
    gone = list(gone)
    if not file.is_writable or not (made or gone):
        return
    shared = {digest: body for _, bodies in made for digest, body in bodies.items()}
    try:
        file.change(run, [row for row, _ in made], shared.items(), gone)
    except sqlite3.OperationalError as error:
        # Locked by others, or the disk is full: what was read is right all the same.
        _log.info("The catalog was not brought up to date: %s", error)


def _reader(file: CatalogFile) -> Callable[[str], Mapping[str, object]]:
    @cache
    def shared(digest: str) -> Mapping[str, object]:
        body = file.shared(digest)
        if digest_of(body) != digest:
            raise Untrusted("is damaged")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise Untrusted("is damaged")
        return value

    return shared


def _stored_bytes(store: ObjectStore, run: str, file: CatalogFile | None) -> int:
    stamp = _stamp(store, run) if file is not None else None
    known = file.kept(run, "size", stamp) if file is not None and stamp is not None else None
    if known is not None:
        return int(known)
    keys = RunKeys(run)
    size = sum(info.size for prefix in (keys.packs, keys.parts) for info in store.list(prefix))
    if file is not None and stamp is not None:
        file.keep(run, "size", stamp, str(size).encode())
    return size


def _stamp(store: ObjectStore, run: str) -> str | None:
    """Return what changes with the folders of packs and parts; None while they are changing."""
    keys = RunKeys(run)
    assert isinstance(store, LocalStore)
    times = []
    for prefix in (keys.packs, keys.parts):
        with suppress(FileNotFoundError):
            times.append(os.stat(store.path(prefix.rstrip("/"))).st_mtime_ns)
    if not times or time.time_ns() - max(times) < _SETTLED_S * 1e9:
        return None
    return " ".join(map(str, times))

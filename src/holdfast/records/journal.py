"""The journal of a run: one JSON object per line for every event.

It is for people and reports; no checkpoint depends on it. A line torn by a crash is passed over.
What is removed is written down before, so that a checkpoint which is gone without that was lost.
What has grown long is put away, compressed to a tenth or less.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.errors import ChunkMissing, HoldfastError, SealBroken
from holdfast.format.names import RunKeys
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

MAX_BYTES = 4 << 20
_A_LINE = 100


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that became durable: its step, its id and the number of its commit."""

    step: int
    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Removal:
    """A checkpoint that is about to be removed, and why."""

    step: int
    id: str
    reason: str


def record(store: ObjectStore, run: str, event: str, /, **facts: object) -> None:
    """Append an event; trouble with it is logged, never raised.

    It is of this moment, by the wall clock (``time_ns``) and by the one that cannot be set
    (``mono_s``), unless the facts say of which.
    """
    _append(store, run, _line(event, facts))


def record_removals(
    store: ObjectStore, run: str, removals: Iterable[Removal], /, **facts: object
) -> None:
    """Append, durably, that some checkpoints are about to be removed; trouble is only logged."""
    lines = (_line("pruned", {**facts, **asdict(removal)}) for removal in removals)
    _append(store, run, b"".join(lines), durable=True)


def _line(event: str, facts: Mapping[str, object]) -> bytes:
    now = {"event": event, "time_ns": time.time_ns(), "mono_s": time.monotonic()}
    # The newline first ends a line that a crash has torn.
    return b"\n" + json.dumps({**now, **facts}, separators=(",", ":")).encode() + b"\n"


def _append(store: ObjectStore, run: str, lines: bytes, *, durable: bool = False) -> None:
    try:
        store.append(RunKeys(run).events, lines, durable=durable)
    except HoldfastError as error:
        _log.warning("An event of run %r is lost: %s", run, error)


def events(store: ObjectStore, run: str) -> list[dict[str, Any]]:
    """Return the events of a run, oldest first."""
    return [event for data in _pieces(store, run) for event in _parsed(data)]


def saved_and_kept(store: ObjectStore, run: str, ids: Collection[str]) -> list[Saved]:
    """Return which of some checkpoints were saved here and, as far as is written down, not removed.

    Args:
        store: Where the run is.
        run: Its name.
        ids: The checkpoints; few, of many.
    """
    kept: dict[str, Saved] = {}
    for event in _parsed(_lines_with(store, run, *(id_.encode() for id_ in ids))):
        name, step, id_, seq = (event.get(member) for member in ("event", "step", "id", "seq"))
        if not isinstance(id_, str) or id_ not in ids:
            continue
        if name == "pruned":
            kept.pop(id_, None)
        elif name == "saved" and type(step) is type(seq) is int and "tier" not in event:
            # What was saved into another tier is committed here later, or never.
            kept[id_] = Saved(step, id_, seq)
    return list(kept.values())


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What was removed of a run by retention and by hand: checkpoints, and bytes of storage."""

    n_checkpoints: int
    nbytes: int


def given_back(store: ObjectStore, run: str) -> GivenBack:
    """Return what was removed of a run so far, as far as its journal goes."""
    parsed = _parsed(_lines_with(store, run, b'"freed"'))
    freed = [event for event in parsed if event.get("event") == "freed"]
    return GivenBack(_total(freed, "checkpoints"), _total(freed, "bytes"))


def kept_by(store: ObjectStore, run: str) -> tuple[str, ...]:
    """Return the retention that the newest process of a run was given, as texts; () for none."""
    started = _parsed(_lines_with(store, run, b'"started"'))
    keeps = [event.get("keep") for event in started if event.get("event") == "started"]
    newest = keeps[-1] if keeps else None
    return tuple(str(text) for text in newest) if isinstance(newest, list) else ()


def _total(events: Iterable[Mapping[str, Any]], name: str) -> int:
    counts = (event.get(name) for event in events)
    return sum(count for count in counts if type(count) is int)


def shorten(store: ObjectStore, run: str) -> None:
    """Put a journal that has grown long away, compressed; trouble with it is logged, never raised.

    Only to be called by who holds the run's lock.
    """
    try:
        while len(data := _current(store, run)) >= MAX_BYTES:
            numbers = _numbers(store, run)
            last = _unpacked(store, run, numbers[-1]) if numbers else b""
            # It is still there where a crash came between the two writes below.
            piece = last if last and data.startswith(last) else _first_piece(data)
            if piece is not last:
                number = numbers[-1] + 1 if numbers else 1
                if not store.put_new(RunKeys(run).old_events(number), zlib.compress(piece)):
                    return  # Somebody does the same, without the lock: it is left to them.
            store.put(RunKeys(run).events, _current(store, run)[len(piece) :])
    except HoldfastError as error:
        _log.warning("The journal of run %r stays long: %s", run, error)


def _first_piece(data: bytes) -> bytes:
    """Return whole lines of a journal, as many as are read back of one piece."""
    if len(data) <= 2 * MAX_BYTES:
        return data
    return data[: data.find(b"\n", MAX_BYTES) + 1 or len(data)]


def _pieces(store: ObjectStore, run: str) -> list[bytes]:
    """Return all of a journal, oldest first, nothing of it twice."""
    # First what changes: what is put away meanwhile is found there afterwards, as at a crash.
    newest = _current(store, run)
    put_away = [_unpacked(store, run, number) for number in _numbers(store, run)]
    return [*put_away, newest[_put_away_bytes(newest, put_away) :]]


def _put_away_bytes(data: bytes, pieces: Sequence[bytes]) -> int:
    """Return how many bytes a journal begins with that are the last of the pieces put away."""
    done = 0
    for piece in pieces:
        # One that does not follow those before it belongs to an earlier journal, and so do they.
        begin = done if _goes_on_with(data, done, piece) else 0
        is_of_it = bool(piece) and _goes_on_with(data, begin, piece)
        done = min(begin + len(piece), len(data)) if is_of_it else 0
    return done


def _goes_on_with(data: bytes, begin: int, piece: bytes) -> bool:
    """Say whether a piece comes next in a journal; it may have grown since the journal was read."""
    if data.startswith(piece, begin):
        return True
    # Most differ within a line, and none is copied for that.
    return piece.startswith(data[begin : begin + _A_LINE]) and piece.startswith(data[begin:])


def _current(store: ObjectStore, run: str) -> bytes:
    try:
        return store.get(RunKeys(run).events)
    except (ChunkMissing, SealBroken):
        return b""


def _numbers(store: ObjectStore, run: str) -> list[int]:
    names = (info.key.rsplit("/", 1)[-1] for info in store.list(RunKeys(run).old_events_prefix))
    return sorted(int(name) for name in names if name.isdecimal())


def _unpacked(store: ObjectStore, run: str, number: int) -> bytes:
    try:
        # No more than a journal grows to: a few bytes can swell to gigabytes.
        return zlib.decompressobj().decompress(
            store.get(RunKeys(run).old_events(number)), 4 * MAX_BYTES
        )
    except (ChunkMissing, SealBroken, zlib.error) as error:
        _log.warning("Events of run %r from long ago cannot be read: %s", run, error)
        return b""


def _lines_with(store: ObjectStore, run: str, *words: bytes) -> bytes:
    """Return the lines of a journal that have one of some words; few do, and only those count."""
    lines = (line for data in _pieces(store, run) for line in data.splitlines())
    return b"\n".join(line for line in lines if any(word in line for word in words))


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event

"""Notes: what people write on a run or a checkpoint, as texts and as values by name.

Notes are numbered and never change: a later one takes a value back or sets it anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.errors import ChunkMissing, DataError, ManifestDamaged, StoreUnavailable
from holdfast.format import envelope
from holdfast.format.names import RunKeys, is_id
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

PAYLOAD_TYPE = "application/vnd.holdfast.note+json"
Value = str | int | float | bool
_ATTEMPTS = 1000


@dataclass(frozen=True, slots=True)
class Note:
    """One note.

    Attributes:
        checkpoint_id: The checkpoint that it is on; None where it is on the run.
        text: What it says, or None.
        values: What it sets, by name; None takes a value back.
        created_ns: When it was written, in nanoseconds since the epoch.
    """

    checkpoint_id: str | None
    text: str | None = None
    values: Mapping[str, Value | None] = field(default_factory=dict)
    created_ns: int = 0


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the notes on one checkpoint, or on a run, say together: texts in order, last values."""

    texts: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)


def add(store: ObjectStore, run: str, note: Note) -> None:
    """Write a note under the next free number.

    Raises:
        StoreUnavailable: Others take every number first.
    """
    payload = {
        "run": run,
        "id": note.checkpoint_id,
        "text": note.text,
        "values": dict(note.values),
        "created_ns": note.created_ns or time.time_ns(),
    }
    number = _last_number(store, run) + 1
    for seq in range(number, number + _ATTEMPTS):
        data = envelope.wrap(PAYLOAD_TYPE, {**payload, "seq": seq})
        if store.put_new(RunKeys(run).note(seq), data):
            return
    raise StoreUnavailable(
        f"{_ATTEMPTS} numbers for a note on run {run!r} were all taken by others. It was not "
        "written; try again.",
        run=run,
    )


def of_run(store: ObjectStore, run: str) -> dict[str | None, Annotations]:
    """Return what the notes say of each checkpoint, by its id; of the run under None."""
    found: dict[str | None, Annotations] = {}
    for note in _readable(store, run):
        before = found.get(note.checkpoint_id, Annotations())
        texts = before.texts if note.text is None else (*before.texts, note.text)
        changed = {**before.values, **note.values}
        values = {name: value for name, value in changed.items() if value is not None}
        found[note.checkpoint_id] = Annotations(texts, values)
    return found


def problems(store: ObjectStore, run: str) -> list[str]:
    """Return what is wrong with the notes of a run, in words."""
    return [str(found) for found in all_notes(store, run) if isinstance(found, DataError)]


def damaged(store: ObjectStore, run: str) -> list[tuple[int, DataError]]:
    """Return the numbers of the notes of a run that cannot be read, and why not."""
    found = ((seq, _read(store, run, seq)) for seq in _numbers(store, run))
    return [(seq, note) for seq, note in found if isinstance(note, DataError)]


def is_good(store: ObjectStore, run: str, seq: int) -> bool:
    """Say whether a note is there and can be read."""
    return isinstance(_read(store, run, seq), Note)


def _readable(store: ObjectStore, run: str) -> Iterator[Note]:
    for found in all_notes(store, run):
        if isinstance(found, Note):
            yield found
        else:
            _log.warning("%s", found)


def all_notes(store: ObjectStore, run: str) -> Iterator[Note | DataError]:
    """Yield the notes of a run in order; for those that cannot be read, why not."""
    for seq in _numbers(store, run):
        found = _read(store, run, seq)
        if found is not None:
            yield found


def _read(store: ObjectStore, run: str, seq: int) -> Note | DataError | None:
    """Return a note; why it cannot be read; or None where it is not there."""
    what = f"the note {seq} of run {run!r}"
    try:
        payload = envelope.unwrap(store.get(RunKeys(run).note(seq)), PAYLOAD_TYPE, what=what)
        return _decode(payload, run, seq, what)
    except ChunkMissing:
        return None
    except DataError as error:
        return error


def _decode(payload: Mapping[str, object], run: str, seq: int, what: str) -> Note:
    name, text, values = payload.get("id"), payload.get("text"), payload.get("values")
    created_ns = payload.get("created_ns")
    if (
        (payload.get("run"), payload.get("seq")) != (run, seq)
        or not (name is None or is_id(name))
        or not isinstance(text, str | None)
        or not isinstance(values, dict)
        or not all(isinstance(value, Value | None) for value in values.values())
        or not isinstance(created_ns, int)
    ):
        raise ManifestDamaged(f"{what} is malformed. It is passed over.", record=what)
    return Note(None if name is None else str(name), text, values, created_ns)


def _numbers(store: ObjectStore, run: str) -> list[int]:
    names = (info.key.rsplit("/", 1)[-1] for info in store.list(RunKeys(run).notes))
    return sorted(int(name) for name in names if name.isdecimal())


def _last_number(store: ObjectStore, run: str) -> int:
    return max(_numbers(store, run), default=0)

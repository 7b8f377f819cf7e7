"""A run's metrics as they lie in a store: numbered segments, the last of them still a live file.

A live file, ``SEQ.jsonl``, is appended to; it becomes the segment ``SEQ``, and goes. Where both
are there, the live file is of no consequence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.errors import ChunkMissing, DataError
from holdfast.format import metric_columns
from holdfast.format.metric_columns import MetricColumns
from holdfast.format.names import LIVE, RunKeys
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment or live file: its number, whether it is live, and its bytes."""

    number: int
    is_live: bool
    size: int


def key_of(run: str, number: int, *, is_live: bool) -> str:
    """Return the key of a segment, or of the live file that becomes it."""
    return f"{RunKeys(run).metrics}{number:012d}{LIVE if is_live else ''}"


def listed(store: ObjectStore, run: str) -> list[Segment]:
    """Return what there is, by number; live files that became segments are left out."""
    found: dict[int, Segment] = {}
    for info in store.list(RunKeys(run).metrics):
        name = info.key.rsplit("/", 1)[-1]
        number, is_live = name.removesuffix(LIVE), name.endswith(LIVE)
        if number.isdecimal() and not (is_live and int(number) in found):
            found[int(number)] = Segment(int(number), is_live, info.size)
    return [found[number] for number in sorted(found)]


def read(store: ObjectStore, run: str, segment: Segment) -> MetricColumns:
    """Return the columns of a segment, none where it cannot be read, which is told."""
    what = f"the segment {segment.number} of the metrics of run {run!r}"
    try:
        if segment.is_live:
            try:
                data = store.get(key_of(run, segment.number, is_live=True))
                return metric_columns.from_lines(data.splitlines())
            except ChunkMissing:
                pass  # It became a segment meanwhile.
        data = store.get(key_of(run, segment.number, is_live=False))
        return metric_columns.decode(data, what=what)
    except ChunkMissing:
        return MetricColumns()  # It went into a later one, which is read after it.
    except DataError as error:
        _log.warning("%s", error)
        return MetricColumns()


def damaged(store: ObjectStore, run: str) -> list[tuple[Segment, DataError]]:
    """Return the segments that cannot be read, and why not.

    Lines of a live file that are torn are passed over, so that only one that is sealed can be so.
    """
    found = ((segment, _trouble(store, run, segment)) for segment in listed(store, run))
    return [(segment, error) for segment, error in found if error is not None]


def is_good(store: ObjectStore, run: str, segment: Segment) -> bool:
    """Say whether a segment, or live file, is there and can be read."""
    key = key_of(run, segment.number, is_live=segment.is_live)
    return store.exists(key) and _trouble(store, run, segment) is None


def problems(store: ObjectStore, run: str) -> list[str]:
    """Return what is wrong with the metrics of a run, in words."""
    return [str(error) for _, error in damaged(store, run)]


def _trouble(store: ObjectStore, run: str, segment: Segment) -> DataError | None:
    what = f"the segment {segment.number} of the metrics of run {run!r}"
    try:
        data = store.get(key_of(run, segment.number, is_live=segment.is_live))
        if not segment.is_live:
            metric_columns.decode(data, what=what)
    except ChunkMissing:
        return None  # It was put into another meanwhile.
    except DataError as error:
        return error
    return None


def append(store: ObjectStore, run: str, number: int, lines: bytes) -> None:
    """Add lines, each with its end, to a live file."""
    # The newline first ends a line that a crash has torn.
    store.append(key_of(run, number, is_live=True), b"\n" + lines)


def seal(store: ObjectStore, run: str, number: int) -> None:
    """Let a live file become a segment."""
    live = key_of(run, number, is_live=True)
    try:
        columns = metric_columns.from_lines(store.get(live).splitlines())
    except ChunkMissing:
        return
    if len(columns.steps):
        store.put_new(key_of(run, number, is_live=False), metric_columns.encode(columns))
    store.delete([live])


def merge(store: ObjectStore, run: str, segments: Sequence[Segment]) -> None:
    """Put segments that follow one another into the last of them.

    A reader that comes in between finds rows twice, which changes nothing: of the same step the
    later row counts.
    """
    parts = [_readable(store, run, segment) for segment in segments]
    if any(part is None for part in parts):
        return  # What cannot be read now is not thrown away.
    whole = metric_columns.joined([part for part in parts if part is not None])
    store.put(key_of(run, segments[-1].number, is_live=False), metric_columns.encode(whole))
    store.delete([key_of(run, s.number, is_live=False) for s in segments[:-1]])


def _readable(store: ObjectStore, run: str, segment: Segment) -> MetricColumns | None:
    try:
        data = store.get(key_of(run, segment.number, is_live=False))
        return metric_columns.decode(data, what="a segment of metrics")
    except DataError:
        return None

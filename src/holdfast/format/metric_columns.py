"""Metrics of many steps as columns, and their bytes: a segment of a run's metrics.

Rows are in the order of logging. A *beginning* says that the rows from there on are of another
process, or of the same one after a restore, and up to which step what came before still counts.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from holdfast.errors import ManifestDamaged, StoreTooNew
from holdfast.format.digests import CHECK_BYTES, check

FORMAT = 1
MAGIC = b"holdfast metrics"
_LENGTH = struct.Struct("<I")
_LEVEL = 6
_TOO_LARGE = 2**63

_T = TypeVar("_T", np.int64, np.float64)
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where in the rows training began anew; steps above ``after_step`` before it do not count."""

    row: int
    incarnation: str
    after_step: int


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: the rows that have it, and its values there."""

    rows: Ints
    values: Floats


def _no_ints() -> Ints:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """Rows of metrics by column: step, time in nanoseconds since the epoch, series by name."""

    steps: Ints = field(default_factory=_no_ints)
    times_ns: Ints = field(default_factory=_no_ints)
    beginnings: tuple[Beginning, ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)


def from_lines(lines: Iterable[bytes]) -> MetricColumns:
    """Return the columns of a live file's lines; those that are torn are passed over."""
    steps: list[int] = []
    times: list[int] = []
    beginnings: list[Beginning] = []
    series: dict[str, tuple[list[int], list[float]]] = {}
    for item in _parsed([line for line in lines if line]):
        if _is_beginning(item):
            beginnings.append(Beginning(len(steps), item[1], item[2]))
        elif _is_row(item):
            for name, value in item[2].items():
                rows, numbers = series.setdefault(name, ([], []))
                rows.append(len(steps))
                numbers.append(value)
            steps.append(item[0])
            times.append(item[1])
    return MetricColumns(
        np.array(steps, np.int64),
        np.array(times, np.int64),
        tuple(beginnings),
        {
            name: Series(np.array(rows, np.int64), np.array(values, np.float64))
            for name, (rows, values) in series.items()
        },
    )


def row_line(step: int, time_ns: int, values: Mapping[str, float]) -> bytes:
    """Return the line of a row, without its end."""
    return json.dumps([step, time_ns, values], separators=(",", ":")).encode()


def beginning_line(incarnation: str, after_step: int) -> bytes:
    """Return the line of a beginning, without its end."""
    return json.dumps(["begin", incarnation, after_step], separators=(",", ":")).encode()


def joined(parts: Sequence[MetricColumns]) -> MetricColumns:
    """Return columns that have the rows of all parts, in order."""
    offsets = np.cumsum([0, *(len(part.steps) for part in parts)])
    beginnings = tuple(
        Beginning(b.row + int(offset), b.incarnation, b.after_step)
        for part, offset in zip(parts, offsets, strict=False)
        for b in part.beginnings
    )
    pieces: dict[str, list[tuple[Ints, Floats]]] = {}
    for part, offset in zip(parts, offsets, strict=False):
        for name, series in part.series.items():
            pieces.setdefault(name, []).append((series.rows + offset, series.values))
    return MetricColumns(
        np.concatenate([_no_ints(), *(part.steps for part in parts)]),
        np.concatenate([_no_ints(), *(part.times_ns for part in parts)]),
        beginnings,
        {
            name: Series(np.concatenate([r for r, _ in of]), np.concatenate([v for _, v in of]))
            for name, of in pieces.items()
        },
    )


def encode(columns: MetricColumns) -> bytes:
    """Return the bytes of a segment."""
    names = list(columns.series)
    blocks = [
        _packed(np.diff(columns.steps, prepend=0)),
        _packed(np.diff(columns.times_ns, prepend=0)),
    ]
    for series in columns.series.values():
        blocks += [_packed(np.diff(series.rows, prepend=0)), _packed(series.values)]
    header = {
        "format": FORMAT,
        "rows": len(columns.steps),
        "beginnings": [[b.row, b.incarnation, b.after_step] for b in columns.beginnings],
        "series": [[name, len(columns.series[name].rows)] for name in names],
        "blocks": [len(block) for block in blocks],
    }
    head = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([_LENGTH.pack(len(head)), head, *blocks])
    return MAGIC + check(body) + body


def decode(data: bytes, *, what: str) -> MetricColumns:
    """Return the columns of a segment.

    Raises:
        ManifestDamaged: The bytes are not what was written.
        StoreTooNew: A newer version of holdfast wrote them.
    """
    begin = len(MAGIC) + CHECK_BYTES
    body = data[begin:]
    if data[:begin] != MAGIC + check(body):
        raise _damaged(what)
    try:
        at = _LENGTH.size + _LENGTH.unpack_from(body)[0]
        header = json.loads(body[_LENGTH.size : at])
        if header["format"] != FORMAT:
            raise StoreTooNew(
                f"{what} has format {header['format']}; this version of holdfast reads {FORMAT}. "
                "Nothing is wrong with it: upgrade holdfast.",
                found=header["format"],
                supported=FORMAT,
            )
        return _decoded(header, body, at)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error) as error:
        raise _damaged(what) from error


# Any: JSON, whose faults the caller turns into damage.
def _decoded(header: Any, body: bytes, at: int) -> MetricColumns:
    blocks = []
    for length in header["blocks"]:
        blocks.append(body[at : at + length])
        at += length
    n_rows = header["rows"]
    steps, times = (np.cumsum(_unpacked(block, n_rows, np.int64)) for block in blocks[:2])
    series = {}
    for place, (name, count) in enumerate(header["series"]):
        rows = np.cumsum(_unpacked(blocks[2 + 2 * place], count, np.int64))
        if count and not 0 <= rows.min() <= rows.max() < n_rows:
            raise ValueError("a row that is not there")
        series[str(name)] = Series(rows, _unpacked(blocks[3 + 2 * place], count, np.float64))
    beginnings = tuple(Beginning(int(r), str(i), int(a)) for r, i, a in header["beginnings"])
    return MetricColumns(steps, times, beginnings, series)


def _packed(column: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> bytes:
    # Byte by byte: what hardly changes from row to row comes together, and shrinks to little.
    planes = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("<"))).view(np.uint8)
    return zlib.compress(planes.reshape(-1, 8).T.tobytes(), _LEVEL)


def _unpacked(data: bytes, count: int, dtype: type[_T]) -> npt.NDArray[_T]:
    unpacker = zlib.decompressobj()
    # No more than it says: a few bytes can swell to gigabytes.
    planes = unpacker.decompress(data, count * 8 or 1)
    if len(planes) != count * 8 or not (unpacker.eof or count == 0):
        raise ValueError("a column of another length")
    rows = np.frombuffer(planes, np.uint8).reshape(8, count).T
    little = np.ascontiguousarray(rows).view(np.dtype(dtype).newbyteorder("<"))
    return little.reshape(count).astype(dtype)


def _parsed(lines: Sequence[bytes]) -> list[Any]:
    try:
        return list(json.loads(b"[" + b",".join(lines) + b"]"))
    except (ValueError, RecursionError):
        # A crash has torn one; together they are only quicker to read.
        return [item for line in lines for item in _parsed_line(line)]


def _parsed_line(line: bytes) -> list[Any]:
    try:
        return [json.loads(line)]
    except (ValueError, RecursionError):
        return []


def _is_beginning(item: Any) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 3
        and item[0] == "begin"
        and isinstance(item[1], str)
        and type(item[2]) is int
        and abs(item[2]) < _TOO_LARGE
    )


def _is_row(item: Any) -> bool:
    return (
        isinstance(item, list)
        and [type(value) for value in item] == [int, int, dict]
        and max(abs(item[0]), abs(item[1])) < _TOO_LARGE
        and all(type(value) in (int, float) for value in item[2].values())
        and all(abs(value) < _TOO_LARGE for value in item[2].values() if type(value) is int)
    )


def _damaged(what: str) -> ManifestDamaged:
    return ManifestDamaged(
        f"{what} is damaged; its rows are passed over. No checkpoint depends on it.", record=what
    )

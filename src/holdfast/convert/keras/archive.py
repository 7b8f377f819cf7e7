"""A ``.keras`` archive: a zip of the configuration and a weights file, stored, not compressed.

Every offset is known before a byte is written; headers come last, for they hold the checksums.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.convert.checksums import combine
from holdfast.convert.contract import FilePlan, Piece, Placement

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_UTF8, _DATE, _VERSION = 0x800, 0x21, 45
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Array:
    """Bytes of an array of the checkpoint, by its row."""

    row: int
    nbytes: int


Segment = bytes | Array


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive: what its bytes are, one segment behind the other."""

    name: str
    segments: Sequence[Segment]

    @property
    def nbytes(self) -> int:
        """Bytes of the member."""
        return sum(_length(segment) for segment in self.segments)


def _length(segment: Segment) -> int:
    return len(segment) if isinstance(segment, bytes) else segment.nbytes


def segments_of(plan: FilePlan, nbytes_of_row: Sequence[int]) -> list[Segment]:
    """Return a planned file without late pieces as segments; between them are zeros."""
    placed: list[tuple[int, Segment]] = list(plan.pieces)
    placed += [(p.offset, Array(p.row, nbytes_of_row[p.row])) for p in plan.arrays]
    segments: list[Segment] = []
    at = 0
    for offset, segment in sorted(placed, key=lambda item: item[0]):
        if offset > at:
            segments.append(bytes(offset - at))
        segments.append(segment)
        at = offset + _length(segment)
    if plan.nbytes > at:
        segments.append(bytes(plan.nbytes - at))
    return segments


def plan_archive(members: Sequence[Member]) -> FilePlan:
    """Return the archive of members as one planned file."""
    headers, pieces, placements, at = [], [], [], 0
    for member in members:
        headers.append(at)
        at += len(_local(member, 0))
        for segment in member.segments:
            if isinstance(segment, bytes):
                pieces.append((at, segment))
            elif segment.nbytes:
                placements.append(Placement(segment.row, at))
            at += _length(segment)
    directory = at

    def late(sums: Sequence[int]) -> Sequence[Piece]:
        left = iter(sums)
        values = []
        for member in members:
            value = 0
            for segment in member.segments:
                if n := _length(segment):
                    one = zlib.crc32(segment) if isinstance(segment, bytes) else next(left)
                    value = combine("crc32", value, one, n)
            values.append(value)
        found = [(at, _local(m, v)) for at, m, v in zip(headers, members, values, strict=True)]
        return [*found, (directory, _directory(members, values, headers, directory))]

    size = directory + len(_directory(members, [0] * len(members), headers, directory))
    return FilePlan("", size, pieces, placements, "crc32", late)


def _local(member: Member, value: int) -> bytes:
    name, size = member.name.encode(), member.nbytes
    # Always with the large sizes: one form for all.
    extra = struct.pack("<2H2Q", 1, 16, size, size)
    fixed = (_VERSION, _UTF8, 0, 0, _DATE, value, _MAX32, _MAX32, len(name), len(extra))
    return _LOCAL.pack(b"PK\3\4", *fixed) + name + extra


def _directory(
    members: Sequence[Member], values: Sequence[int], headers: Sequence[int], begin: int
) -> bytes:
    out = b""
    for member, value, header in zip(members, values, headers, strict=True):
        name, size = member.name.encode(), member.nbytes
        extra = struct.pack("<2H3Q", 1, 24, size, size, header)
        fixed = (_VERSION, _VERSION, _UTF8, 0, 0, _DATE, value, _MAX32, _MAX32)
        lengths = (len(name), len(extra), 0, 0, 0, 0, _MAX32)
        out += _CENTRAL.pack(b"PK\1\2", *fixed, *lengths) + name + extra
    n, size = len(members), len(out)
    out += _END64.pack(b"PK\6\6", 44, _VERSION, _VERSION, 0, 0, n, n, size, begin)
    out += _LOCATOR64.pack(b"PK\6\7", 0, begin + size, 1)
    return out + _END.pack(b"PK\5\6", 0, 0, min(n, _MAX16), min(n, _MAX16), _MAX32, _MAX32, 0)

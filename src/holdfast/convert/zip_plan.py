"""Zip archives laid out before a byte of them is written: members stored, aligned, streamed later.

Members are not compressed, so that every offset is known beforehand and arrays are written there by
several threads at a time. What needs the checksums of arrays, headers and the directory, comes
after them. Sizes and offsets past 4 GiB are written as zip64 has them (APPNOTE 6.3.10, 4.5.3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.convert.checksums import combine
from holdfast.convert.contract import Piece, Placement

ALIGNMENT = 64
# What is large begins at a whole page: it is written and mapped as it lies in memory.
_PAGE, _LARGE_BYTES = 4096, 1 << 20

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_LEAST_VERSION, _VERSION_64 = 20, 45
_UTF8 = 0x0800
# The first day that the format can say; an export does not depend on when it is made.
_DATE = 0x0021
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_ID = 1
# What PyTorch pads with, too; readers skip fields that they do not know.
_PADDING_ID = int.from_bytes(b"FB", "little")
MAX_NAME_BYTES = 0xF000


@dataclass(frozen=True, slots=True)
class Array:
    """Bytes of an array of the checkpoint, by its row."""

    row: int
    nbytes: int


Segment = bytes | Array


@dataclass(frozen=True, slots=True)
class Member:
    """A member: what its bytes are, one segment behind the other.

    Attributes:
        name: Its name.
        segments: Bytes that are known, and arrays.
        field: An extra field of its entry in the directory, with its header.
    """

    name: str
    segments: Sequence[Segment]
    field: bytes = b""

    @property
    def nbytes(self) -> int:
        """Bytes of the member."""
        return sum(map(length_of, self.segments))


def length_of(segment: Segment) -> int:
    """Return how many bytes a segment has."""
    return len(segment) if isinstance(segment, bytes) else segment.nbytes


@dataclass(frozen=True, slots=True)
class _Place:
    member: Member
    name: bytes
    # Of its header in the archive; and of its bytes.
    header: int
    begin: int
    padding: int


@dataclass(frozen=True, slots=True)
class ZipPlan:
    """An archive: where its arrays go, its size, and all else once their checksums are known.

    Attributes:
        base: Where in the file the archive begins.
        nbytes: Bytes of the archive.
        arrays: Where in the file arrays go; those without elements are not among them.
    """

    base: int
    nbytes: int
    arrays: Sequence[Placement]
    _places: Sequence[_Place]
    _directory: int

    def pieces(self, sums: Sequence[int]) -> Iterator[Piece]:
        """Yield what is no array, from the CRC-32 of ``arrays``, with offsets in the file."""
        left = iter(sums)
        entries = []
        for place in self._places:
            value, at = 0, place.begin
            for segment in place.member.segments:
                nbytes = length_of(segment)
                if nbytes:
                    one = zlib.crc32(segment) if isinstance(segment, bytes) else next(left)
                    value = combine("crc32", value, one, nbytes)
                if nbytes and isinstance(segment, bytes):
                    yield self.base + at, segment
                at += nbytes
            yield self.base + place.header, _local_header(place, value)
            entries.append(_entry(place, value))
        entries.append(_end(len(entries), self._directory, sum(map(len, entries))))
        yield self.base + self._directory, b"".join(entries)


def plan_zip(members: Sequence[Member], base: int = 0) -> ZipPlan:
    """Return where everything of an archive goes; the bytes of each member begin aligned.

    Args:
        members: What is in it, in this order.
        base: Where in the file it begins.
    """
    places, arrays, at = [], [], 0
    for member in members:
        name = member.name.encode()
        fixed = _LOCAL.size + len(name) + (20 if _is_large(member) else 0)
        alignment = _PAGE if member.nbytes >= _LARGE_BYTES else ALIGNMENT
        padding = -(base + at + fixed) % alignment
        # A field has at least its own header.
        padding += alignment if 0 < padding < 4 else 0
        place = _Place(member, name, at, at + fixed + padding, padding)
        places.append(place)
        at = place.begin
        for segment in member.segments:
            if isinstance(segment, Array) and segment.nbytes:
                arrays.append(Placement(segment.row, base + at))
            at += length_of(segment)
    directory_bytes = sum(len(_entry(place, 0)) for place in places)
    nbytes = at + directory_bytes + len(_end(len(places), at, directory_bytes))
    return ZipPlan(base, nbytes, arrays, places, at)


def _is_large(member: Member) -> bool:
    return member.nbytes >= _MAX_32


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _local_header(place: _Place, value: int) -> bytes:
    nbytes, is_large = place.member.nbytes, _is_large(place.member)
    extra = _field(_ZIP64_ID, struct.pack("<2Q", nbytes, nbytes)) if is_large else b""
    if place.padding:
        extra += _field(_PADDING_ID, bytes(place.padding - 4))
    shown = _MAX_32 if is_large else nbytes
    version = _VERSION_64 if is_large else _LEAST_VERSION
    fixed = _LOCAL.pack(
        b"PK\x03\x04",
        version,
        _flags(place.name),
        0,
        0,
        _DATE,
        value,
        shown,
        shown,
        len(place.name),
        len(extra),
    )
    return fixed + place.name + extra


def _entry(place: _Place, value: int) -> bytes:
    """Return a member's entry in the directory."""
    nbytes = place.member.nbytes
    large = [nbytes, nbytes] if _is_large(place.member) else []
    large += [place.header] if place.header >= _MAX_32 else []
    extra = _field(_ZIP64_ID, struct.pack(f"<{len(large)}Q", *large)) if large else b""
    extra += place.member.field
    shown = _MAX_32 if _is_large(place.member) else nbytes
    version = _VERSION_64 if large else _LEAST_VERSION
    fixed = _CENTRAL.pack(
        b"PK\x01\x02",
        version,
        version,
        _flags(place.name),
        0,
        0,
        _DATE,
        value,
        shown,
        shown,
        len(place.name),
        len(extra),
        0,
        0,
        0,
        0,
        min(place.header, _MAX_32),
    )
    return fixed + place.name + extra


def _end(count: int, directory: int, directory_bytes: int) -> bytes:
    small = _END.pack(
        b"PK\x05\x06",
        0,
        0,
        min(count, _MAX_16),
        min(count, _MAX_16),
        min(directory_bytes, _MAX_32),
        min(directory, _MAX_32),
        0,
    )
    if count < _MAX_16 and max(directory_bytes, directory) < _MAX_32:
        return small
    version = _VERSION_64
    record = (44, version, version, 0, 0, count, count, directory_bytes, directory)
    place = directory + directory_bytes
    return (
        _END_64.pack(b"PK\x06\x06", *record) + _LOCATOR_64.pack(b"PK\x06\x07", 0, place, 1) + small
    )


def _field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def extra_field(kind: int, data: bytes) -> bytes:
    """Return an extra field with its header."""
    return _field(kind, data)

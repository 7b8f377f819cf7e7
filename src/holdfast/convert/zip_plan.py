"""Zip archives laid out before a byte of them is written: members stored, aligned, streamed later.

Members are not compressed, so that every offset is known beforehand and arrays are written there by
several threads at a time. What needs the checksums of arrays, headers and the directory, comes
after them. Sizes and offsets past 4 GiB are written as zip64 has them (APPNOTE 6.3.10, 4.5.3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.convert.contract import FilePlan, Piece, Placement
from holdfast.convert.naming import is_utf8
from holdfast.errors import CannotConvert
from holdfast.foreign.checksums import combined

ALIGNMENT = 64
# What is large begins at a whole page: it is written and mapped as it lies in memory.
_PAGE, _LARGE_BYTES = 4096, 1 << 20

# What the header of a member and its entry in the directory have in common.
_COMMON = struct.Struct("<5H3I2H")
_LOCAL_BYTES = 4 + _COMMON.size
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
_MAX_NAME_BYTES = 0xF000


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

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """Yield the segments that have any bytes, with where in the archive each begins."""
        at = self.begin
        for segment in self.member.segments:
            if length_of(segment):
                yield at, segment
            at += length_of(segment)


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
            for at, segment in place.segments():
                if isinstance(segment, bytes):
                    yield self.base + at, segment
            value = combined("crc32", _sums(place, left))
            yield self.base + place.header, _local_header(place, value)
            entries.append(_entry(place, value))
        entries.append(_end(len(entries), self._directory, sum(map(len, entries))))
        yield self.base + self._directory, b"".join(entries)

    def as_file(self, notes: Sequence[str] = ()) -> FilePlan:
        """Return the archive as a planned file of its own, with notes for users."""
        return FilePlan("", self.nbytes, (), self.arrays, "crc32", self.pieces, notes)


def _sums(place: _Place, of_arrays: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield the CRC-32 and the length of each segment of a member that has any bytes."""
    for _, segment in place.segments():
        value = zlib.crc32(segment) if isinstance(segment, bytes) else next(of_arrays)
        yield value, length_of(segment)


def require_member_names(names: Iterable[str]) -> None:
    """Raise CannotConvert where a member of an archive cannot have a name."""
    for name in names:
        if "\0" in name or not is_utf8(name) or len(name.encode()) > _MAX_NAME_BYTES:
            raise CannotConvert(
                f"{name[:80]!r} cannot be the name of a member of an archive. Nothing was "
                "written. Give it another one with --rename.",
                name=name,
            )


def plan_zip(members: Sequence[Member], base: int = 0) -> ZipPlan:
    """Return where everything of an archive goes; the bytes of each member begin aligned.

    Args:
        members: What is in it, in this order.
        base: Where in the file it begins.
    """
    places, arrays, at = [], [], 0
    for member in members:
        name = member.name.encode()
        fixed = _LOCAL_BYTES + len(name) + (20 if _is_large(member) else 0)
        alignment = _PAGE if member.nbytes >= _LARGE_BYTES else ALIGNMENT
        padding = -(base + at + fixed) % alignment
        # A field has at least its own header.
        padding += alignment if 0 < padding < 4 else 0
        place = _Place(member, name, at, at + fixed + padding, padding)
        places.append(place)
        at = place.begin + member.nbytes
        for begin, segment in place.segments():
            if isinstance(segment, Array):
                arrays.append(Placement(segment.row, base + begin))
    directory_bytes = sum(len(_entry(place, 0)) for place in places)
    nbytes = at + directory_bytes + len(_end(len(places), at, directory_bytes))
    return ZipPlan(base, nbytes, arrays, places, at)


def _is_large(member: Member) -> bool:
    return member.nbytes >= _MAX_32


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _local_header(place: _Place, value: int) -> bytes:
    nbytes, is_large = place.member.nbytes, _is_large(place.member)
    extra = extra_field(_ZIP64_ID, struct.pack("<2Q", nbytes, nbytes)) if is_large else b""
    if place.padding:
        extra += extra_field(_PADDING_ID, bytes(place.padding - 4))
    version = _VERSION_64 if is_large else _LEAST_VERSION
    return b"PK\x03\x04" + _common(place, version, value, extra) + place.name + extra


def _entry(place: _Place, value: int) -> bytes:
    """Return a member's entry in the directory."""
    nbytes = place.member.nbytes
    large = [nbytes, nbytes] if _is_large(place.member) else []
    large += [place.header] if place.header >= _MAX_32 else []
    extra = extra_field(_ZIP64_ID, struct.pack(f"<{len(large)}Q", *large)) if large else b""
    extra += place.member.field
    version = _VERSION_64 if large else _LEAST_VERSION
    made_by = b"PK\x01\x02" + struct.pack("<H", version)
    # No comment, the first disk, no attributes.
    header = struct.pack("<3H2I", 0, 0, 0, 0, min(place.header, _MAX_32))
    return made_by + _common(place, version, value, extra) + header + place.name + extra


def _common(place: _Place, version: int, value: int, extra: bytes) -> bytes:
    shown = min(place.member.nbytes, _MAX_32)
    flags, stored, time = _flags(place.name), 0, 0
    lengths = len(place.name), len(extra)
    return _COMMON.pack(version, flags, stored, time, _DATE, value, shown, shown, *lengths)


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


def extra_field(kind: int, data: bytes) -> bytes:
    """Return an extra field with its header."""
    return struct.pack("<2H", kind, len(data)) + data

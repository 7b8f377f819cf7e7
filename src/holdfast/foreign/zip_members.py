"""The members of a zip archive, each as a stretch of the file, found to be where all readers look.

Two readers of one archive must not see two things. So an archive begins where the file begins; its
members do not overlap, have one name each, and have it in both places.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from holdfast.foreign.session import Session
from holdfast.foreign.sources import DEFLATE, FileRange, Packed

Member = FileRange | Packed

_LOCAL_BYTES = 30
_ENCRYPTED = 1


def zip_members(session: Session, archive: FileRange) -> dict[str, Member]:
    """Return the members of the archive that a stretch of a file is, by name.

    Raises:
        ForeignDamaged: It is no whole archive, or one that can be read in two ways.
        ForeignRefused: A member is encrypted, or packed in an unusual way or too densely.
    """
    with archive.open() as file:
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise session.damaged(f"it is no whole zip archive ({error}).") from error
        found: dict[str, Member] = {}
        ranges: list[tuple[int, int]] = []
        for entry in entries:
            if entry.orig_filename in found:
                raise session.damaged(f"two members are called {entry.filename!r}.")
            begin, end = _stretch(session, file, entry)
            ranges.append((entry.header_offset, end))
            place = FileRange(archive.path, archive.begin + begin, archive.begin + end)
            found[entry.orig_filename] = _member(session, entry, place)
    _check_ranges(session, ranges, archive.nbytes)
    return found


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """What stands in front of a member's bytes: its name, and where in the file they begin."""

    name: str
    begin: int


def local_header(file: BinaryIO, at: int) -> LocalHeader | None:
    """Return the header of a member that is at a place in a file; None where there is none."""
    file.seek(max(0, at))
    header = file.read(_LOCAL_BYTES)
    if len(header) != _LOCAL_BYTES or not header.startswith(b"PK\x03\x04"):
        return None
    name_bytes, extra_bytes = struct.unpack_from("<2H", header, 26)
    encoding = "utf-8" if header[7] & 0x08 else "cp437"
    name = file.read(name_bytes).decode(encoding, "replace")
    return LocalHeader(name, at + _LOCAL_BYTES + name_bytes + extra_bytes)


def _stretch(session: Session, file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    header = local_header(file, entry.header_offset)
    if header is None:
        raise session.damaged(f"the member {entry.filename!r} is not where it should be.")
    if header.name != entry.orig_filename:
        raise session.damaged(f"the member {entry.filename!r} has two names.")
    return header.begin, header.begin + entry.compress_size


def _check_ranges(session: Session, ranges: Sequence[tuple[int, int]], nbytes: int) -> None:
    at = 0
    for begin, end in sorted(ranges):
        if begin < at or (at == 0 and begin != 0) or end > nbytes:
            raise session.damaged("its members overlap, or lie outside of it.")
        at = end


def _member(session: Session, entry: zipfile.ZipInfo, stretch: FileRange) -> Member:
    if entry.flag_bits & _ENCRYPTED:
        raise session.refused(f"the member {entry.filename!r} is encrypted.")
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size:
        return stretch
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise session.refused(f"the member {entry.filename!r} is packed in an unusual way.")
    most = session.limits.most_unpacked(entry.compress_size)
    if entry.file_size > most:
        raise session.refused(f"the member {entry.filename!r} unpacks to far more than its size.")
    return Packed(stretch, DEFLATE, min(most, entry.file_size))

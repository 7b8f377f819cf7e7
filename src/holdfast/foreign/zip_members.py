"""The members of a zip archive, each as a stretch of the file, found to be where all readers look.

Two readers of one archive must not see two things. So an archive begins where the file begins; its
members do not overlap, have one name each, and have it in both places.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from holdfast.foreign.session import Session
from holdfast.foreign.sources import DEFLATE, FileRange, Packed
from holdfast.format.zip_errors import MALFORMED_ZIP
from holdfast.format.zip_headers import HEADER_BYTES, member_header

Member = FileRange | Packed

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
        except (OSError, *MALFORMED_ZIP) as error:
            raise session.damaged(f"it is no whole zip archive ({error}).") from error
        found: dict[str, Member] = {}
        ranges: list[tuple[int, int]] = []
        for entry in entries:
            if entry.orig_filename in found:
                raise session.damaged(f"two members are called {entry.filename!r}.")
            begin, end = _stretch(session, file, entry, archive.nbytes)
            ranges.append((entry.header_offset, end))
            place = FileRange(archive.path, archive.begin + begin, archive.begin + end)
            found[entry.orig_filename] = _member(session, entry, place)
    _check_ranges(session, ranges, archive.nbytes)
    return found


def _stretch(
    session: Session, file: BinaryIO, entry: zipfile.ZipInfo, nbytes: int
) -> tuple[int, int]:
    # An offset may be one that no file has.
    file.seek(min(max(0, entry.header_offset), nbytes))
    header = member_header(file.read(HEADER_BYTES))
    if header is None:
        raise session.damaged(f"the member {entry.filename!r} is not where it should be.")
    encoding = "utf-8" if header.is_utf8 else "cp437"
    if file.read(header.name_bytes).decode(encoding, "replace") != entry.orig_filename:
        raise session.damaged(f"the member {entry.filename!r} has two names.")
    begin = entry.header_offset + header.nbytes
    return begin, begin + entry.compress_size


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

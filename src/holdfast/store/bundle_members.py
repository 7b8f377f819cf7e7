"""Where the objects of a bundle lie in its file: the directory of a zip archive, not believed."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass

from holdfast.errors import ManifestDamaged, UsageError
from holdfast.format.zip_errors import MALFORMED_ZIP
from holdfast.format.zip_headers import HEADER_BYTES, member_header
from holdfast.store.keys import check_key


@dataclass(frozen=True, slots=True)
class Member:
    """Where an object lies in the file."""

    offset: int
    size: int


def members_of(fd: int, path: str) -> dict[str, Member]:
    """Return where each object of a bundle lies, all of it checked against the size of the file.

    Args:
        fd: Descriptor of the file.
        path: What it is called, for error messages.

    Raises:
        ManifestDamaged: It is no bundle.
    """
    size = os.fstat(fd).st_size
    found: dict[str, Member] = {}
    try:
        with os.fdopen(os.dup(fd), "rb") as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                begin = _begin_of_data(fd, info.header_offset)
                is_plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
                if not is_plain or info.filename in found or begin + info.file_size > size:
                    raise _no_bundle(path, f"its member {info.filename!r} is not as it should be")
                found[check_key(info.filename)] = Member(begin, info.file_size)
    except MALFORMED_ZIP as error:
        raise _no_bundle(path, str(error)) from error
    except UsageError as error:
        raise _no_bundle(path, f"a member has no name that a store could have: {error}") from error
    return found


def _begin_of_data(fd: int, header: int) -> int:
    found = member_header(os.pread(fd, HEADER_BYTES, header))
    if found is None:
        raise zipfile.BadZipFile(f"there is no member at byte {header}")
    return header + found.nbytes


def _no_bundle(path: str, why: str) -> ManifestDamaged:
    return ManifestDamaged(
        f"{path!r} is no bundle, or was cut short on the way: {why}. Nothing was read. Copy it "
        "again from where it was made.",
        path=path,
    )

"""The header in front of each member of a zip archive, which tells where the member's bytes begin.

See https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, section 4.3.7.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MEMBER_MAGIC: Final = b"PK\x03\x04"
_FIXED = struct.Struct("<4s2xH18x2H")
# Of every such header; the name and extra fields follow.
HEADER_BYTES: Final = _FIXED.size
_IS_UTF8 = 1 << 11


class MemberHeader(NamedTuple):
    """What a header says of what follows it."""

    is_utf8: bool
    name_bytes: int
    extra_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes from the begin of the header to those of the member."""
        return HEADER_BYTES + self.name_bytes + self.extra_bytes


def member_header(data: bytes) -> MemberHeader | None:
    """Return what a header says that data begins with, or None where there is none.

    >>> member_header(b"PK\\x03\\x04" + bytes(22) + b"\\x05\\x00\\x02\\x00name5").nbytes
    37
    """
    if len(data) < HEADER_BYTES or not data.startswith(MEMBER_MAGIC):
        return None
    _, flags, name_bytes, extra_bytes = _FIXED.unpack_from(data)
    return MemberHeader(bool(flags & _IS_UTF8), name_bytes, extra_bytes)

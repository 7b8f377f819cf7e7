"""What reading a zip archive that somebody else has made may raise.

``zipfile`` has an error of its own, and raises others for most of what can be wrong. ``OSError`` is
not among these: it is of the file, and some tell it apart.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from typing import Final

# Of an archive whose list of members is read, and of where they are.
MALFORMED_ZIP: Final = (
    zipfile.BadZipFile,
    # Versions of the format and ways of compression that zipfile does not know.
    NotImplementedError,
    # Names in no encoding, and places before the file.
    ValueError,
    # Places beyond any file.
    OverflowError,
    # What ends in the midst of a header.
    struct.error,
    # A member without a name.
    IndexError,
)
# Of streams that are unpacked.
MALFORMED_STREAM: Final = (EOFError, zlib.error, lzma.LZMAError)
# Of a member that is read.
MALFORMED_MEMBER: Final = (
    *MALFORMED_ZIP,
    *MALFORMED_STREAM,
    # It is encrypted, or packed in a way that this Python was built without.
    RuntimeError,
)

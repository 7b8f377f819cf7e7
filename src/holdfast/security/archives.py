"""Compressed streams and archives, opened by what they begin with and not by their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, cast

from holdfast.format.zip_errors import MALFORMED_ZIP

_MOST_ARCHIVES = 10_000


def decompressed(file: BinaryIO, head: bytes) -> tuple[str, BinaryIO] | None:
    """Return what a compressed stream is, and what is in it; None where it is none."""
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return "gzip stream", cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if head.startswith(b"BZh"):
        return "bzip2 stream", cast(BinaryIO, bz2.BZ2File(file))
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return "xz stream", cast(BinaryIO, lzma.LZMAFile(file))
    if head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        return "zlib stream", cast(BinaryIO, io.BufferedReader(_Inflating(file)))
    return None


def zip_windows(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return where zip archives begin and end that lie behind one another, or behind others."""
    ends = list(islice(_zip_ends(file, size), _MOST_ARCHIVES))
    windows: list[tuple[int, int]] = []
    begin = 0
    while True:
        later = [end for end in ends if end > begin]
        # One in another ends before that one does, but does not begin where it begins.
        found = next((end for end in later if _first_entry(file, begin, end) == 0), None)
        if found is None:
            found = next((end for end in later if _first_entry(file, begin, end) >= 0), None)
        if found is None:
            return windows
        windows.append((begin, found))
        begin = found


def _first_entry(file: BinaryIO, begin: int, end: int) -> int:
    """Return where the first entry of an archive is, or -1 if there is none."""
    try:
        with zipfile.ZipFile(cast(BinaryIO, Window(file, begin, end))) as archive:
            return min((entry.header_offset for entry in archive.infolist()), default=0)
    except (OSError, *MALFORMED_ZIP):
        return -1  # The end of an archive by chance, in the midst of a tensor.


def _zip_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield each position at which a zip archive may end."""
    mark, at, kept = b"PK\x05\x06", 0, b""
    while at < size:
        file.seek(at)
        piece = kept + file.read(1 << 20)
        start = at - len(kept)
        found = piece.find(mark)
        while found >= 0:
            file.seek(start + found + 20)
            yield min(size, start + found + 22 + int.from_bytes(file.read(2), "little"))
            found = piece.find(mark, found + 1)
        at += 1 << 20
        kept = piece[-3:]


class Window(io.RawIOBase):
    """Part of a file, as if it were all of it; ``owns``: closed with it."""

    def __init__(self, file: BinaryIO, begin: int, end: int, *, owns: bool = False) -> None:
        self._file, self._begin, self._end, self._at = file, begin, end, 0
        self._owns = owns

    def close(self) -> None:
        """Close the file too, if nobody else has it."""
        if self._owns:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the window; return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end - self._begin}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place in the window."""
        return self._at

    def read(self, nbytes: int = -1) -> bytes:
        """Return what follows, up to so many bytes; room is made for what there is only."""
        left = max(0, self._end - self._begin - self._at)
        self._file.seek(self._begin + self._at)
        data = self._file.read(left if nbytes < 0 else min(nbytes, left))
        self._at += len(data)
        return data

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        """Fill into with what follows; return how many bytes there were."""
        self._file.seek(self._begin + self._at)
        data = self._file.read(max(0, min(len(into), self._end - self._begin - self._at)))
        into[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Inflating(io.RawIOBase):
    """A zlib stream, read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflater = file, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(1 << 16)
            data = self._inflater.decompress(packed, len(into))
            if data or not packed:
                into[: len(data)] = data
                return len(data)
        return 0

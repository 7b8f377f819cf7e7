"""Where the bytes of foreign arrays lie: in a file, in a compressed stretch of one, in memory."""

from __future__ import annotations

import io
import os
import threading
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

from holdfast.errors import ForeignDamaged, StoreUnavailable
from holdfast.format.zip_errors import MALFORMED_STREAM
from holdfast.security.archives import Window, decompressed
from holdfast.store.stretches import read_stretch

# How a stretch may be compressed: by what its begin says, or raw as zip archives have it.
BY_MAGIC, DEFLATE = "by magic", "deflate"
_MOST_STREAMS = 4


class Source(Protocol):
    """Bytes that can be read from any place on."""

    def open(self) -> BinaryIO:
        """Return them as a file, at their begin, to be sought forwards only."""
        ...

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with what is at offset, or raise ForeignDamaged where there is less."""
        ...


@dataclass(frozen=True, slots=True)
class FileRange:
    """A stretch of a file."""

    path: str
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """How long it is."""
        return self.end - self.begin

    def open(self) -> BinaryIO:
        """Return it as a file."""
        file = cast(BinaryIO, open(self.path, "rb"))
        window = Window(file, self.begin, self.end, owns=True)
        return cast(BinaryIO, io.BufferedReader(window, 1 << 16))

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with what is at offset."""
        if offset + into.nbytes > self.end - self.begin:
            raise _too_short(self.path)
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if read_stretch(fd, into, self.begin + offset) < into.nbytes:
                    raise _too_short(self.path)
            finally:
                os.close(fd)
        except OSError as error:
            raise unreadable(self.path, error) from error


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """Bytes that were in the pickle itself; equal ones are not the same ones."""

    data: bytes

    def open(self) -> BinaryIO:
        """Return them as a file."""
        return io.BytesIO(self.data)

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with what is at offset."""
        if offset + into.nbytes > len(self.data):
            raise _too_short("the pickle")
        into[:] = self.data[offset : offset + into.nbytes]


@dataclass(slots=True, eq=False)
class Packed:
    """A compressed stretch of a file.

    Whoever reads on where an earlier read ended goes on there. There are as many places to go on
    from as threads that import; a read from before all of them begins anew.
    """

    range: FileRange
    packing: str
    most_bytes: int
    _streams: list[Forward] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open(self) -> BinaryIO:
        """Return what it unpacks to as a file."""
        return cast(BinaryIO, open_packed(self.range, self.packing, self.most_bytes))

    def read(self, into: memoryview, offset: int) -> None:
        """Fill into with what is at offset of the unpacked bytes."""
        try:
            stream = self._taken(offset)
            stream.seek(offset)
            _fill(cast(BinaryIO, stream), into, self.range.path)
        except OSError as error:
            raise unreadable(self.range.path, error) from error
        with self._lock:
            self._streams = [*self._streams, stream][-_MOST_STREAMS:]

    def _taken(self, offset: int) -> Forward:
        """Return the stream that is nearest before an offset; it is the caller's own."""
        with self._lock:
            before = [stream for stream in self._streams if stream.tell() <= offset]
            if before:
                nearest = max(before, key=Forward.tell)
                self._streams.remove(nearest)
                return nearest
        return open_packed(self.range, self.packing, self.most_bytes)


class Forward(io.BufferedIOBase):
    """A stream that is sought forwards only, by reading on, and not beyond a number of bytes."""

    def __init__(self, stream: BinaryIO, path: str, most_bytes: int) -> None:
        self._stream = io.BufferedReader(cast(io.RawIOBase, _Raw(stream, path)), 1 << 16)
        self._path, self._most_bytes, self._at = path, most_bytes, 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how much was unpacked."""
        return self._at

    def read(self, nbytes: int | None = -1) -> bytes:
        """Return what follows, up to so many bytes."""
        if nbytes is None or nbytes < 0:
            nbytes = self._most_bytes + 1
        return self._advanced(self._stream.read(nbytes))

    def readline(self, limit: int | None = -1) -> bytes:
        """Return the rest of the line."""
        return self._advanced(self._stream.readline(-1 if limit is None else limit))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on to a place; one that is past the end is not reached."""
        if whence != io.SEEK_SET or offset < self._at:
            raise ValueError("a compressed stream is read forwards only")
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass
        return self._at

    def _advanced(self, data: bytes) -> bytes:
        self._at += len(data)
        if self._at > self._most_bytes:
            raise ForeignDamaged(
                f"{self._path!r} unpacks to far more than its size: a bomb. Nothing of it was "
                "kept.",
                path=self._path,
            )
        return data


class _Raw(io.RawIOBase):
    """A decompressor whose complaints are those of a damaged file."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(into))
        except (OSError, *MALFORMED_STREAM) as error:
            raise ForeignDamaged(
                f"{self._path!r} cannot be unpacked: {error}.", path=self._path
            ) from error
        into[: len(data)] = data
        return len(data)


class _Inflated(io.RawIOBase):
    """A raw deflate stream, read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._inflater = file, zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, nbytes: int = -1) -> bytes:
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(1 << 16)
            data = self._inflater.decompress(packed, max(nbytes, 1))
            if data or not packed:
                return data
        return b""


def open_packed(stretch: FileRange, packing: str, most_bytes: int) -> Forward:
    """Open a compressed stretch of a file at its begin.

    Raises:
        ForeignDamaged: It is not compressed in a way that is known.
    """
    whole = open(stretch.path, "rb")
    file = cast(BinaryIO, Window(whole, stretch.begin, stretch.end, owns=True))
    if packing == DEFLATE:
        return Forward(cast(BinaryIO, _Inflated(file)), stretch.path, most_bytes)
    opened = decompressed(file, file.read(16))
    if opened is None:
        raise ForeignDamaged(f"{stretch.path!r} is not compressed any more.", path=stretch.path)
    return Forward(opened[1], stretch.path, most_bytes)


def _fill(file: BinaryIO, into: memoryview, path: str) -> None:
    done = 0
    while done < into.nbytes:
        piece = file.read(min(into.nbytes - done, 16 << 20))
        if not piece:
            raise _too_short(path)
        into[done : done + len(piece)] = piece
        done += len(piece)


def _too_short(path: str) -> ForeignDamaged:
    return ForeignDamaged(f"{path!r} ends before the bytes of an array do.", path=path)


def unreadable(path: str, error: OSError) -> StoreUnavailable:
    """Return the error for a file that cannot be read."""
    return StoreUnavailable(f"{path!r} cannot be read: {error}.", path=path)

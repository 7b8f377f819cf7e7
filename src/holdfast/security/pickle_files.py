"""Pickles found wherever files hide them: PyTorch, joblib, NumPy, DCP, archives and plain ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from holdfast.errors import StoreUnavailable
from holdfast.security.joblib_arrays import skip_array
from holdfast.security.pickle_machine import PickleMalformed, Program, follow
from holdfast.security.pickle_verdicts import Finding, Level, judge, level_of

# A stream that unpacks to more than this, and to so many times its size, is a bomb.
_UNPACKED_BYTES = 256 << 20
_UNPACKED_RATIO = 100
_LEGACY_TORCH = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
_MAX_PICKLES = 10_000
NOTHING = "no format that is known"
_NO_PICKLES = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"GGUF": "GGUF",
}


@dataclass(frozen=True, slots=True)
class PickleScan:
    """One pickle in a file: where it is, and what loading it would have done.

    ``error`` says why it could not be followed to its end, in words, or is None.
    """

    name: str
    findings: tuple[Finding, ...]
    error: str | None = None

    @property
    def level(self) -> Level:
        """How bad it is; one that could not be followed to its end is never safe."""
        level = level_of(self.findings)
        return "unknown" if level == "safe" and self.error is not None else level


@dataclass(frozen=True, slots=True)
class FileScan:
    """What was found in a file: its kind, in words, and the pickles in it.

    ``kind`` is ``NOTHING`` where no format is known that it could be of.
    """

    path: str
    kind: str
    pickles: tuple[PickleScan, ...]

    @property
    def level(self) -> Level:
        """The worst level of its pickles; safe where there is none in a format that is known."""
        if self.kind == NOTHING:
            return "unknown"
        return level_of([pickle for pickle in self.pickles if pickle.level != "safe"])


def scan_file(path: Path) -> FileScan:
    """Say what loading a file would do; nothing of it is run.

    Raises:
        StoreUnavailable: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            kind, pickles = _scan(cast(BinaryIO, file), path.stat().st_size)
    except OSError as error:
        raise StoreUnavailable(f"{str(path)!r} cannot be read: {error}.", path=str(path)) from error
    return FileScan(str(path), kind, tuple(pickles))


def _scan(file: BinaryIO, size: int) -> tuple[str, list[PickleScan]]:
    head = file.read(16)
    kind, found = _by_magic(file, head, size)
    # A file may be two things at once, one for each kind of reader.
    archives, zipped = _zips(file, size)
    if kind == NOTHING:
        kind = "zip archive" if archives else _other_kind(head)
    return kind, found + zipped


def _other_kind(head: bytes) -> str:
    """Return what a file is that no reader of pickles would get far with."""
    for magic, kind in _NO_PICKLES.items():
        if head.startswith(magic):
            return kind
    # The length of a header in JSON, and the header.
    return "safetensors" if head[8:9] == b"{" else NOTHING


def _by_magic(file: BinaryIO, head: bytes, size: int) -> tuple[str, list[PickleScan]]:
    """Return what a file is by how it begins, and its pickles; a zip archive is not looked at."""
    file.seek(0)
    if head.startswith(b"\x93NUMPY"):
        return "NumPy array", _array(file, "array")
    opened = _decompressed(file, head)
    if opened is not None:
        kind, stream = opened
        return kind, _bounded(stream, size)
    if not head.startswith((b"\x80", b"PK")) and tarfile.is_tarfile(file):
        file.seek(0)
        return "tar archive", list(_tar(file))
    file.seek(0)
    if head.startswith(b"PK"):
        return NOTHING, []
    plain = _plain(file, "pickle")
    return ("pickle" if plain else NOTHING), plain


def _tar(file: BinaryIO) -> Iterator[PickleScan]:
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield from _plain(cast(BinaryIO, content), member.name)


def _decompressed(file: BinaryIO, head: bytes) -> tuple[str, BinaryIO] | None:
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


def _bounded(stream: BinaryIO, size: int) -> list[PickleScan]:
    limit = max(_UNPACKED_BYTES, _UNPACKED_RATIO * size)
    data = bytearray()
    try:
        while piece := stream.read(1 << 20):
            data += piece
            if len(data) > limit:
                return [PickleScan("stream", (), "It unpacks to far more than its size: a bomb.")]
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        return [PickleScan("stream", (), f"It cannot be unpacked: {error}.")]
    return _plain(io.BytesIO(data), "stream")


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


def _zips(file: BinaryIO, size: int) -> tuple[int, list[PickleScan]]:
    """Return how many archives are in a file, DCP puts one behind the other, and their pickles."""
    begin = count = 0
    scans: list[PickleScan] = []
    for end in _zip_ends(file, size):
        window = cast(BinaryIO, _Window(file, begin, end))
        try:
            with zipfile.ZipFile(window) as archive:
                scans += _zip(archive)
        except (zipfile.BadZipFile, ValueError, OSError):
            continue  # The end of an archive by chance, in the midst of a tensor.
        begin, count = end, count + 1
    return count, scans


def _zip_ends(file: BinaryIO, size: int) -> Iterator[int]:
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


def _zip(archive: zipfile.ZipFile) -> Iterator[PickleScan]:
    for entry in archive.infolist():
        name = entry.filename
        if name.endswith(".py"):
            what = f"holds code that a loader may run: {name}"
            yield PickleScan(name, (Finding("unknown", what, 0),))
        if not name.endswith((".pkl", ".pickle", ".npy")):
            continue
        if entry.file_size > max(_UNPACKED_BYTES, _UNPACKED_RATIO * entry.compress_size):
            yield PickleScan(name, (), "It unpacks to far more than its size: a bomb.")
            continue
        try:
            with archive.open(entry) as content:
                # Whole, since the array files in it are sought in.
                data = io.BytesIO(content.read())
        except (RuntimeError, zipfile.BadZipFile, zlib.error, OSError) as error:
            yield PickleScan(name, (), f"It cannot be unpacked: {error}.")
            continue
        yield from _array(data, name) if name.endswith(".npy") else _plain(data, name)


def _array(file: BinaryIO, name: str) -> list[PickleScan]:
    """Return the pickle of an array of objects; other arrays have none."""
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            return [PickleScan(name, (), f"It is an array file of version {version}.")]
        _, _, dtype = read(file)
    except (ValueError, TypeError, SyntaxError) as error:
        return [PickleScan(name, (), f"It is no array file: {error}.")]
    return _plain(file, name) if dtype.hasobject else []


def _plain(file: BinaryIO, name: str) -> list[PickleScan]:
    """Return all pickles that lie behind one another from where the file is."""
    scans: list[PickleScan] = []
    legacy = False
    while len(scans) < _MAX_PICKLES and not (legacy and len(scans) == _LEGACY_PICKLES):
        begin = file.tell()
        first = file.read(1)
        if not first:
            break
        file.seek(begin)
        title = name if not scans else f"{name}, pickle {len(scans) + 1}"
        try:
            program = follow(file, skip_array)
        except PickleMalformed as error:
            partial = error.facts["program"]
            assert isinstance(partial, Program)
            findings = tuple(judge(partial))
            # Of what is behind a pickle, and does nothing as one, nobody will take it for one.
            if findings or (not scans and first == b"\x80"):
                scans.append(PickleScan(title, findings, error.message))
            break
        legacy = legacy or (not scans and program.result == _LEGACY_TORCH)
        scans.append(PickleScan(title, tuple(judge(program))))
    return scans


class _Window(io.RawIOBase):
    """Part of a file, as if it were all of it."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file, self._begin, self._end, self._at = file, begin, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end - self._begin}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        self._file.seek(self._begin + self._at)
        data = self._file.read(max(0, min(len(into), self._end - self._begin - self._at)))
        into[: len(data)] = data
        self._at += len(data)
        return len(data)

"""Pickles found wherever files hide them: PyTorch, joblib, NumPy, DCP, archives and plain ones."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from holdfast.errors import StoreUnavailable
from holdfast.format.zip_errors import MALFORMED_MEMBER, MALFORMED_STREAM, MALFORMED_ZIP
from holdfast.security.archives import Window, decompressed, zip_windows
from holdfast.security.pickle_stream import PickleScan, scan_array, scan_pickles
from holdfast.security.pickle_verdicts import Finding, Level, level_of

# A stream that unpacks to more than this, and to so many times its size, is a bomb.
_UNPACKED_BYTES = 256 << 20
_UNPACKED_RATIO = 100
NOTHING = "no format that is known"
_NPY_MAGIC = b"\x93NUMPY"
# The members of PyTorch's oldest files that are pickles.
_TORCH_TAR = ("sys_info", "pickle", "storages", "tensors")
_OF_A_MODULE = re.compile(r"[^:]+: [A-Za-z_][\w.]*(\(.*)?", re.DOTALL)
_HEADER_BYTES = 100 << 20
# What an archive may hold that somebody would take out and load.
_LOADED = (".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npz", ".zip", ".gz", ".bz2", ".xz", ".tar")
_NAMED = (*_LOADED, ".pkl", ".pickle", ".npy", ".distcp", ".metadata", ".safetensors")
_DEPTH = 4


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


def is_named_like_one(name: str) -> bool:
    """Say whether somebody would take a file of that name for a checkpoint."""
    return name.lower().endswith(_NAMED)


def _scan(file: BinaryIO, size: int, depth: int = 0) -> tuple[str, list[PickleScan]]:
    file.seek(0)
    head = file.read(16)
    kind, found = _by_magic(file, head, size, depth)
    # A file may be two things at once, one for each kind of reader.
    archives, zipped = _zips(file, size, depth)
    if kind == NOTHING and archives:
        kind = "zip archive"
    elif kind == NOTHING and _is_safetensors(file, size):
        kind = "safetensors"
    return kind, found + zipped


def _is_safetensors(file: BinaryIO, size: int) -> bool:
    """Say whether a file begins with the length of a header in JSON, and that header."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, _HEADER_BYTES):
        return False
    try:
        return isinstance(json.loads(file.read(length)), dict)
    except (ValueError, RecursionError):
        return False


def _by_magic(file: BinaryIO, head: bytes, size: int, depth: int) -> tuple[str, list[PickleScan]]:
    """Return what a file is by how it begins, and its pickles; a zip archive is not looked at."""
    file.seek(0)
    if head.startswith(_NPY_MAGIC):
        return "NumPy array", scan_array(file, "array")
    opened = decompressed(file, head)
    if opened is not None:
        kind, stream = opened
        return kind, _bounded(stream, size, depth)
    if not head.startswith((b"\x80", b"PK")) and tarfile.is_tarfile(file):
        file.seek(0)
        # The name of the first member may be a pickle, for who loads the file as one.
        as_pickle = [scan for scan in scan_pickles(file, "begin of the file") if _means_it(scan)]
        file.seek(0)
        return "tar archive", as_pickle + list(_tar(file, depth))
    file.seek(0)
    if head.startswith(b"PK"):
        return NOTHING, []
    plain = scan_pickles(file, "pickle")
    return ("pickle" if plain else NOTHING), plain


def _means_it(scan: PickleScan) -> bool:
    """Say whether what was found where no pickle is expected has names as modules have them."""
    return any(_OF_A_MODULE.fullmatch(finding.what) for finding in scan.findings)


def _tar(file: BinaryIO, depth: int) -> Iterator[PickleScan]:
    try:
        with tarfile.open(fileobj=file) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield from _member(cast(BinaryIO, content), member, depth)
    except (tarfile.TarError, ValueError, OverflowError, OSError, *MALFORMED_STREAM) as error:
        yield PickleScan("archive", (), f"It cannot be read to its end: {error}.")


def _member(content: BinaryIO, member: tarfile.TarInfo, depth: int) -> Iterator[PickleScan]:
    """Yield the pickles of a member of a tar archive."""
    head = content.read(len(_NPY_MAGIC))
    content.seek(0)
    if member.name.lower().endswith(_LOADED):
        yield from _nested(content, member.size, member.name, depth + 1)
    elif head == _NPY_MAGIC:
        yield from scan_array(content, member.name)
    else:
        yield from scan_pickles(content, member.name, is_one=member.name in _TORCH_TAR)


def _bounded(stream: BinaryIO, size: int, depth: int) -> list[PickleScan]:
    limit = max(_UNPACKED_BYTES, _UNPACKED_RATIO * size)
    data = bytearray()
    try:
        while piece := stream.read(1 << 20):
            data += piece
            if len(data) > limit:
                return [PickleScan("stream", (), "It unpacks to far more than its size: a bomb.")]
    except (OSError, *MALFORMED_STREAM) as error:
        return [PickleScan("stream", (), f"It cannot be unpacked: {error}.")]
    return list(_nested(io.BytesIO(data), len(data), "stream", depth + 1))


def _zips(file: BinaryIO, size: int, depth: int) -> tuple[int, list[PickleScan]]:
    """Return how many archives are in a file, and their pickles.

    As most loaders do, by what is at the file's end; and then all that lie behind one another, as
    DCP puts them.
    """
    windows = [(0, size), *zip_windows(file, size)]
    scans: list[PickleScan] = []
    count = 0
    for begin, end in dict.fromkeys(windows):
        try:
            with zipfile.ZipFile(cast(BinaryIO, Window(file, begin, end))) as archive:
                scans += _zip(archive, depth)
        except NotImplementedError as error:
            # It is an archive, of a kind that others may read: nothing says that it is safe.
            scans.append(PickleScan("archive", (), f"It cannot be read: {error}."))
        except (OSError, *MALFORMED_ZIP):
            continue
        count += 1
    return count, list(dict.fromkeys(scans))


def _zip(archive: zipfile.ZipFile, depth: int) -> Iterator[PickleScan]:
    for entry in archive.infolist():
        name = entry.filename
        if name.endswith(".py"):
            what = f"holds code that a loader may run: {name}"
            yield PickleScan(name, (Finding("unknown", what, 0),))
        is_named = name.lower().endswith((".pkl", ".pickle", ".npy", *_LOADED))
        try:
            with archive.open(entry) as content:
                head = content.read(len(_NPY_MAGIC))
                # NumPy takes a member for an array by how it begins, whatever its name.
                if not is_named and head != _NPY_MAGIC:
                    continue
                if entry.file_size > max(_UNPACKED_BYTES, _UNPACKED_RATIO * entry.compress_size):
                    yield PickleScan(name, (), "It unpacks to far more than its size: a bomb.")
                    continue
                # Whole, since the array files in it are sought in.
                data = io.BytesIO(head + content.read())
        except (OSError, *MALFORMED_MEMBER) as error:
            yield PickleScan(name, (), f"It cannot be unpacked: {error}.")
            continue
        if head == _NPY_MAGIC or name.endswith(".npy"):
            yield from scan_array(data, name)
        elif name.lower().endswith(_LOADED):
            yield from _nested(data, data.getbuffer().nbytes, name, depth + 1)
        else:
            yield from scan_pickles(data, name, is_one=True)


def _nested(data: BinaryIO, size: int, name: str, depth: int) -> Iterator[PickleScan]:
    """Yield the pickles of a file that lies in an archive or a stream."""
    if depth > _DEPTH:
        yield PickleScan(name, (), "It lies in too many archives.")
        return
    kind, found = _scan(data, size, depth)
    if kind == NOTHING:
        yield PickleScan(name, (), "It is of no format that is known.")
    for scan in found:
        yield replace(scan, name=f"{name}, {scan.name}")

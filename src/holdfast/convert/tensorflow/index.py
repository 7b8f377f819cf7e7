"""The index of a TensorFlow checkpoint: which variables there are, and where in the data files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from holdfast.convert.bounds import require_inside
from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.tensorflow.messages import BundleEntry, BundleHeader
from holdfast.convert.tensorflow.table import read_table
from holdfast.errors import CannotConvert, ForeignDamaged
from holdfast.foreign.checksums import checksum, combined, masked
from holdfast.format.part import MAX_NDIM

# More would not be an index but an attack on memory.
_MAX_INDEX_BYTES = 1 << 30
_MAX_SHARDS = 100_000
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Index:
    """What is where in a checkpoint.

    Attributes:
        prefix: What the names of its files begin with.
        files: The data files, opened.
        entries: Messages ``BundleEntry`` by their keys; all lie within their files.
    """

    prefix: str
    files: Sequence[ForeignFile]
    entries: Mapping[bytes, Any]

    def file_of(self, entry: Any) -> ForeignFile:
        """Return the data file that an entry is in."""
        number: int = entry.shard_id
        return self.files[number]

    def require_checksum(self, name: str, entry: Any) -> None:
        """Read the bytes of an entry, and raise ForeignDamaged where its checksum is another."""
        file, end, crc = self.file_of(entry), entry.offset + entry.size, checksum("crc32c")
        pieces = (file.read(at, min(_PIECE, end - at)) for at in range(entry.offset, end, _PIECE))
        sums = ((crc(memoryview(piece)), len(piece)) for piece in pieces)
        if masked(combined("crc32c", sums)) != entry.crc32c:
            raise self.damaged_data(name, entry)

    def damaged(self, what: str) -> ForeignDamaged:
        """Return the error for a checkpoint that is not whole."""
        return damaged(self.prefix, what)

    def damaged_data(self, name: str, entry: Any) -> ForeignDamaged:
        """Return the error for bytes of an entry that are not what was written."""
        path = self.file_of(entry).path
        return self.damaged(f"the bytes of {name!r} in {path!r} have not the checksum in it")


def damaged(prefix: str, what: str) -> ForeignDamaged:
    """Return the error for a checkpoint that is not whole."""
    return ForeignDamaged(
        f"{prefix!r} is no whole TensorFlow checkpoint: {what}. Nothing was saved.", path=prefix
    )


def read_index(prefix: str) -> Index:
    """Return the index of the checkpoint of a prefix.

    Raises:
        ForeignDamaged: It is not whole, or speaks of what is not in the data files.
        CannotConvert: It is of a big-endian machine.
    """
    path = f"{prefix}.index"
    if not Path(path).is_file():
        raise damaged(prefix, f"there is no index {path!r}")
    file = ForeignFile(path)
    if file.size > _MAX_INDEX_BYTES:
        raise damaged(prefix, f"the index has {file.size:,} bytes")
    found = dict(read_table(file.read(0, file.size), path))
    file.close()
    files = _data_files(prefix, found.pop(b"", None))
    return Index(prefix, files, {key: _entry(prefix, files, key, found[key]) for key in found})


def _data_files(prefix: str, header_bytes: bytes | None) -> list[ForeignFile]:
    try:
        header = BundleHeader.FromString(header_bytes or b"")
    except DecodeError as error:
        raise damaged(prefix, "its header cannot be read") from error
    if header_bytes is None or not 0 < header.num_shards <= _MAX_SHARDS:
        raise damaged(prefix, "it has no header that makes sense")
    if header.endianness != 0:
        raise CannotConvert(
            f"{prefix!r} was written by a big-endian machine, which is not read here. Nothing was "
            "saved.",
            path=prefix,
        )
    count = header.num_shards
    return [_data_file(prefix, number, count) for number in range(count)]


def _data_file(prefix: str, number: int, count: int) -> ForeignFile:
    path = f"{prefix}.data-{number:05d}-of-{count:05d}"
    if not Path(path).is_file():
        raise damaged(prefix, f"the data file {path!r} is not there")
    return ForeignFile(require_inside(Path(path), Path(path).parent))


def _entry(prefix: str, files: Sequence[ForeignFile], key: bytes, data: bytes) -> Any:
    try:
        entry = BundleEntry.FromString(data)
    except DecodeError as error:
        raise damaged(prefix, f"the entry {key!r} cannot be read") from error
    sizes = [dim.size for dim in entry.shape.dim]
    if any(n < 0 for n in sizes) or entry.shape.unknown_rank or len(sizes) > MAX_NDIM:
        raise damaged(prefix, f"the entry {key!r} has no possible shape")
    if not entry.slices:
        if not 0 <= entry.shard_id < len(files):
            raise damaged(prefix, f"the entry {key!r} is in a data file that is not there")
        file = files[entry.shard_id]
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > file.size:
            raise damaged(prefix, f"the data file {file.path!r} ends before {key!r} does")
    return entry

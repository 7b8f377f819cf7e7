"""TensorFlow checkpoints read: the index, then variables from the data files, each checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from holdfast.convert.checksums import checksum, combined, masked
from holdfast.convert.lazy import ForeignFile, LazyArray
from holdfast.convert.slabs import Slab, read_by_slabs
from holdfast.convert.tensorflow import strings
from holdfast.convert.tensorflow.element_types import DTYPES, OTHERS, STRING
from holdfast.convert.tensorflow.messages import BundleEntry, BundleHeader
from holdfast.convert.tensorflow.names import GRAPH, name_of
from holdfast.convert.tensorflow.slice_keys import slice_key
from holdfast.convert.tensorflow.table import read_table
from holdfast.convert.text_tensors import as_lists, has_room
from holdfast.errors import CannotConvert, ForeignDamaged, ForeignRefused
from holdfast.format import dtypes
from holdfast.format.part import MAX_NDIM
from holdfast.state.numpy_arrays import LONG_BYTES

# More would not be an index but an attack on memory.
_MAX_INDEX_BYTES = 1 << 30
_MAX_SHARDS = 100_000
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A box of a variable, and the array in a data file that it is."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    file: ForeignFile
    offset: int


class BundleReader:
    """Reads the checkpoint of a prefix.

    Args:
        prefix: What the names of its files begin with.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = str(prefix)
        self._index = f"{prefix}.index"
        if not Path(self._index).is_file():
            raise self._damaged(f"there is no index {self._index!r}")
        file = ForeignFile(self._index)
        if file.size > _MAX_INDEX_BYTES:
            raise self._damaged(f"the index has {file.size:,} bytes")
        entries = dict(read_table(file.read(0, file.size), self._index))
        file.close()
        self._shards = self._open(entries.pop(b"", None))
        self._entries = {key: self._entry(key, value) for key, value in entries.items()}

    def read(self) -> dict[str, Any]:
        """Return variables and texts by their names; the graph of objects in pieces of bytes.

        Raises:
            ForeignDamaged: Index and data files disagree, or something is damaged.
            CannotConvert: A variable has an element type that no checkpoint of ours can have.
        """
        tree: dict[str, Any] = {}
        for key, entry in self._entries.items():
            if key.startswith(b"\0"):
                # A part of a variable; it comes with the whole.
                continue
            text = key.decode("utf-8", "surrogateescape")
            name = name_of(text)
            if name in tree:
                raise self._damaged(f"two variables would be called {name!r}")
            tree[name] = self._graph(entry) if text == GRAPH else self._tensor(text, entry)
        return tree

    # --- the index ---

    def _open(self, data: bytes | None) -> list[ForeignFile]:
        try:
            header = BundleHeader.FromString(data or b"")
        except DecodeError as error:
            raise self._damaged("its header cannot be read") from error
        if data is None or not 0 < header.num_shards <= _MAX_SHARDS:
            raise self._damaged("it has no header that makes sense")
        if header.endianness != 0:
            raise CannotConvert(
                f"{self._prefix!r} was written by a big-endian machine, which is not read here. "
                "Nothing was saved.",
                path=self._prefix,
            )
        found = []
        for number in range(header.num_shards):
            path = f"{self._prefix}.data-{number:05d}-of-{header.num_shards:05d}"
            if not Path(path).is_file():
                raise self._damaged(f"the data file {path!r} is not there")
            found.append(ForeignFile(path))
        return found

    def _entry(self, key: bytes, data: bytes) -> Any:
        try:
            entry = BundleEntry.FromString(data)
        except DecodeError as error:
            raise self._damaged(f"the entry {key!r} cannot be read") from error
        sizes = [dim.size for dim in entry.shape.dim]
        if any(n < 0 for n in sizes) or entry.shape.unknown_rank or len(sizes) > MAX_NDIM:
            raise self._damaged(f"the entry {key!r} has no possible shape")
        if not entry.slices:
            if not 0 <= entry.shard_id < len(self._shards):
                raise self._damaged(f"the entry {key!r} is in a data file that is not there")
            file = self._shards[entry.shard_id]
            if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > file.size:
                raise self._damaged(f"the data file {file.path!r} ends before {key!r} does")
        return entry

    # --- variables ---

    def _tensor(self, name: str, entry: Any) -> Any:
        shape = tuple(dim.size for dim in entry.shape.dim)
        if entry.dtype == STRING and not entry.slices:
            return self._text_tensor(name, entry, shape)
        dtype = self._dtype(name, entry)
        if entry.slices:
            return self._sliced(name, entry, dtype, shape)
        return self._whole(name, entry, dtype, shape)

    def _dtype(self, name: str, entry: Any) -> str:
        if entry.dtype not in DTYPES:
            kind = OTHERS.get(entry.dtype, f"number {entry.dtype}")
            raise CannotConvert(
                f"{name!r} of {self._prefix!r} has elements of TensorFlow's type {kind}, which no "
                "checkpoint here can hold. Nothing was saved.",
                name=name,
            )
        return DTYPES[entry.dtype]

    def _whole(self, name: str, entry: Any, dtype: str, shape: tuple[int, ...]) -> LazyArray:
        file = self._shards[entry.shard_id]
        if prod(shape) * dtypes.itemsize(dtype) != entry.size:
            raise self._damaged(f"{name!r} has {entry.size} bytes, but other ones by its shape")
        check = _Check(entry.crc32c, entry.size, lambda: self._damaged_data(name, file))

        def read(begin: int, into: memoryview) -> None:
            file.read_into(entry.offset + begin, into)
            check.saw(begin, into)

        return LazyArray("numpy", dtype, shape, read, (file.path, entry.offset, dtype, shape))

    def _sliced(self, name: str, entry: Any, dtype: str, shape: tuple[int, ...]) -> LazyArray:
        parts = [self._part(name, found.extent, entry.dtype, shape) for found in entry.slices]
        if not _cover(parts, shape):
            raise self._damaged(f"the parts of {name!r} do not make the whole of it")
        itemsize = dtypes.itemsize(dtype)
        element = np.dtype((np.void, itemsize))
        maps = [np.memmap(part.file.path, element, "r", part.offset, part.shape) for part in parts]

        def fetch(slab: Slab) -> np.ndarray[Any, Any]:
            out = np.empty([s.stop - s.start for s in slab], element)
            for part, data in zip(parts, maps, strict=True):
                _copy_common(slab, out, part, data)
            return out

        def read(begin: int, into: memoryview) -> None:
            read_by_slabs(shape, itemsize, fetch, begin, into)

        return LazyArray("numpy", dtype, shape, read, (self._prefix, name))

    def _part(self, name: str, extents: Sequence[Any], kind: int, shape: tuple[int, ...]) -> Part:
        if len(extents) != len(shape):
            raise self._damaged(f"a part of {name!r} has another number of dimensions")
        wanted = [(e.start, e.length if e.HasField("length") else -1) for e in extents]
        try:
            entry = self._entries.get(slice_key(name, wanted))
        except (ValueError, OverflowError):
            entry = None
        start = tuple(begin if n >= 0 else 0 for begin, n in wanted)
        box = tuple(n if n >= 0 else whole for (_, n), whole in zip(wanted, shape, strict=True))
        if entry is None or tuple(d.size for d in entry.shape.dim) != box or entry.slices:
            raise self._damaged(f"a part of {name!r} is not there")
        if prod(box) * dtypes.itemsize(DTYPES[kind]) != entry.size or entry.dtype != kind:
            raise self._damaged(f"a part of {name!r} has not the size that it should have")
        file = self._shards[entry.shard_id]
        if masked(_crc(file, entry.offset, entry.size)) != entry.crc32c:
            raise self._damaged_data(name, file)
        return Part(start, box, file, entry.offset)

    def _text_tensor(self, name: str, entry: Any, shape: tuple[int, ...]) -> Any:
        if not has_room(shape):
            raise ForeignRefused(
                f"{name!r} of {self._prefix!r} has no texts, but the shape {shape}: more lists "
                "than have a place in memory. Nothing was saved.",
                path=self._prefix,
            )
        return as_lists(self._texts(name, entry, prod(shape)), shape)

    def _texts(self, name: str, entry: Any, count: int) -> list[bytes]:
        file = self._shards[entry.shard_id]
        if count > entry.size:
            raise self._damaged(f"{name!r} has more texts than bytes")
        try:
            found, summed = strings.split(file.read(entry.offset, entry.size), count)
        except ValueError as error:
            raise self._damaged(f"{name!r}: {error}") from error
        if masked(checksum("crc32c")(memoryview(summed))) != entry.crc32c:
            raise self._damaged_data(name, file)
        return found

    def _graph(self, entry: Any) -> list[bytes]:
        if entry.dtype != STRING or entry.shape.dim or entry.slices:
            raise self._damaged("its graph of objects is no text")
        [graph] = self._texts(GRAPH, entry, 1)
        # In pieces that are plain values, so that an export can look into it.
        return [graph[at : at + LONG_BYTES] for at in range(0, len(graph), LONG_BYTES)]

    def _damaged(self, what: str) -> ForeignDamaged:
        return ForeignDamaged(
            f"{self._prefix!r} is no whole TensorFlow checkpoint: {what}. Nothing was saved.",
            path=self._prefix,
        )

    def _damaged_data(self, name: str, file: ForeignFile) -> ForeignDamaged:
        return self._damaged(f"the bytes of {name!r} in {file.path!r} have not the checksum in it")


class _Check:
    """Compares an array's checksum when all of it was read, in whatever order."""

    def __init__(self, expected: int, nbytes: int, error: Callable[[], Exception]) -> None:
        self._expected, self._nbytes, self._error = expected, nbytes, error
        self._seen: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def saw(self, begin: int, data: memoryview) -> None:
        """Take note of bytes that were read.

        Raises:
            ForeignDamaged: They were the last ones, and the checksum is another.
        """
        value = checksum("crc32c")(data)
        with self._lock:
            self._seen[begin] = value, data.nbytes
            if sum(n for _, n in self._seen.values()) != self._nbytes:
                return
            at, parts = 0, []
            for place, part in sorted(self._seen.items()):
                if place != at:
                    return
                parts.append(part)
                at += part[1]
        if masked(combined("crc32c", parts)) != self._expected:
            raise self._error()


def _crc(file: ForeignFile, offset: int, nbytes: int) -> int:
    pieces = (file.read(offset + at, min(_PIECE, nbytes - at)) for at in range(0, nbytes, _PIECE))
    crc = checksum("crc32c")
    return combined("crc32c", ((crc(memoryview(piece)), len(piece)) for piece in pieces))


def _cover(parts: Sequence[Part], shape: tuple[int, ...]) -> bool:
    """Say whether boxes are within an array, do not overlap, and leave nothing of it out."""
    boxes = [list(zip(part.start, part.shape, strict=True)) for part in parts]
    for number, box in enumerate(boxes):
        if any(b < 0 or b + n > whole for (b, n), whole in zip(box, shape, strict=True)):
            return False
        for other in boxes[:number]:
            if all(b < c + m and c < b + n for (b, n), (c, m) in zip(box, other, strict=True)):
                return False
    return sum(prod(part.shape) for part in parts) == prod(shape)


def _copy_common(slab: Slab, out: np.ndarray[Any, Any], part: Part, data: Any) -> None:
    into, source = [], []
    for wanted, begin, n in zip(slab, part.start, part.shape, strict=True):
        low, high = max(wanted.start, begin), min(wanted.stop, begin + n)
        if low >= high:
            return
        into.append(slice(low - wanted.start, high - wanted.start))
        source.append(slice(low - begin, high - begin))
    out[tuple(into)] = data[tuple(source)]

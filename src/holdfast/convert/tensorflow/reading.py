"""TensorFlow checkpoints read: variables and texts from the data files, each checked."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from holdfast.convert.lazy import Unheld
from holdfast.convert.tensorflow import strings
from holdfast.convert.tensorflow.element_types import DTYPES, OTHERS, STRING
from holdfast.convert.tensorflow.index import read_index
from holdfast.convert.tensorflow.late_check import LateCheck
from holdfast.convert.tensorflow.names import GRAPH, name_of
from holdfast.convert.tensorflow.parts import joined
from holdfast.convert.text_tensors import as_lists, has_room
from holdfast.errors import ForeignRefused
from holdfast.foreign.arrays import ForeignArray
from holdfast.foreign.checksums import masked_checksum
from holdfast.format import dtypes
from holdfast.state.numpy_arrays import LONG_BYTES


class BundleReader:
    """Reads the checkpoint of a prefix.

    Args:
        prefix: What the names of its files begin with.
    """

    def __init__(self, prefix: Path) -> None:
        self._index = read_index(str(prefix))

    def read(self) -> dict[str, Any]:
        """Return variables and texts by their names; the graph of objects in pieces of bytes.

        Raises:
            ForeignDamaged: Index and data files disagree, or something is damaged.
            ForeignRefused: A shape says more than has a place in memory.
        """
        tree: dict[str, Any] = {}
        for key, entry in self._index.entries.items():
            if key.startswith(b"\0"):
                # A part of a variable; it comes with the whole.
                continue
            text = key.decode("utf-8", "surrogateescape")
            name = name_of(text)
            if name in tree:
                raise self._index.damaged(f"two variables would be called {name!r}")
            tree[name] = self._graph(entry) if text == GRAPH else self._tensor(text, entry)
        return tree

    def _tensor(self, name: str, entry: Any) -> Any:
        shape = tuple(dim.size for dim in entry.shape.dim)
        if entry.dtype == STRING and not entry.slices:
            return self._text_tensor(name, entry, shape)
        if entry.dtype not in DTYPES:
            return self._unheld(name, entry.dtype)
        if entry.slices:
            return joined(self._index, name, entry)
        return self._array(name, entry, shape)

    def _unheld(self, name: str, dtype: int) -> Unheld:
        kind = OTHERS.get(dtype, f"number {dtype}")
        return Unheld(
            f"{name!r} of {self._index.prefix!r} has elements of TensorFlow's type {kind}, which "
            "no checkpoint here can hold"
        )

    def _array(self, name: str, entry: Any, shape: tuple[int, ...]) -> ForeignArray:
        file, dtype = self._index.file_of(entry), DTYPES[entry.dtype]
        if prod(shape) * dtypes.itemsize(dtype) != entry.size:
            raise self._index.damaged(
                f"{name!r} has {entry.size} bytes, but other ones by its shape"
            )
        check = LateCheck(entry.crc32c, entry.size, lambda: self._index.damaged_data(name, entry))

        def read(begin: int, into: memoryview) -> None:
            file.read_into(entry.offset + begin, into)
            check.saw(begin, into)

        return ForeignArray("numpy", dtype, shape, read, (file.path, entry.offset, dtype, shape))

    # --- texts ---

    def _text_tensor(self, name: str, entry: Any, shape: tuple[int, ...]) -> Any:
        if not has_room(shape):
            raise ForeignRefused(
                f"{name!r} of {self._index.prefix!r} has no texts, but the shape {shape}: more "
                "lists than have a place in memory. Nothing was saved.",
                path=self._index.prefix,
            )
        return as_lists(self._texts(name, entry, prod(shape)), shape)

    def _texts(self, name: str, entry: Any, count: int) -> list[bytes]:
        if count > entry.size:
            raise self._index.damaged(f"{name!r} has more texts than bytes")
        data = self._index.file_of(entry).read(entry.offset, entry.size)
        try:
            found, summed = strings.split(data, count)
        except ValueError as error:
            raise self._index.damaged(f"{name!r}: {error}") from error
        if int.from_bytes(masked_checksum(summed), "little") != entry.crc32c:
            raise self._index.damaged_data(name, entry)
        return found

    def _graph(self, entry: Any) -> list[bytes]:
        if entry.dtype != STRING or entry.shape.dim or entry.slices:
            raise self._index.damaged("its graph of objects is no text")
        [graph] = self._texts(GRAPH, entry, 1)
        # In pieces that are plain values, so that an export can look into it.
        return [graph[at : at + LONG_BYTES] for at in range(0, len(graph), LONG_BYTES)]

"""Orbax checkpoints planned: arrays as zarr in a database, uncompressed, in one data file."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from holdfast.convert.containers import EMPTY, LIST, TUPLE, contained, keys_as_texts
from holdfast.convert.contract import FilePlan, Piece, Placement
from holdfast.convert.naming import names_around, require_utf8
from holdfast.convert.orbax import metadata
from holdfast.convert.orbax.element_types import NAMES
from holdfast.convert.orbax.metadata import Leaf
from holdfast.convert.orbax.ocdbt import MANIFEST, Inline, Outside, build
from holdfast.convert.selection import NamedArray, Selection
from holdfast.errors import CannotConvert
from holdfast.format import dtypes
from holdfast.state.values import INT64_MAX, INT64_MIN

CHECKPOINT_FILE = "_CHECKPOINT_METADATA"
_HANDLER = "orbax.checkpoint._src.handlers.standard_checkpoint_handler.StandardCheckpointHandler"
_ALIGNMENT = 64
# Bounds of TensorStore.
_MAX_NDIM, _MAX_NAME_BYTES = 32, 60_000
# Whoever reads a part of an array has to read whole chunks.
_CHUNK_BYTES = 32 << 20
_EMPTY = {LIST: "List", TUPLE: "Tuple", EMPTY: "Dict"}

Entries = list[tuple[bytes, Inline | Outside]]


def is_holdable(value: object) -> bool:
    """Say whether a plain value has a place in Orbax's trees."""
    if value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, int):
        return INT64_MIN <= value <= INT64_MAX
    return isinstance(value, np.generic) and dtypes.from_numpy(value.dtype) in NAMES


def plan_checkpoint(selection: Selection) -> Sequence[FilePlan]:
    """Return the files of a checkpoint in which a selection is.

    Raises:
        CannotConvert: A dtype or a name has no place.
    """
    found = contained(selection)
    require_utf8(selection.names(), "Orbax")
    contents = _Contents(found.marks)
    for array in found.arrays:
        _require_array(array)
        contents.add_array(array)
    for value in found.values:
        if is_holdable(value.value):
            contents.add_value(value.name, value.value)
    contents.add_empty_containers()
    _require_names(contents.leaves)
    first, *others = _plan_files(contents)
    notes = keys_as_texts(selection.root, also_alone=True)
    return [replace(first, notes=[*first.notes, *notes]), *others]


def _require_array(array: NamedArray) -> None:
    row = array.array
    if row.dtype not in NAMES:
        raise CannotConvert(
            f"{array.name!r} is of {row.dtype}, for which Orbax has no array. Nothing was "
            f"written. To leave it out: --skip {array.name!r}.",
            name=array.name,
        )
    if len(row.shape) > _MAX_NDIM:
        raise CannotConvert(
            f"{array.name!r} has {len(row.shape)} dimensions; Orbax's arrays have up to "
            f"{_MAX_NDIM}. Nothing was written. To leave it out: --skip {array.name!r}.",
            name=array.name,
        )


@dataclass(slots=True)
class _Contents:
    """What a checkpoint is made of.

    Attributes:
        marks: Of containers, by their names.
        leaves: For the description of the tree.
        entries: Of the database.
        placements: Of arrays in the data file.
        end: Where in the data file the arrays end.
    """

    marks: Mapping[str, str]
    leaves: list[Leaf] = field(default_factory=list)
    entries: Entries = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    end: int = 0

    def add_array(self, array: NamedArray) -> None:
        """Add an array in as many chunks as it needs."""
        row, leaf = array.array, metadata.leaf_of(array.name, self.marks, metadata.ARRAY)
        chunk = _chunk_shape(row.shape, dtypes.itemsize(row.dtype))
        self.leaves.append(leaf)
        self.entries.append(_zarr(leaf.name, row.dtype, row.shape, chunk))
        if not row.nbytes:
            return
        self.end += -self.end % _ALIGNMENT
        self.placements.append(Placement(array.row, self.end))
        # Chunks are rows, so that they lie behind one another as the array does. The last one is as
        # long as the others: behind the array are zeros.
        nbytes = prod(chunk) * dtypes.itemsize(row.dtype)
        for number in range(-(-row.nbytes // nbytes)):
            key = _chunk_key(leaf.name, chunk, number)
            self.entries.append((key, Outside(self.end, nbytes)))
            self.end += nbytes

    def add_value(self, name: str, value: Any) -> None:
        """Add a plain value: None, or an array without dimensions."""
        if value is None:
            self.leaves.append(metadata.leaf_of(name, self.marks, "None"))
            return
        leaf = metadata.leaf_of(name, self.marks, metadata.SCALAR)
        scalar = np.asarray(value)
        dtype = dtypes.from_numpy(scalar.dtype)
        assert dtype is not None
        self.leaves.append(leaf)
        self.entries.append(_zarr(leaf.name, dtype, (), ()))
        self.entries.append((_chunk_key(leaf.name, (), 0), Inline(scalar.tobytes())))

    def add_empty_containers(self) -> None:
        """Add the containers with marks in which there is nothing."""
        names = [*map(_name_of, self.leaves), *self.marks]
        holders = {holder for name in names for holder in names_around(name)}
        for name, mark in self.marks.items():
            if name and name not in holders:
                kind = _EMPTY.get(mark, "Dict")
                self.leaves.append(metadata.leaf_of(name, self.marks, kind))


def _name_of(leaf: Leaf) -> str:
    return "/".join(leaf.way)


def _chunk_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of chunks: all of an array, or as many of its rows as are not too large."""
    if not shape:
        return ()
    inner = tuple(max(1, n) for n in shape[1:])
    rows = max(1, _CHUNK_BYTES // (prod(inner) * itemsize))
    return (max(1, min(shape[0], rows)), *inner)


def _zarr(
    name: str, dtype: str, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> tuple[bytes, Inline]:
    content = {
        "chunks": list(chunk),
        "compressor": None,
        "dimension_separator": ".",
        "dtype": NAMES[dtype],
        "fill_value": None,
        "filters": None,
        "order": "C",
        "shape": list(shape),
        "zarr_format": 2,
    }
    return f"{name}/.zarray".encode(), Inline(json.dumps(content, separators=(",", ":")).encode())


def _chunk_key(name: str, chunk: tuple[int, ...], number: int) -> bytes:
    places = [number] + [0] * (len(chunk) - 1)
    return f"{name}/{'.'.join(map(str, places))}".encode()


def _require_names(leaves: Sequence[Leaf]) -> None:
    holders = {holder for leaf in leaves for holder in names_around(_name_of(leaf))}
    seen: set[str] = set()
    for leaf in leaves:
        why = _why_not(leaf, holders, seen)
        if why is not None:
            raise CannotConvert(
                f"{_name_of(leaf)[:200]!r} is no name for Orbax: {why}. Nothing was written. "
                "Change it with --rename.",
                name=leaf.name,
            )
        seen.add(leaf.name)


def _why_not(leaf: Leaf, holders: Collection[str], seen: Collection[str]) -> str | None:
    """Return why a leaf cannot have its name; None where it can."""
    if any(part in ("", ".", "..") for part in leaf.way):
        return "a part of it is empty or dots"
    if leaf.name in seen:
        return f"another leaf is called {leaf.name!r} as well"
    if _name_of(leaf) in holders:
        return "another name goes on behind it"
    if len(leaf.name.encode()) > _MAX_NAME_BYTES:
        return f"it has more than {_MAX_NAME_BYTES:,} bytes"
    return None


def _plan_files(contents: _Contents) -> Sequence[FilePlan]:
    now, at = time.time_ns(), contents.end
    file = f"d/{uuid.uuid4().hex}"
    database = build(
        sorted(contents.entries, key=lambda entry: entry[0]),
        data_file=file,
        begin=at,
        uuid=uuid.uuid4().bytes,
        commit_ns=now,
    )
    about = {
        "item_handlers": _HANDLER,
        "metrics": {},
        "performance_metrics": {},
        "init_timestamp_nsecs": now,
        "commit_timestamp_nsecs": now,
        "custom_metadata": {},
    }
    nodes = [(at, database.nodes)]
    return [
        FilePlan(file, at + len(database.nodes), nodes, contents.placements),
        _small(MANIFEST, database.manifest),
        _small(metadata.FILE, metadata.encode(contents.leaves)),
        _small(CHECKPOINT_FILE, json.dumps(about).encode()),
    ]


def _small(name: str, data: bytes) -> FilePlan:
    pieces: list[Piece] = [(0, data)]
    return FilePlan(name, len(data), pieces, ())

"""Orbax checkpoints planned: arrays as zarr in a database, uncompressed, in one data file."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from holdfast.convert.containers import contained
from holdfast.convert.contract import FilePlan, Piece, Placement
from holdfast.convert.naming import require_utf8
from holdfast.convert.orbax import metadata
from holdfast.convert.orbax.element_types import NAMES
from holdfast.convert.orbax.metadata import Leaf
from holdfast.convert.orbax.ocdbt import MANIFEST, Inline, Outside, build
from holdfast.convert.selection import Selection
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
_EMPTY = {"list": "List", "tuple": "Tuple", "dict": "Dict"}

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
    leaves: list[Leaf] = []
    entries: Entries = []
    placements, at = [], 0
    for array in found.arrays:
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
        leaf = metadata.leaf_of(array.name, found.marks, metadata.ARRAY)
        leaves.append(leaf)
        chunk = _chunk_shape(row.shape, dtypes.itemsize(row.dtype))
        entries.append(_zarr(leaf.name, row.dtype, row.shape, chunk))
        if row.nbytes:
            at += -at % _ALIGNMENT
            placements.append(Placement(array.row, at))
            # Chunks are rows, so that they lie behind one another as the array does. The last one
            # is as long as the others: behind the array are zeros.
            nbytes = prod(chunk) * dtypes.itemsize(row.dtype)
            for number in range(-(-row.nbytes // nbytes)):
                entries.append((_chunk_key(leaf.name, chunk, number), Outside(at, nbytes)))
                at += nbytes
    for value in found.values:
        if is_holdable(value.value):
            leaves.append(_of_value(value.name, value.value, found.marks, entries))
    ways = [leaf.way for leaf in leaves] + [tuple(name.split("/")) for name in found.marks]
    holders = {"/".join(way[:n]) for way in ways for n in range(1, len(way))}
    for name, mark in found.marks.items():
        if name and name not in holders:
            # Nothing is in it.
            leaves.append(metadata.leaf_of(name, found.marks, _EMPTY.get(mark, "Dict")))
    _require_names(leaves)
    return _plan_files(leaves, entries, placements, at)


def _of_value(name: str, value: Any, marks: Any, entries: Entries) -> Leaf:
    if value is None:
        return metadata.leaf_of(name, marks, "None")
    leaf = metadata.leaf_of(name, marks, metadata.SCALAR)
    scalar = np.asarray(value)
    dtype = dtypes.from_numpy(scalar.dtype)
    assert dtype is not None
    entries.append(_zarr(leaf.name, dtype, (), ()))
    entries.append((_chunk_key(leaf.name, (), 0), Inline(scalar.tobytes())))
    return leaf


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
    holders = {leaf.way[:n] for leaf in leaves for n in range(1, len(leaf.way))}
    seen: set[str] = set()
    for leaf in leaves:
        why = None
        if any(part in ("", ".", "..") for part in leaf.way):
            why = "a part of it is empty or dots"
        elif leaf.name in seen:
            why = f"another leaf is called {leaf.name!r} as well"
        elif leaf.way in holders:
            why = "another name goes on behind it"
        elif len(leaf.name.encode()) > _MAX_NAME_BYTES:
            why = f"it has more than {_MAX_NAME_BYTES:,} bytes"
        if why is not None:
            raise CannotConvert(
                f"{'/'.join(leaf.way)[:200]!r} is no name for Orbax: {why}. Nothing was written. "
                "Change it with --rename.",
                name=leaf.name,
            )
        seen.add(leaf.name)


def _plan_files(
    leaves: Sequence[Leaf], entries: Entries, placements: Sequence[Placement], at: int
) -> Sequence[FilePlan]:
    now = time.time_ns()
    file = f"d/{uuid.uuid4().hex}"
    database = build(
        sorted(entries, key=lambda entry: entry[0]),
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
    return [
        FilePlan(file, at + len(database.nodes), [(at, database.nodes)], placements),
        _small(MANIFEST, database.manifest),
        _small(metadata.FILE, metadata.encode(leaves)),
        _small(CHECKPOINT_FILE, json.dumps(about).encode()),
    ]


def _small(name: str, data: bytes) -> FilePlan:
    pieces: list[Piece] = [(0, data)]
    return FilePlan(name, len(data), pieces, ())

"""What PyTorch's distributed checkpoint must know of a checkpoint, as text in one of its leaves.

The index says of every entry of the state dict which tensors it is made of, and where each lies:
in which part, at which path. It takes the place of DCP's ``.metadata``, which is a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from holdfast.errors import ManifestDamaged, UsageError

INDEX_KEY = "dcp_index"
SHARDS_KEY = "dcp_shards"
_VERSION = 1
# A path leads through mappings by text and through lists by number.
Path = tuple[str | int, ...]


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where an item lies.

    Attributes:
        part: Number of the part; parts are checkpoints, -1 is the one that has the index.
        path: Keys from the root of that checkpoint.
        opaque: The item is bytes that a planner of the user's own has made.
    """

    part: int
    path: Path
    opaque: bool = False


@final
@dataclass(frozen=True, slots=True)
class PartRef:
    """A checkpoint that is part of another: its run and step, and the id that it must have."""

    run: str
    step: int
    id: str


@final
@dataclass(frozen=True, slots=True)
class Index:
    """The metadata of a checkpoint, where each item of it lies, and in which parts."""

    metadata: Metadata
    places: Mapping[MetadataIndex, Place]
    parts: tuple[PartRef, ...]


def shard_name(offset: Iterable[int] | None) -> str:
    """Return the key of a shard among those of its entry: its offset, ``whole`` for a value."""
    return "whole" if offset is None else ",".join(map(str, offset)) or "scalar"


def encode(index: Index) -> str:
    """Return an index as text.

    Raises:
        UsageError: A planner has put something into it that is not plain.
    """
    entries = {
        name: _encode_entry(name, entry, index.places)
        for name, entry in index.metadata.state_dict_metadata.items()
    }
    content = {
        "version": _VERSION,
        "entries": entries,
        "parts": [[p.run, p.step, p.id] for p in index.parts],
        "planner": _plain_planner(index.metadata.planner_data),
    }
    return json.dumps(content, separators=(",", ":"))


def _encode_entry(name: str, entry: Any, places: Mapping[MetadataIndex, Place]) -> dict[str, Any]:
    if isinstance(entry, BytesStorageMetadata):
        return {"at": _encode_place(places[MetadataIndex(name)])}
    return {
        "dtype": str(entry.properties.dtype).removeprefix("torch."),
        "requires_grad": bool(entry.properties.requires_grad),
        "size": list(entry.size),
        "chunks": [
            {
                "offset": list(chunk.offsets),
                "size": list(chunk.sizes),
                "at": _encode_place(places[MetadataIndex(name, chunk.offsets)]),
            }
            for chunk in entry.chunks
        ],
    }


def _encode_place(place: Place) -> list[Any]:
    return [place.part, list(place.path), *([True] if place.opaque else [])]


def _plain_planner(data: object) -> object:
    if data is None:
        return None
    if not isinstance(data, Mapping) or not all(
        isinstance(path, tuple) and all(type(key) in (str, int) for key in path)
        for path in data.values()
    ):
        raise UsageError(
            "The planner's own data is not what PyTorch's default planner has, names with paths; "
            "holdfast saves no pickles. Nothing was saved. Use a planner that derives from "
            "DefaultSavePlanner and leaves planner_data as it is."
        )
    return {name: list(path) for name, path in data.items()}


def decode(text: str, ref: str) -> Index:
    """Return the index that text is.

    Raises:
        ManifestDamaged: It is none.
    """
    try:
        return _decode(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ManifestDamaged(
            f"The index of {ref} for PyTorch's distributed checkpoints is malformed: {error!r}. "
            "Nothing was changed.",
            record=ref,
        ) from error


def _decode(content: dict[str, Any]) -> Index:
    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']} is not known")
    entries: dict[str, Any] = {}
    places: dict[MetadataIndex, Place] = {}
    for name, entry in content["entries"].items():
        if "at" in entry:
            entries[name] = BytesStorageMetadata()
            places[MetadataIndex(name)] = _decode_place(entry["at"])
            continue
        entries[name] = _decode_tensor(entry)
        for chunk in entry["chunks"]:
            places[MetadataIndex(name, chunk["offset"])] = _decode_place(chunk["at"])
    planner = content["planner"]
    paths = {k: tuple(p) for k, p in planner.items()} if planner is not None else None
    parts = tuple(PartRef(run, step, id_) for run, step, id_ in content["parts"])
    return Index(Metadata(entries, planner_data=paths), places, parts)


def _decode_tensor(entry: dict[str, Any]) -> TensorStorageMetadata:
    dtype = getattr(torch, entry["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{entry['dtype']} is no dtype")
    chunks = [
        ChunkStorageMetadata(torch.Size(c["offset"]), torch.Size(c["size"]))
        for c in entry["chunks"]
    ]
    properties = TensorProperties(dtype=dtype, requires_grad=entry["requires_grad"])
    return TensorStorageMetadata(properties, torch.Size(entry["size"]), chunks)


def _decode_place(found: list[Any]) -> Place:
    part, path, *opaque = found
    return Place(int(part), tuple(path), bool(opaque))

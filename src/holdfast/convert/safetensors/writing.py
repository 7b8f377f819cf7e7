"""safetensors files planned: headers, and where the arrays go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from holdfast.convert.contract import FilePlan, Placement
from holdfast.convert.naming import require_utf8
from holdfast.convert.safetensors.element_types import NAMES
from holdfast.convert.selection import NamedArray, Selection
from holdfast.errors import CannotConvert
from holdfast.format import dtypes

INDEX_SUFFIX = ".safetensors.index.json"
DEFAULT_INDEX = f"model{INDEX_SUFFIX}"
METADATA = "__metadata__"
_ALIGNMENT = 8


def require_place(selection: Selection) -> None:
    """Raise CannotConvert where an array has no place in such files."""
    for array in selection.arrays:
        if array.array.dtype not in NAMES:
            raise CannotConvert(
                f"{array.name!r} has the dtype {array.array.dtype}, which safetensors does not "
                f"know. Nothing was written. To leave it out: --skip {array.name!r}.",
                name=array.name,
            )
        if array.name == METADATA:
            raise CannotConvert(
                f"{array.name!r} is where safetensors has its own notes. Nothing was written. "
                "Give the array another name with --rename.",
                name=array.name,
            )
    require_utf8(selection.names(), "safetensors")


def plan_file(name: str, arrays: Sequence[NamedArray], framework: str) -> FilePlan:
    """Return a file of arrays; ``framework`` is what its metadata say that they are of."""
    # Large elements first, as the library itself orders them, so that all are aligned.
    ordered = sorted(arrays, key=lambda a: (-dtypes.itemsize(a.array.dtype), a.name))
    header: dict[str, Any] = {METADATA: {"format": framework}}
    offset = 0
    for array in ordered:
        end = offset + array.array.nbytes
        header[array.name] = {
            "dtype": NAMES[array.array.dtype],
            "shape": list(array.array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    begin = 8 + len(text)
    placements = [
        Placement(array.row, begin + header[array.name]["data_offsets"][0])
        for array in ordered
        if array.array.nbytes
    ]
    head = len(text).to_bytes(8, "little") + text
    return FilePlan(name, begin + offset, [(0, head)], placements)


def plan_shards(
    arrays: Sequence[NamedArray], shard_bytes: int, framework: str
) -> Sequence[FilePlan]:
    """Return files of at most so many bytes of arrays, unless one is longer, and their index."""
    shards: list[list[NamedArray]] = [[]]
    room = shard_bytes
    for array in arrays:
        if shards[-1] and array.array.nbytes > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(array)
        room -= array.array.nbytes
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    index = {
        "metadata": {"total_size": sum(array.array.nbytes for array in arrays)},
        "weight_map": {
            array.name: name for name, shard in zip(names, shards, strict=True) for array in shard
        },
    }
    text = (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
    plans = [plan_file(name, shard, framework) for name, shard in zip(names, shards, strict=True)]
    return [*plans, FilePlan(DEFAULT_INDEX, len(text), [(0, text)], ())]

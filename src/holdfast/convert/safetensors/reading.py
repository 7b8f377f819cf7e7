"""safetensors files read: headers, with arrays that are read when asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.convert.contract import Imported
from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.safetensors.element_types import DTYPES, SMALL
from holdfast.convert.safetensors.writing import METADATA
from holdfast.convert.shard_index import joined, read_shard_index
from holdfast.errors import CannotConvert, ForeignDamaged
from holdfast.foreign.arrays import ForeignArray

# What the library itself allows.
_MAX_HEADER_BYTES = 100_000_000


def read_file(path: Path) -> Imported:
    """Return what is in a file.

    Raises:
        ForeignDamaged: It is not whole.
        CannotConvert: It has elements that no checkpoint can hold.
    """
    file = ForeignFile(path)
    header = _header(file)
    begin = 8 + int.from_bytes(file.read(0, 8), "little")
    facts = header.pop(METADATA, {})
    tree: dict[str, Any] = {}
    spans = []
    for name, entry in header.items():
        array, first, last = _array(file, name, entry, begin)
        tree[name] = array
        spans.append((first, last))
    _require_no_gaps(file, sorted(spans), begin)
    return Imported(tree, facts if isinstance(facts, dict) else {})


def _header(file: ForeignFile) -> dict[str, Any]:
    length = int.from_bytes(file.read(0, 8), "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, file.size - 8):
        raise _damaged(file, f"its header would have {length} bytes")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    try:
        header = json.loads(file.read(8, length), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"its header cannot be read ({error})") from error
    if not isinstance(header, dict):
        raise _damaged(file, "its header is no mapping")
    return header


def _array(file: ForeignFile, name: str, entry: Any, begin: int) -> tuple[ForeignArray, int, int]:
    if isinstance(entry, dict) and entry.get("dtype") in SMALL:
        raise CannotConvert(
            f"{name!r} of {file.path!r} has elements of {entry['dtype']}, which no checkpoint here "
            "can hold. Nothing was saved.",
            name=name,
        )
    try:
        dtype = DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        first, last = entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, f"the entry {name!r} cannot be read ({error!r})") from error
    numbers = (*shape, first, last)
    if any(type(n) is not int or n < 0 for n in numbers) or len(shape) > 64:
        raise _damaged(file, f"the entry {name!r} has no possible shape or offsets")
    array = file.array("torch", dtype, shape, begin + first)
    if last - first != array.nbytes:
        raise _damaged(file, f"{name!r} has {last - first} bytes, but {array.nbytes} by its shape")
    return array, first, last


def _require_no_gaps(file: ForeignFile, spans: Sequence[tuple[int, int]], begin: int) -> None:
    end = 0
    for first, last in spans:
        if first != end:
            raise _damaged(file, "its arrays overlap, or have gaps between them")
        end = last
    if begin + end != file.size:
        raise _damaged(file, f"it has {file.size} bytes, but {begin + end} by its header")


def read_sharded(path: Path) -> Imported:
    """Return what is in the files of an index.

    Raises:
        ForeignDamaged: Index and files disagree, or something is not there.
    """
    index = read_shard_index(path)
    shards = {name: read_file(file) for name, file in index.files().items()}
    tree = joined(index, {name: shard.tree for name, shard in shards.items()})
    return Imported(tree, {"metadata": index.metadata})


def together(parts: Sequence[Imported], folder: Path) -> Imported:
    """Return what is in files of a folder without an index.

    Raises:
        ForeignDamaged: Two have an array of one name.
    """
    tree: dict[str, Any] = {}
    for part in parts:
        if twice := tree.keys() & part.tree.keys():
            raise ForeignDamaged(
                f"Two files of {str(folder)!r} have an array {sorted(twice)[0]!r}, and there is no "
                "index that says which counts."
            )
        tree |= part.tree
    return Imported(tree)


def _damaged(file: ForeignFile, what: str) -> ForeignDamaged:
    return ForeignDamaged(
        f"{file.path!r} is no whole safetensors file: {what}. Nothing was saved.", path=file.path
    )

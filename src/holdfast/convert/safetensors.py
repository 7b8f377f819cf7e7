"""safetensors: one file, or shards with an index as Hugging Face writes them.

A file is the length of its header in 8 bytes, little-endian; the header, JSON, padded with spaces;
then the arrays, dense and in C order, without gaps. See https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from holdfast.convert.contract import FilePlan, Imported, Placement
from holdfast.convert.foreign_file import ForeignFile
from holdfast.convert.naming import require_utf8
from holdfast.convert.selection import NamedArray, Selection
from holdfast.convert.shard_index import read_shard_index
from holdfast.errors import CannotConvert, ForeignDamaged, UsageError
from holdfast.foreign.arrays import ForeignArray
from holdfast.format import dtypes

INDEX_SUFFIX = ".safetensors.index.json"
DEFAULT_INDEX = f"model{INDEX_SUFFIX}"
# What the library itself allows.
_MAX_HEADER_BYTES = 100_000_000
_ALIGNMENT = 8
_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "complex64": "C64",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
# Elements of less than a byte, which no checkpoint of ours has.
_SMALL = ("F4", "F6_E2M3", "F6_E3M2")
_METADATA = "__metadata__"


@final
class Safetensors:
    """The format ``safetensors``.

    Options for writing: ``shard_bytes`` cuts the arrays into files of at most that size, with an
    index; ``framework`` is what the metadata say the arrays are of (``pt`` if not given).
    """

    name = "safetensors"
    holds_values = False
    options: Sequence[str] = ("shard_bytes", "framework")
    members: Sequence[str] = ("*.safetensors", "*.safetensors.index.json")

    def recognises(self, path: Path) -> bool:
        if path.is_dir():
            return _index_in(path) is not None or any(path.glob("*.safetensors"))
        if path.name.endswith(INDEX_SUFFIX):
            return True
        try:
            file = ForeignFile(path)
            length = int.from_bytes(file.read(0, 8), "little")
            return 2 <= length <= file.size - 8 and file.read(8, 1) == b"{"
        except (OSError, ForeignDamaged):
            return False

    def read(self, path: Path) -> Imported:
        index = _index_in(path) if path.is_dir() else path
        if index is not None and index.name.endswith(INDEX_SUFFIX):
            return _read_sharded(index)
        if path.is_dir():
            files = sorted(path.glob("*.safetensors"))
            return _together([_read_file(file) for file in files], path)
        return _read_file(path)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        for array in selection.arrays:
            if array.array.dtype not in _NAMES:
                raise CannotConvert(
                    f"{array.name!r} has the dtype {array.array.dtype}, which safetensors does not "
                    f"know. Nothing was written. To leave it out: --skip {array.name!r}.",
                    name=array.name,
                )
            if array.name == _METADATA:
                raise CannotConvert(
                    f"{array.name!r} is where safetensors has its own notes. Nothing was written. "
                    "Give the array another name with --rename.",
                    name=array.name,
                )
        require_utf8(selection.names(), "safetensors")
        framework = str(options.get("framework", "pt"))
        shard_bytes = options.get("shard_bytes")
        if shard_bytes is None:
            return [_plan_file("", selection.arrays, framework)]
        if not isinstance(shard_bytes, int) or shard_bytes < 1:
            raise UsageError(f"shard_bytes={shard_bytes!r} is no number of bytes.")
        return _plan_shards(selection.arrays, shard_bytes, framework)


# --- writing ---


def _plan_file(name: str, arrays: Sequence[NamedArray], framework: str) -> FilePlan:
    # Large elements first, as the library itself orders them, so that all are aligned.
    ordered = sorted(arrays, key=lambda a: (-dtypes.itemsize(a.array.dtype), a.name))
    header: dict[str, Any] = {_METADATA: {"format": framework}}
    offset = 0
    for array in ordered:
        end = offset + array.array.nbytes
        header[array.name] = {
            "dtype": _NAMES[array.array.dtype],
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


def _plan_shards(
    arrays: Sequence[NamedArray], shard_bytes: int, framework: str
) -> Sequence[FilePlan]:
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
    plans = [_plan_file(name, shard, framework) for name, shard in zip(names, shards, strict=True)]
    return [*plans, FilePlan(DEFAULT_INDEX, len(text), [(0, text)], ())]


# --- reading ---


def _read_file(path: Path) -> Imported:
    file = ForeignFile(path)
    header = _header(file)
    begin = 8 + int.from_bytes(file.read(0, 8), "little")
    facts = header.pop(_METADATA, {})
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
    if isinstance(entry, dict) and entry.get("dtype") in _SMALL:
        raise CannotConvert(
            f"{name!r} of {file.path!r} has elements of {entry['dtype']}, which no checkpoint here "
            "can hold. Nothing was saved.",
            name=name,
        )
    try:
        dtype = _DTYPES[entry["dtype"]]
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


def _index_in(folder: Path) -> Path | None:
    found = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    return found[0] if len(found) == 1 else None


def _read_sharded(path: Path) -> Imported:
    index = read_shard_index(path)
    shards = {name: _read_file(file) for name, file in index.files().items()}
    for shard, found in shards.items():
        named = {name for name, files in index.places.items() if shard in files}
        if odd := sorted(named ^ found.tree.keys()):
            raise index.damaged(f"it and {shard!r} disagree about {odd[0]!r}")
    tree: dict[str, Any] = {}
    for name, files in index.places.items():
        if len(files) != 1:
            raise index.damaged(f"it has {name!r} in {len(files)} files")
        tree[name] = shards[files[0]].tree[name]
    return Imported(tree, {"metadata": index.metadata})


def _together(parts: Sequence[Imported], folder: Path) -> Imported:
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

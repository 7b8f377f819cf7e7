"""PyTorch's distributed checkpoints: archives, and ``.metadata`` that says what is where.

Names are those of PyTorch's own planner: keys as text, joined by dots, with the path of each beside
it; a list is one value unless there are tensors or mappings in it, and a tuple always is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from holdfast.convert.contract import FilePlan, Imported, Piece
from holdfast.convert.naming import require_distinct
from holdfast.convert.nesting import ArrayAt, nest
from holdfast.convert.pickled_files import begins_with, read_pickled
from holdfast.convert.pickling import Called, Made, Name, Table, pickled
from holdfast.convert.selection import Selection
from holdfast.convert.torch_archive import plan_archive, require_dtype
from holdfast.convert.zip_plan import ZipPlan
from holdfast.foreign import Unknown
from holdfast.foreign.dcp import METADATA
from holdfast.format.part import ArrayRow

_FILE = "__0_0.distcp"
_MODULE = "torch.distributed.checkpoint.metadata"
_STRIDED = Called(Name("torch.serialization", "_get_layout"), ("torch.strided",))
_CONTIGUOUS = Called(Name(_MODULE, "_MEM_FORMAT_ENCODING"), (0,))
_VERSION = "1.0.0"
_Path = tuple[str | int, ...]


@final
class DistributedCheckpoint:
    """The format ``dcp``."""

    name = "dcp"
    holds_values = True
    options: Sequence[str] = ()
    members: Sequence[str] = ("*.distcp", ".metadata")
    keeps_tree = True

    def recognises(self, path: Path) -> bool:
        metadata = path / METADATA if path.is_dir() else path
        return metadata.name == METADATA and begins_with(metadata, 1) == b"\x80"

    def read(self, path: Path) -> Imported:
        return read_pickled(path)

    def read_unknown(self, path: Path, unknown: Unknown) -> Imported:
        return read_pickled(path, unknown)

    def plan(self, selection: Selection, options: Mapping[str, object]) -> Sequence[FilePlan]:
        nested = nest(selection)
        root = nested.value if isinstance(nested.value, dict) else {"value": nested.value}
        items = _items(root, nested.notes, selection.ref)
        rows = selection.part.arrays
        plans: list[ZipPlan] = []
        end = 0
        for item in items:
            plans.append(plan_archive(item.value, rows, end))
            end = plans[-1].base + plans[-1].nbytes
        metadata = pickled(_metadata(items, plans, rows))
        arrays = [placement for plan in plans for placement in plan.arrays]
        data = FilePlan(_FILE, end, (), arrays, "crc32", _Pieces(plans), tuple(nested.notes))
        return [data, FilePlan(METADATA, len(metadata), [(0, metadata)], ())]


@dataclass(frozen=True, slots=True)
class _Item:
    """What has a name of its own, with the path that it was flattened from."""

    name: str
    path: _Path
    value: object


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Everything but the arrays of archives behind one another."""

    plans: Sequence[ZipPlan]

    def __call__(self, sums: Sequence[int]) -> Iterable[Piece]:
        at = 0
        for plan in self.plans:
            yield from plan.pieces(sums[at : at + len(plan.arrays)])
            at += len(plan.arrays)


# --- what has a name ---


def _items(root: Mapping[object, object], notes: list[str], ref: str) -> list[_Item]:
    flattening = _Flattening(notes)
    items = list(flattening.items(root, ()))
    if flattening.turned:
        notes.append(
            f"{flattening.turned} keys that are no texts became texts, as in all files of this kind"
        )
    require_distinct([item.name for item in items], ref)
    return items


@dataclass(slots=True)
class _Flattening:
    notes: list[str]
    turned: int = field(default=0)

    def items(self, value: object, path: _Path) -> Iterator[_Item]:
        name = ".".join(map(str, path))
        if isinstance(value, dict):
            if not value:
                self.notes.append(f"{name or 'the root'}: an empty dict has no place")
            for key, inner in value.items():
                self.turned += not isinstance(key, str)
                yield from self.items(inner, (*path, str(key)))
        elif isinstance(value, list) and not _is_terminal(value):
            for i, inner in enumerate(value):
                yield from self.items(inner, (*path, i))
        else:
            yield _Item(name, path, value)


def _is_terminal(items: list[object]) -> bool:
    return not any(
        isinstance(item, dict | ArrayAt) or (isinstance(item, list) and not _is_terminal(item))
        for item in items
    )


# --- the metadata ---


def _metadata(items: Sequence[_Item], plans: Sequence[ZipPlan], rows: Sequence[ArrayRow]) -> object:
    stored = Table(
        [(_index(item, rows), _stretch(plan)) for item, plan in zip(items, plans, strict=True)]
    )
    state = {
        "state_dict_metadata": {item.name: _described(item, rows) for item in items},
        "planner_data": {item.name: item.path for item in items},
        "storage_data": stored,
        "storage_meta": None,
        "version": _VERSION,
    }
    return Made(Name(_MODULE, "Metadata"), state)


def _described(item: _Item, rows: Sequence[ArrayRow]) -> object:
    if not isinstance(item.value, ArrayAt):
        return Made(Name(_MODULE, "BytesStorageMetadata"))
    row = rows[item.value.row]
    require_dtype(row, item.value.path)
    properties = (Name("torch", row.dtype), _STRIDED, False, _CONTIGUOUS, False)
    chunk = {"offsets": _size((0,) * len(row.shape)), "sizes": _size(row.shape)}
    state = {
        "properties": Made(Name(_MODULE, "TensorProperties"), properties),
        "size": _size(row.shape),
        "chunks": [Made(Name(_MODULE, "ChunkStorageMetadata"), chunk)],
    }
    return Made(Name(_MODULE, "TensorStorageMetadata"), state)


def _index(item: _Item, rows: Sequence[ArrayRow]) -> object:
    state: dict[str, object] = {"fqn": item.name, "index": None}
    if isinstance(item.value, ArrayAt):
        offset = (0,) * len(rows[item.value.row].shape)
        state |= {"index": 0, "offset": _size(offset)}
    return Made(Name(_MODULE, "MetadataIndex"), state)


def _stretch(plan: ZipPlan) -> object:
    state = {"relative_path": _FILE, "offset": plan.base, "length": plan.nbytes}
    return Made(Name("torch.distributed.checkpoint.filesystem", "_StorageInfo"), state)


def _size(shape: tuple[int, ...]) -> object:
    return Called(Name("torch", "Size"), (shape,))

"""``.metadata`` of PyTorch's distributed checkpoints: which stretch of which file holds what."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.convert.dcp.names import Item
from holdfast.convert.nesting import ArrayAt
from holdfast.convert.pickling import Called, Made, Name, Table, pickled
from holdfast.convert.torch_archive import require_dtype
from holdfast.convert.zip_plan import ZipPlan
from holdfast.plan.reads import Row

_MODULE = "torch.distributed.checkpoint.metadata"
_STRIDED = Called(Name("torch.serialization", "_get_layout"), ("torch.strided",))
_CONTIGUOUS = Called(Name(_MODULE, "_MEM_FORMAT_ENCODING"), (0,))
_VERSION = "1.0.0"


def metadata_of(
    items: Sequence[Item], plans: Sequence[ZipPlan], rows: Sequence[Row], file: str
) -> bytes:
    """Return the file ``.metadata``.

    Args:
        items: What has a name.
        plans: The archive of each.
        rows: The arrays of the checkpoint.
        file: Name of the file that the archives are in.

    Raises:
        CannotConvert: PyTorch has no such dtype.
    """
    stored = Table(
        [
            (_index(item, rows), _stretch(plan, file))
            for item, plan in zip(items, plans, strict=True)
        ]
    )
    state = {
        "state_dict_metadata": {item.name: _described(item, rows) for item in items},
        "planner_data": {item.name: item.path for item in items},
        "storage_data": stored,
        "storage_meta": None,
        "version": _VERSION,
    }
    return pickled(Made(Name(_MODULE, "Metadata"), state))


def _described(item: Item, rows: Sequence[Row]) -> object:
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


def _index(item: Item, rows: Sequence[Row]) -> object:
    state: dict[str, object] = {"fqn": item.name, "index": None}
    if isinstance(item.value, ArrayAt):
        offset = (0,) * len(rows[item.value.row].shape)
        state |= {"index": 0, "offset": _size(offset)}
    return Made(Name(_MODULE, "MetadataIndex"), state)


def _stretch(plan: ZipPlan, file: str) -> object:
    state = {"relative_path": file, "offset": plan.base, "length": plan.nbytes}
    return Made(Name("torch.distributed.checkpoint.filesystem", "_StorageInfo"), state)


def _size(shape: tuple[int, ...]) -> object:
    return Called(Name("torch", "Size"), (shape,))

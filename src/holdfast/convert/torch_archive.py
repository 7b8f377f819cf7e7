"""One value as ``torch.save`` writes it since PyTorch 1.6: a zip of a pickle and of storages.

Arrays of a row share a storage, as tied tensors do.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.convert.nesting import ArrayAt
from holdfast.convert.pickling import Asked, Called, Name, pickled
from holdfast.convert.zip_plan import Array, Member, ZipPlan, plan_zip
from holdfast.errors import CannotConvert
from holdfast.foreign.layout import dense_strides
from holdfast.format import dtypes
from holdfast.plan.reads import Row

_STORAGES = {
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}
# Types that came when storages had lost theirs.
_UNTYPED = (
    "uint16",
    "uint32",
    "uint64",
    "complex32",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_WITH_TYPE = Name("torch._utils", "_rebuild_tensor_v3")
_HOOKS = Called(Name("collections", "OrderedDict"), ())
_PREFIX = "archive"


def plan_archive(value: object, rows: Sequence[Row], base: int = 0) -> ZipPlan:
    """Return the archive of a value.

    Args:
        value: Containers, plain values and ``ArrayAt``.
        rows: The arrays of the checkpoint.
        base: Where in the file it begins.

    Raises:
        CannotConvert: PyTorch has no such dtype or value.
    """
    storages: dict[int, int] = {}

    def tensor(array: object) -> object:
        assert isinstance(array, ArrayAt)
        key = storages.setdefault(array.row, len(storages))
        return _tensor(rows[array.row], array.path, str(key))

    pickle = pickled(value, tensor)
    members = [
        Member(f"{_PREFIX}/data.pkl", [pickle]),
        Member(f"{_PREFIX}/.format_version", [b"1"]),
        Member(f"{_PREFIX}/.storage_alignment", [b"64"]),
        Member(f"{_PREFIX}/byteorder", [b"little"]),
        *(
            Member(f"{_PREFIX}/data/{key}", [Array(row, rows[row].nbytes)])
            for row, key in storages.items()
        ),
        Member(f"{_PREFIX}/version", [b"3\n"]),
    ]
    return plan_zip(members, base)


def require_dtype(row: Row, path: str) -> None:
    """Raise CannotConvert where PyTorch has no tensors of a dtype."""
    if row.dtype not in _STORAGES and row.dtype not in _UNTYPED:
        raise CannotConvert(
            f"{path!r} has the dtype {row.dtype}, which PyTorch does not know. Nothing was "
            f"written. To leave it out: --skip {path!r}.",
            path=path,
            dtype=row.dtype,
        )


def _tensor(row: Row, path: str, key: str) -> object:
    require_dtype(row, path)
    strides = dense_strides(row.shape)
    n_elements = row.nbytes // dtypes.itemsize(row.dtype)
    if row.dtype in _STORAGES:
        storage = Asked(("storage", Name("torch", _STORAGES[row.dtype]), key, "cpu", n_elements))
        return Called(_REBUILD, (storage, 0, row.shape, strides, False, _HOOKS))
    untyped = Asked(("storage", Name("torch.storage", "UntypedStorage"), key, "cpu", row.nbytes))
    dtype = Name("torch", row.dtype)
    return Called(_REBUILD_WITH_TYPE, (untyped, 0, row.shape, strides, False, _HOOKS, dtype))

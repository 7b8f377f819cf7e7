"""Rules for PyTorch's tensors, and the small values that stand beside them."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.foreign.arguments import as_int, as_text
from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.build import Builder, Rule
from holdfast.foreign.layout import Box, View
from holdfast.foreign.storages import Storage
from holdfast.format import dtypes
from holdfast.security.numpy_types import array_shape
from holdfast.security.pickle_machine import Call, Global, Items, Persistent
from holdfast.security.pickle_verdicts import shown

_ALIASES = {"float": "float32", "double": "float64", "half": "float16"}
_TYPED = {
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BoolStorage": "bool",
    "BFloat16Storage": "bfloat16",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_CLASSES = (
    Global("torch", "Tensor"),
    Global("torch.nn.parameter", "Parameter"),
    Global("torch.nn.parameter", "Buffer"),
)
_MOST_OFFSET = 1 << 62


def storage_dtype(found: object) -> str | None:
    """Return the elements' dtype of a class of storages; None for the one without a type.

    Raises:
        ValueError: It is no class of storages, or one of a quantised type.
    """
    if found == Global("torch.storage", "UntypedStorage"):
        return None
    if not isinstance(found, Global) or found.module != "torch" or found.name not in _TYPED:
        raise ValueError(f"{shown(found)} is no storage whose elements are plain numbers")
    return _TYPED[found.name]


def torch_dtype(found: object) -> str:
    """Return the name of one of PyTorch's element types, or raise ValueError."""
    name = found.name if isinstance(found, Global) and found.module == "torch" else ""
    name = _ALIASES.get(name, name)
    dtypes.itemsize(name)
    return name


def _tensor(builder: Builder, call: Call) -> object:
    storage, offset, size, stride = call.args[:4]
    metadata = call.args[6] if len(call.args) > 6 else None
    if isinstance(metadata, Items) and metadata.pairs:
        builder.refuse("a tensor that is to be conjugated or negated on load is there; resolve it")
    return _view(builder, storage, offset, size, stride, None)


def _tensor_with_dtype(builder: Builder, call: Call) -> object:
    storage, offset, size, stride = call.args[:4]
    return _view(builder, storage, offset, size, stride, torch_dtype(call.args[6]))


def _view(
    builder: Builder,
    storage: object,
    offset: object,
    size: object,
    stride: object,
    dtype: str | None,
) -> ForeignArray:
    if not isinstance(storage, Persistent):
        raise ValueError("a tensor without a storage")
    found = builder.loader.storage(storage.key)
    name = dtype or found.dtype or "uint8"
    shape, strides = sizes(size), sizes(stride)
    if len(shape) != len(strides):
        raise ValueError("as many strides as dimensions are needed")
    itemsize = dtypes.itemsize(name)
    begin = as_int(offset) * itemsize
    view = View(found.source, found.offset + begin, shape, strides, found.number, found.big_endian)
    _check_bounds(found, begin, view.span_elems() * itemsize)
    return builder.array(boxed_array(name, shape, (Box((0,) * len(shape), view),), "torch"))


def _check_bounds(storage: Storage, begin: int, nbytes: int) -> None:
    if not 0 <= begin <= _MOST_OFFSET or (nbytes and begin + nbytes > storage.nbytes):
        raise ValueError(
            f"a tensor reaches to byte {begin + nbytes} of a storage of {storage.nbytes} bytes"
        )


def sizes(value: object) -> tuple[int, ...]:
    """Return what is a ``torch.Size`` or a tuple of dimensions, or raise ValueError."""
    if isinstance(value, Call) and value.function == Global("torch", "Size"):
        value = value.args[0] if value.args else ()
    return array_shape(tuple(value) if isinstance(value, list) else value)


def _parameter(builder: Builder, call: Call) -> object:
    if len(call.args) > 3 and call.args[3]:
        builder.note(str(call.function), "array, without its attributes")
    return _as_array(builder, call.args[0])


def _of_type(builder: Builder, call: Call) -> object:
    function, cls, args, state = call.args
    if not isinstance(args, tuple) or not isinstance(cls, Global):
        raise ValueError("a tensor without its parts")
    if cls not in _CLASSES:
        builder.note(str(cls), "array")
        if builder.unknown == "refuse":
            builder.refuse(f"a {cls} is there, which is a tensor with more to it")
    elif state:
        builder.note(str(cls), "array, without its attributes")
    return _as_array(builder, Call("call", function, args, call.position))


def _from_numpy(builder: Builder, call: Call) -> object:
    found = _as_array(builder, call.args[0])
    if found.dtype != torch_dtype(call.args[1]):
        builder.refuse(f"a tensor is there that was saved as an array of {found.dtype}")
    return found


def _as_array(builder: Builder, item: object) -> ForeignArray:
    found = builder.called(item) if isinstance(item, Call) else None
    if not isinstance(found, ForeignArray):
        raise ValueError("no tensor")
    return found


def _refused(why: str) -> Rule:
    def rule(builder: Builder, call: Call) -> object:
        builder.refuse(why)

    return rule


def _device(builder: Builder, call: Call) -> object:
    kind, *index = call.args
    builder.note("torch.device", "its name")
    return ":".join([as_text(kind), *(str(as_int(n)) for n in index if n is not None)])


def _size(builder: Builder, call: Call) -> object:
    return sizes(call)


def _layout(builder: Builder, call: Call) -> object:
    builder.note("torch.layout", "its name")
    return as_text(call.args[0])


def persistent_storage(key: object) -> tuple[str | None, str, int, Sequence[object]]:
    """Return dtype, name, number of elements of a storage, and what else its id says.

    Raises:
        ValueError: It is no id of a storage.
    """
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise ValueError("it asks its loader for something that is no tensor's storage")
    count = as_int(key[4])
    if not 0 <= count <= _MOST_OFFSET:
        raise ValueError("a storage of a size that cannot be")
    return storage_dtype(key[1]), as_text(key[2]), count, key[5:]


_SPARSE = "a sparse tensor is there; save it as to_dense(), or its indices and values"
_QUANTISED = "a quantised tensor is there; save it as int_repr() with its scales"
_META = "a tensor without data, of the device 'meta', is there"
TORCH_RULES: dict[str, Rule] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy,
    "torch._utils._rebuild_sparse_tensor": _refused(_SPARSE),
    "torch._utils._rebuild_qtensor": _refused(_QUANTISED),
    "torch._utils._rebuild_meta_tensor_no_storage": _refused(_META),
    "torch.device": _device,
    "torch.Size": _size,
    "torch.serialization._get_layout": _layout,
}

"""NumPy arrays, and long byte strings and texts, as leaves."""

from __future__ import annotations

import ctypes
from collections.abc import Hashable
from typing import Any

import numpy as np

from holdfast.errors import MissingDependency, UnsupportedLeaf
from holdfast.format import dtypes
from holdfast.state.arrays import ArraySpec, register_adapter
from holdfast.state.overlap import shares_elements

# Shorter ones stand in the manifest itself.
LONG_BYTES = 4096


def as_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """Return a C-contiguous array's memory as bytes; writable where the array is."""
    if not array.nbytes:
        return memoryview(bytearray())
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def memory_at(address: int, nbytes: int) -> memoryview:
    """Return memory as writable bytes; who uses it keeps its owner alive."""
    return memoryview((ctypes.c_ubyte * nbytes).from_address(address)).cast("B")


class NumpyAdapter:
    """Arrays of NumPy, memory maps and structured arrays among them."""

    framework = "numpy"
    mutable = True

    def is_array(self, value: object) -> bool:
        return isinstance(value, np.ndarray)

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        name = dtypes.from_numpy(value.dtype)
        if name is None:
            raise UnsupportedLeaf(
                f"{path!r} is a NumPy array of {value.dtype}, which the format cannot hold: it has "
                "Python objects, which holdfast never pickles, or a layout that NumPy cannot "
                "describe. Nothing was saved. Convert it to a numeric or fixed-width text dtype, "
                f"or leave it out with skip={path!r}.",
                path=path,
            )
        if type(value) is not np.ndarray and type(value) is not np.memmap:
            raise UnsupportedLeaf(
                f"{path!r} is a {type(value).__name__}; of NumPy's array classes only ndarray "
                "and memmap can be restored as they were. Save its parts instead.",
                path=path,
            )
        nbytes = value.nbytes
        spec = ArraySpec("numpy", name, value.shape, nbytes)
        if not nbytes:
            return spec, None, None
        address = value.__array_interface__["data"][0]
        contiguous = value.flags.c_contiguous
        layout = None if contiguous else value.strides
        return spec, (address, name, value.shape, layout), address if contiguous else None

    def count_changes(self, value: Any) -> None:
        return None

    def export(self, value: Any, into: memoryview) -> None:
        if value.nbytes:
            np.copyto(np.frombuffer(into, value.dtype).reshape(value.shape), value)

    def is_writable(self, value: Any) -> bool:
        if value.flags.c_contiguous or not value.flags.writeable:
            return bool(value.flags.writeable)
        return not shares_elements(value.shape, value.strides, value.itemsize)

    def assign(self, value: Any, data: memoryview) -> None:
        if value.nbytes:
            np.copyto(value, np.frombuffer(data, value.dtype).reshape(value.shape))

    def converts(self, dtype: str, into: str) -> bool:
        one, other = dtypes.to_numpy(dtype), dtypes.to_numpy(into)
        # Floats lose digits, which is what is asked for; of integers the value itself could go.
        if one.kind in "iu" and other.kind in "iu":
            return np.can_cast(one, other, casting="safe")
        return np.can_cast(one, other, casting="same_kind")

    def convert_into(self, target: Any, value: Any) -> None:
        np.copyto(target, value, casting="same_kind")

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        try:
            dtype = dtypes.to_numpy(spec.dtype)
        except ImportError as error:
            raise MissingDependency(
                f"NumPy arrays of {spec.dtype} need ml_dtypes: "
                "pip install 'holdfast[low-precision]'.",
                package="ml_dtypes",
            ) from error
        array = np.empty(spec.shape, dtype)
        return array, as_bytes(array)

    def finish(self, value: Any, like: Any | None) -> Any:
        return value


class LongBytesAdapter:
    """``bytes`` and ``str`` too long for the manifest, stored as arrays of bytes."""

    mutable = False

    def __init__(self, framework: str, kind: type[bytes] | type[str]) -> None:
        self.framework = framework
        self._kind = kind

    def is_array(self, value: object) -> bool:
        return type(value) is self._kind and len(value) > LONG_BYTES

    def describe(self, value: Any, path: str) -> tuple[ArraySpec, Hashable | None, int | None]:
        size = len(self._bytes(value))
        return ArraySpec(self.framework, "uint8", (size,), size), None, None

    def count_changes(self, value: Any) -> None:
        return None

    def export(self, value: Any, into: memoryview) -> None:
        into[:] = self._bytes(value)

    def is_writable(self, value: Any) -> bool:
        return False

    def assign(self, value: Any, data: memoryview) -> None:
        raise AssertionError("immutable")

    def create(self, spec: ArraySpec, like: Any | None) -> tuple[Any, memoryview]:
        buffer = bytearray(spec.nbytes)
        return buffer, memoryview(buffer)

    def finish(self, value: Any, like: Any | None) -> Any:
        return bytes(value) if self._kind is bytes else value.decode("utf-8", "surrogatepass")

    def _bytes(self, value: bytes | str) -> bytes:
        return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


register_adapter(NumpyAdapter())
register_adapter(LongBytesAdapter("bytes", bytes))
register_adapter(LongBytesAdapter("str", str))

"""Plain values as attributes of HDF5, and attributes as plain values.

None is an empty attribute, bool the enum that h5py makes of it, int and float are of 64 bits,
complex the pair that h5py makes, str a text of variable length in UTF-8, bytes an opaque value.
NumPy's scalars keep their type; those of the types named before come back as Python's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.convert.hdf5.library import h5py_library
from holdfast.convert.naming import is_utf8
from holdfast.convert.text_tensors import has_room
from holdfast.state.values import INT64_MAX, INT64_MIN

# More bytes have no place in an attribute of one object header message.
_MAX_BYTES = 60_000
# How h5py names what is read, to Python's own types.
_PYTHON = {np.bool_: bool, np.int64: int, np.float64: float, np.complex128: complex}


class NotPlain(Exception):
    """An attribute is no plain value: it refers to other objects, say."""


def is_holdable(value: object) -> bool:
    """Say whether a plain value has a place in an attribute."""
    if value is None or isinstance(value, bool | float | complex):
        return True
    if isinstance(value, int):
        return INT64_MIN <= value <= INT64_MAX
    if isinstance(value, str):
        return "\0" not in value and is_utf8(value) and len(value) < _MAX_BYTES
    if isinstance(value, bytes):
        return len(value) < _MAX_BYTES
    return isinstance(value, np.number | np.bool_) and value.dtype.kind in "biufc"


def to_attribute(value: Any) -> Any:
    """Return what h5py is given for a value that is holdable."""
    if value is None:
        return h5py_library().Empty("u1")
    if isinstance(value, bytes):
        return np.void(value) if value else h5py_library().Empty(np.dtype("V1"))
    if isinstance(value, np.generic):
        return value
    if isinstance(value, str):
        return str(value)
    for numpy_type, python_type in _PYTHON.items():
        if type(value) is python_type:
            return numpy_type(value)
    return value


def from_attribute(value: Any) -> Any:
    """Return the plain value or the small array of what h5py gives for an attribute.

    Raises:
        NotPlain: It is neither.
    """
    if isinstance(value, h5py_library().Empty):
        kind = value.dtype.kind
        return b"" if kind == "V" else "" if kind in "SO" else None
    if isinstance(value, np.ndarray):
        return _of_array(value)
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, np.void):
        if value.dtype.fields is not None:
            return _of_array(np.array(value))
        return value.tobytes()
    if isinstance(value, np.generic):
        python_type = _PYTHON.get(type(value))
        return python_type(value.item()) if python_type else value
    if isinstance(value, str):
        return value
    raise NotPlain(type(value).__name__)


def _of_array(value: np.ndarray[Any, Any]) -> Any:
    if value.dtype.hasobject or value.dtype.kind in "SU":
        if not has_room(value.shape):
            raise NotPlain("more empty lists than have a place in memory")
        return _texts(value.tolist())
    return np.ascontiguousarray(value).reshape(value.shape)


def _texts(item: Any) -> Any:
    if isinstance(item, list):
        return [_texts(part) for part in item]
    if isinstance(item, bytes):
        return _text(item)
    if isinstance(item, str):
        return item
    raise NotPlain(type(item).__name__)


def _text(value: bytes) -> str | bytes:
    try:
        return str(bytes(value), "utf-8")
    except UnicodeDecodeError:
        return bytes(value)

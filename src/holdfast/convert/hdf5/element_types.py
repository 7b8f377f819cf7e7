"""Element types in HDF5: what it has is stored as it is, what it lacks as bits with a name beside.

The rule: a type that HDF5 knows (integers, IEEE floats of 16 to 64 bits, bool, complex, fixed
bytes, structures of these) is stored as h5py would. Any other (bfloat16, the float8 kinds,
complex32, dates, texts of NumPy) is stored as unsigned integers of the same size, or where there
are none, as bytes along one more dimension; the attribute ``holdfast.dtype`` names it. Nothing is
ever rounded.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from holdfast.convert.hdf5.library import h5py_library
from holdfast.format import dtypes

DTYPE_ATTRIBUTE = "holdfast.dtype"
_UNSIGNED = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}


def stored_as(name: str, shape: tuple[int, ...]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return NumPy's dtype and the shape to store arrays of a type with.

    Returns:
        The dtype, the shape, and whether the name must stand beside.
    """
    if native := _native(name):
        return native, shape, False
    size = dtypes.itemsize(name)
    if size in _UNSIGNED:
        return np.dtype(_UNSIGNED[size]), shape, True
    return np.dtype("u1"), (*shape, size), True


@lru_cache(maxsize=1024)
def _native(name: str) -> np.dtype[Any] | None:
    if name.startswith(("float8", "bfloat", "complex32")):
        return None
    dtype = dtypes.to_numpy(name)
    if not _is_known(dtype):
        return None
    h5t = h5py_library().h5t
    try:
        made = h5t.py_create(dtype, logical=True)
    except (TypeError, ValueError):
        return None
    # Only what comes back as it went, byte for byte, is stored as it is.
    return dtype if made.dtype == dtype and made.get_size() == dtype.itemsize else None


def _is_known(dtype: np.dtype[Any]) -> bool:
    if dtype.fields is not None:
        return all(_is_known(field[0]) for field in dtype.fields.values())
    if dtype.subdtype is not None:
        return _is_known(dtype.subdtype[0])
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        # Long doubles differ from machine to machine.
        return False
    return dtype.kind in "biufc" or (dtype.kind == "S" and dtype.itemsize > 0)


def named_type(
    name: str, shape: tuple[int, ...], itemsize: int
) -> tuple[str, tuple[int, ...]] | None:
    """Return type and shape of an array with a name beside; None where they cannot be.

    Args:
        name: As it stands beside.
        shape: As stored.
        itemsize: Bytes of a stored element.
    """
    try:
        size = dtypes.itemsize(name)
    except ValueError:
        return None
    if size == itemsize:
        return name, shape
    if itemsize == 1 and shape and shape[-1] == size and prod(shape[:-1]) >= 0:
        return name, shape[:-1]
    return None


def found_type(dtype: np.dtype[Any]) -> tuple[str | None, tuple[int, ...]]:
    """Return our name of the dtype of a dataset, None if there is none, and its inner shape."""
    inner: tuple[int, ...] = ()
    if dtype.subdtype is not None:
        dtype, inner = dtype.subdtype
    # h5py hangs what it knows besides (enums, texts) onto the dtype.
    plain = np.dtype(dtype.str) if dtype.fields is None else dtype
    return dtypes.from_numpy(plain), inner

"""Rules for NumPy's arrays and scalars, and the arrays of joblib."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from holdfast.foreign.arguments import exactly
from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.build import Builder, Rule
from holdfast.foreign.layout import Box, View, dense_strides
from holdfast.foreign.sources import Source
from holdfast.format import dtypes
from holdfast.security import joblib_arrays
from holdfast.security.numpy_types import array_shape, numpy_dtype
from holdfast.security.pickle_machine import Call, Global
from holdfast.security.pickle_opcodes import Bulk
from holdfast.security.pickle_verdicts import shown

_ARRAYS = (Global("numpy", "ndarray"), Global("numpy", "matrix"))


def stored_array(
    builder: Builder,
    source: Source,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    fortran: bool,
) -> ForeignArray:
    """Return the array whose bytes lie densely in a source, or refuse its type."""
    name = dtypes.from_numpy(dtype)
    if name is None:
        builder.refuse(f"an array of {dtype} is there, which no format of arrays can hold")
    strides = dense_strides(shape, fortran=fortran)
    view = View(source, offset, shape, strides, builder.new_storage())
    return builder.array(boxed_array(name, shape, (Box((0,) * len(shape), view),)))


def _reconstructed(builder: Builder, call: Call) -> object:
    subtype = call.args[0]
    if subtype not in _ARRAYS:
        if builder.unknown == "refuse" or not isinstance(subtype, Global):
            builder.refuse(f"a {shown(subtype)} is there, which is an array with more to it")
        builder.note(str(subtype), "array")
    state = call.state
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise ValueError("an array without a state")
    shape, dtype, fortran, data = state[-4:]
    return _array(builder, data, numpy_dtype(dtype), array_shape(shape), fortran=fortran is True)


def _array(
    builder: Builder,
    data: object,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    fortran: bool,
) -> object:
    if dtype.hasobject:
        if dtype != np.dtype(object) or not isinstance(data, list):
            builder.refuse("an array whose elements have fields of objects is there")
        return _nested(builder, data, shape, fortran=fortran)
    source, offset, nbytes = builder.stored(data)
    if nbytes != prod(shape) * dtype.itemsize:
        raise ValueError(f"{nbytes} bytes are no {dtype}{list(shape)}")
    return stored_array(builder, source, offset, dtype, shape, fortran=fortran)


def _nested(
    builder: Builder, items: list[object], shape: tuple[int, ...], *, fortran: bool
) -> object:
    """Return an array of objects as nested lists."""
    if len(items) != prod(shape):
        raise ValueError(f"{len(items)} objects are no array of {list(shape)}")
    builder.note("numpy.ndarray of objects", "list")
    made: list[object] = [builder.value(item, str(i)) for i, item in enumerate(items)]
    order = list(reversed(shape)) if fortran else list(shape)
    if not order:
        return made[0]
    places: Any = np.arange(len(made)).reshape(order)
    return _picked(made, (places.T if fortran else places).tolist())


def _picked(made: list[object], places: Any) -> object:
    if isinstance(places, int):
        return made[places]
    return [_picked(made, inner) for inner in places]


def _from_buffer(builder: Builder, call: Call) -> object:
    data, dtype, shape, order = exactly(call, 4)
    found = numpy_dtype(dtype)
    if found.hasobject:
        raise ValueError("objects in a buffer")
    return _array(builder, data, found, array_shape(shape), fortran=order == "F")


def _scalar(builder: Builder, call: Call) -> object:
    described, data = exactly(call, 2)
    dtype = numpy_dtype(described)
    if dtype.hasobject:
        builder.refuse("a scalar of NumPy is there that is an object")
    found = builder.bytes_of(data)
    if len(found) != dtype.itemsize:
        raise ValueError(f"{len(found)} bytes are no {dtype}")
    return np.frombuffer(found, dtype)[0] if found else np.zeros((), dtype)[()]


def _dtype(builder: Builder, call: Call) -> object:
    builder.note("numpy.dtype", "its name")
    dtype = numpy_dtype(call)
    return dtypes.from_numpy(dtype) or dtype.str


def _of_joblib(builder: Builder, call: Call) -> object:
    shape, dtype = joblib_arrays.described(call)
    (held,) = call.filled
    if not isinstance(held, Bulk):
        # An array of objects is a pickle of its own, of a whole array.
        return builder.value(held)
    fortran = joblib_arrays.is_fortran(call)
    return stored_array(builder, builder.source, held.position, dtype, shape, fortran=fortran)


NUMPY_RULES: dict[str, Rule] = {
    "numpy.dtype": _dtype,
    str(joblib_arrays.WRAPPER): _of_joblib,
    **{
        f"{core}.{name}": rule
        for core in ("numpy.core", "numpy._core")
        for name, rule in {
            "multiarray._reconstruct": _reconstructed,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
}

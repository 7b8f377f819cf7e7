"""Arrays in files of joblib: their bytes lie between the opcodes of the pickle."""

from __future__ import annotations

from math import prod
from typing import Any, BinaryIO, cast

import numpy as np

from holdfast.errors import PickleMalformed
from holdfast.security.numpy_types import array_shape, numpy_dtype
from holdfast.security.pickle_machine import Call, Global, Items, Program, follow
from holdfast.security.pickle_opcodes import MOST_BYTES, Bulk

WRAPPER = Global("joblib.numpy_pickle", "NumpyArrayWrapper")
_DEPTH = 20


def skip_array(built: object, file: BinaryIO, program: Program, depth: int = 0) -> None:
    """Move a file on past the bytes of an array, if what was built announces one.

    Where they are is noted in what the array would be filled with: a ``Bulk``, or what an array of
    objects holds, which is another pickle, and becomes part of the program.

    Raises:
        ValueError: What is announced makes no sense.
    """
    if not isinstance(built, Call) or built.function != WRAPPER or built.state is None:
        return
    shape, dtype = described(built)
    if dtype.hasobject:
        if depth > _DEPTH:
            raise ValueError("arrays of objects that are too deep")
        built.filled.append(_follow_inner(file, program, depth + 1))
        return
    if _state(built).get("numpy_array_alignment_bytes"):
        padding = file.read(1)
        file.seek(file.tell() + (padding[0] if padding else 0))
    begin, nbytes = file.tell(), prod(shape) * dtype.itemsize
    if nbytes > MOST_BYTES:
        raise ValueError("an array larger than any file")
    file.seek(begin + nbytes)
    built.filled.append(Bulk(begin, nbytes))


def _follow_inner(file: BinaryIO, program: Program, depth: int) -> object:
    malformed = ""
    try:
        inner = follow(file, lambda b, f, p: skip_array(b, f, p, depth))
    except PickleMalformed as error:
        inner, malformed = cast(Program, error.facts["program"]), error.message
    # What it does until it breaks off is told, too.
    program.imports += inner.imports
    program.calls += inner.calls
    if malformed:
        raise ValueError(f"in an array of objects: {malformed}")
    return inner.result


def described(wrapper: Call) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that a wrapper announces, or raise ValueError."""
    state = _state(wrapper)
    return array_shape(state.get("shape")), numpy_dtype(state.get("dtype"))


def is_fortran(wrapper: Call) -> bool:
    """Say whether an array's bytes are in the order of columns."""
    return _state(wrapper).get("order") == "F"


def _state(wrapper: Call) -> dict[str, object]:
    if not isinstance(wrapper.state, Items):
        raise ValueError("an array without a description")
    return {key: value for key, value in wrapper.state.pairs if isinstance(key, str)}

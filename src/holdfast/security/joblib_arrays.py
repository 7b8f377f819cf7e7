"""Arrays in files of joblib: their bytes lie between the opcodes of the pickle."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from holdfast.security.pickle_machine import Call, Global, Items, Program, follow

_DEPTH = 20
_WRAPPER = Global("joblib.numpy_pickle", "NumpyArrayWrapper")


def skip_array(built: object, file: BinaryIO, program: Program) -> None:
    """Move a file on past the bytes of an array, if what was built announces one.

    An array of objects is another pickle; it becomes part of the program.

    Raises:
        ValueError: What is announced makes no sense.
    """
    if not isinstance(built, Call) or built.function != _WRAPPER or built.state is None:
        return
    state = dict(_pairs(built.state))
    dtype = _dtype(state.get("dtype"))
    if dtype.hasobject or _has_objects(state.get("dtype")):
        inner = follow(file, skip_array)
        program.imports += inner.imports
        program.calls += inner.calls
        return
    shape = state.get("shape")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    if state.get("numpy_array_alignment_bytes"):
        padding = file.read(1)
        file.seek(file.tell() + (padding[0] if padding else 0))
    nbytes = dtype.itemsize
    for n in shape:
        nbytes *= n
    file.seek(file.tell() + nbytes)


def _has_objects(value: object, depth: int = 0) -> bool:
    """Say whether the description of a type, however deep, has one of objects in it."""
    if depth > _DEPTH:
        raise ValueError("a type that is too deep")
    if isinstance(value, Call):
        is_object = bool(value.args) and isinstance(value.args[0], str) and "O" in value.args[0]
        return is_object or _has_objects(value.state, depth + 1)
    if isinstance(value, Items):
        return any(_has_objects(item, depth + 1) for pair in value.pairs for item in pair)
    if isinstance(value, list | tuple):
        return any(_has_objects(item, depth + 1) for item in value)
    return False


def _pairs(state: object) -> list[tuple[object, object]]:
    if not isinstance(state, Items):
        raise ValueError("an array without a description")
    return [(key, value) for key, value in state.pairs if isinstance(key, str)]


def _dtype(value: object) -> np.dtype[np.generic]:
    if not isinstance(value, Call) or not value.args or not isinstance(value.args[0], str):
        raise ValueError("an array without a type")
    return np.dtype(value.args[0])

"""The headers of NumPy's array files, whatever stands in them."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from holdfast.security.numpy_types import array_shape

# NumPy's reader takes the header for Python's source, without running it.
_TROUBLE = (
    ValueError,
    TypeError,
    KeyError,
    MemoryError,
    SyntaxError,
    OverflowError,
    RecursionError,
    tokenize.TokenError,
)


def read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type of the array that a file begins with.

    Raises:
        ValueError: It begins with none, or with one of a version that is not known.
    """
    try:
        version = np.lib.format.read_magic(file)
        reader = _READERS.get(version)
        if reader is None:
            raise ValueError(f"version {version} is not known")
        shape, is_fortran, dtype = reader(file)
        return array_shape(shape), bool(is_fortran), dtype
    except _TROUBLE as error:
        # The first line says why. NumPy's others advise to trust the file, with its pickles.
        why = str(error).partition("\n")[0]
        raise ValueError(f"its header makes no sense: {why}") from error


def _read_utf8(file: BinaryIO) -> tuple[object, object, np.dtype[Any]]:
    """Read a header of the version for names of fields in any letters, which NumPy keeps private.

    NumPy's own limit of its length is kept: what is longer is no header that anybody means.
    """
    length = int.from_bytes(file.read(4), "little")
    text = file.read(min(length, _MOST_CHARACTERS + 1))
    if len(text) != length:
        raise ValueError("it is too long, or cut short")
    found = ast.literal_eval(text.decode())
    if not isinstance(found, dict) or found.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("it does not say what it has to")
    return found["shape"], found["fortran_order"], np.lib.format.descr_to_dtype(found["descr"])


_MOST_CHARACTERS = 10_000
_READERS: dict[tuple[int, int], Callable[[BinaryIO], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): _read_utf8,
}

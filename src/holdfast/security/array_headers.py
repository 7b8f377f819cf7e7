"""The headers of NumPy's array files, whatever stands in them."""

from __future__ import annotations

import tokenize
from typing import Any, BinaryIO

import numpy as np

from holdfast.security.numpy_types import array_shape

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy's reader takes the header for Python's source, without running it.
_TROUBLE = (
    ValueError,
    TypeError,
    KeyError,
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
        raise ValueError(f"its header makes no sense: {error}") from error

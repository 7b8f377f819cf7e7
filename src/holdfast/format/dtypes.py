"""Names of element types, common to all frameworks, and their sizes.

Common types have the names that NumPy, PyTorch and JAX share (``float32``, ``bfloat16``,
``float8_e4m3fn``). Types that only NumPy has are ``np:`` followed by NumPy's own description
(``np:<U8``, ``np:>f4``, ``np:<M8[ns]``, or the descr of a structured type as JSON).
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

# NumPy is imported where it is used: manifests are read without, and it takes long.
if TYPE_CHECKING:
    import numpy as np

NUMPY_PREFIX = "np:"

_SIZES = {
    "bool": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}
_NATIVE_NUMPY = frozenset(
    name for name in _SIZES if not name.startswith(("float8", "bfloat", "complex32"))
)


@lru_cache(maxsize=1024)
def itemsize(name: str) -> int:
    """Return the bytes of one element.

    Raises:
        ValueError: No such type.
    """
    if name in _SIZES:
        return _SIZES[name]
    if name.startswith(NUMPY_PREFIX):
        return to_numpy(name).itemsize
    raise ValueError(f"unknown dtype {name!r}")


@lru_cache(maxsize=1024)
def from_numpy(dtype: np.dtype[Any]) -> str | None:
    """Return the name of a NumPy dtype, or None where none would bring it back as it is."""
    import numpy as np

    if dtype.hasobject:
        return None
    if dtype.isnative and dtype.name in _SIZES:
        return dtype.name
    try:
        descr = np.lib.format.dtype_to_descr(dtype)
        name = NUMPY_PREFIX + (json.dumps(descr) if dtype.fields is not None else dtype.str)
        return name if to_numpy(name) == dtype else None
    except (ValueError, TypeError):
        return None


@lru_cache(maxsize=1024)
def to_numpy(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of that name.

    ``bfloat16`` and the float8 kinds come from the package ``ml_dtypes``.

    Raises:
        ValueError: NumPy has no such type.
        ImportError: The type needs ``ml_dtypes``, which is not installed.
    """
    import numpy as np

    if name in _NATIVE_NUMPY:
        return np.dtype(name)
    if name.startswith(NUMPY_PREFIX):
        return _parse_descr(name[len(NUMPY_PREFIX) :])
    if name in _SIZES and name != "complex32":
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
    raise ValueError(f"NumPy has no dtype {name!r}")


def _parse_descr(text: str) -> np.dtype[Any]:
    import numpy as np

    try:
        descr = _tuples(json.loads(text)) if text.startswith("[") else text
        dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(descr)  # type: ignore[arg-type]
    except (TypeError, ValueError, LookupError, SyntaxError, RecursionError) as error:
        raise ValueError(f"unknown NumPy dtype {text!r}") from error
    if dtype.hasobject:
        raise ValueError(f"dtype {text!r} holds Python objects")
    return dtype


def _tuples(descr: Any) -> Any:
    # JSON knows no tuples: fields are [name, type] or [name, type, shape], a list of which is one
    # structured type; a [title, name] pair stands in the place of a name.
    def field(item: Any) -> tuple[Any, ...]:
        name = tuple(item[0]) if isinstance(item[0], list) else item[0]
        kind = _tuples(item[1]) if isinstance(item[1], list) else item[1]
        return (name, kind, *(tuple(shape) for shape in item[2:]))

    return [field(item) for item in descr]


def is_plain_numpy(name: str) -> bool:
    """Say whether NumPy has the type of itself, without another package.

    >>> is_plain_numpy("float16"), is_plain_numpy("np:<U8"), is_plain_numpy("bfloat16")
    (True, True, False)
    """
    return name in _NATIVE_NUMPY or name.startswith(NUMPY_PREFIX)

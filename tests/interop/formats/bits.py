"""Arrays of every dtype by their bits, and comparisons that do not forgive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

COMMON = [
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def array(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    dtype = dtype_of(name)
    raw = np.random.default_rng(seed).integers(0, 256, (*shape, dtype.itemsize), dtype="u1")
    if dtype == np.bool_:
        raw &= 1
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape).copy()


def arrays(dtypes: list[str]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
    return st.builds(array, st.sampled_from(dtypes), shapes, st.integers(0, 99))


def trees(
    keys: st.SearchStrategy[str],
    leaves: st.SearchStrategy[Any],
    more: Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]] = lambda inner: st.nothing(),
) -> st.SearchStrategy[dict[str, Any]]:
    """Trees of mappings, lists and what more makes of what is in it."""

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        mappings = st.dictionaries(keys, inner, max_size=3)
        return mappings | st.lists(inner, max_size=3) | more(inner)

    nested = st.recursive(leaves, containers, max_leaves=8)
    return st.dictionaries(keys, nested, min_size=1, max_size=4)


def same(first: Any, second: Any) -> bool:
    """Say whether two trees are the same in containers, types and bits."""
    if isinstance(first, np.ndarray):
        return (
            isinstance(second, np.ndarray)
            and (first.dtype, first.shape) == (second.dtype, second.shape)
            and first.tobytes() == second.tobytes()
        )
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second) or (first != first and second != second)

"""States of tensors and values for round trips, and how two of them are compared, bit for bit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
]


def tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    raw = np.random.default_rng(seed).integers(0, 256, size=(*shape, dtype.itemsize), dtype="u1")
    if dtype == torch.bool:
        raw &= 1
    flat = torch.from_numpy(raw.reshape(-1).copy())
    return flat.view(dtype).view(shape) if flat.numel() else torch.empty(shape, dtype=dtype)


def bits(value: torch.Tensor) -> bytes:
    flat = value.detach().contiguous().view(-1)
    return bytes(flat.view(torch.uint8).numpy()) if value.numel() else b""


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    assert type(found) is type(expected), path
    if isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        assert bits(found) == bits(expected), path
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        assert found.tobytes() == expected.tobytes(), path
    elif isinstance(expected, dict):
        assert list(found) == list(expected), path
        for key in expected:
            assert_same(found[key], expected[key], f"{path}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{path}/{i}")
    else:
        # As text, which tells NaN from others, and a negative zero.
        assert repr(found) == repr(expected), path


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
tensors = st.builds(tensor, st.sampled_from(DTYPES), shapes, st.integers(0, 99))
texts = st.text(max_size=6)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 600), 1 << 600),
    st.integers(-300, 70_000),
    st.floats(),
    st.complex_numbers(),
    texts,
    st.binary(max_size=9),
)
keys = st.one_of(texts, st.integers(-(1 << 40), 1 << 40), st.booleans(), st.none())


def nested(leaves: Any, inner_keys: Any, *, tuples: bool) -> Any:
    def containers(inner: Any) -> Any:
        found = [
            st.lists(inner, max_size=3),
            st.dictionaries(inner_keys, inner, max_size=3),
            st.dictionaries(inner_keys, inner, max_size=3).map(OrderedDict),
        ]
        return st.one_of(*found, *([st.lists(inner, max_size=4).map(tuple)] if tuples else []))

    return st.recursive(leaves, containers, max_leaves=20)


names = texts.filter(lambda text: not text.startswith("@"))
states = st.dictionaries(
    names, nested(st.one_of(tensors, values), keys, tuples=True), min_size=1, max_size=6
)

"""NaN and infinities are found in every type of float that is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.format.dtypes import from_numpy
from holdfast.format.floats import can_be_not_finite, count_not_finite

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf")

TORCH = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
    torch.float8_e8m0fnu,
]


def raw(tensor: torch.Tensor) -> np.ndarray:
    return tensor.contiguous().view(torch.uint8).reshape(-1).numpy()


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", [d for d in TORCH if d.itemsize <= 2], ids=name)
def test_of_every_bit_pattern_of_a_small_type_torch_says_the_same(dtype: torch.dtype) -> None:
    bits = torch.arange(256**dtype.itemsize, dtype=torch.int32)
    patterns = bits.to(torch.uint8) if dtype.itemsize == 1 else bits.to(torch.int16)
    values = patterns.view(dtype)
    bad = ~torch.isfinite(values.to(torch.float32))
    assert 0 < int(bad.sum()) < len(bits)
    data = raw(values)
    assert count_not_finite(data, name(dtype)) == int(bad.sum())
    # One by one, since most blocks are only asked whether there is any.
    size = dtype.itemsize
    for i in range(len(bits)) if size == 1 else [*range(0, len(bits), 97), *bad.nonzero()[::50, 0]]:
        at = int(i) * size
        assert count_not_finite(data[at : at + size], name(dtype)) == int(bad[i])


@pytest.mark.parametrize("dtype", [d for d in TORCH if d.itemsize > 2], ids=name)
def test_each_kind_of_value_counts_once_wherever_it_is(dtype: torch.dtype) -> None:
    real = dtype.to_real() if dtype.is_complex else dtype
    tiny, huge = torch.finfo(real).tiny, torch.finfo(real).max
    good = torch.tensor([0.0, -0.0, 1.5, -2.0, tiny, -tiny, tiny / 2, huge, -huge], dtype=real)
    plain = good.to(torch.float64).repeat(5000)
    for bad in (float("inf"), float("-inf"), float("nan")):
        for at in (0, 12_345, len(plain) - 1):
            values = plain.clone()
            values[at] = bad
            if not dtype.is_complex:
                assert count_not_finite(raw(values.to(dtype)), name(dtype)) == 1
                continue
            for pair in ((values, plain), (plain, values), (values, values)):
                both = torch.stack(pair, dim=1).to(real)
                assert count_not_finite(raw(both), name(dtype)) == 1
    whole = plain if not dtype.is_complex else torch.stack((plain, plain), dim=1).to(real)
    kind = dtype if not dtype.is_complex else real
    assert count_not_finite(raw(whole.to(kind)), name(dtype)) == 0


@pytest.mark.parametrize("kind", [">f2", ">f4", ">f8", ">c8", ">c16", "f2", "f8", "g", "G"])
def test_numpys_own_types(kind: str) -> None:
    values = np.ones(1000, kind)
    dtype = from_numpy(values.dtype)
    assert dtype is not None and can_be_not_finite(dtype)
    assert count_not_finite(values.view(np.uint8), dtype) == 0
    values[[3, 999]] = np.nan, -np.inf
    assert count_not_finite(values.view(np.uint8), dtype) == 2


def test_what_cannot_be_nan_is_not_looked_at() -> None:
    kinds = ["bool", "int8", "uint64", "np:<U8", "np:<M8[ns]", 'np:[["x", "<f4"]]']
    assert not any(can_be_not_finite(kind) for kind in kinds)
    assert all(can_be_not_finite(name(dtype)) for dtype in TORCH)

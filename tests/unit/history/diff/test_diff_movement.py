"""Movement of tensors: every type as numbers, exact where it can be, what is not finite told."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import torch

from holdfast.format.dtypes import _SIZES as SIZES
from holdfast.history.diff.movement import BLOCK_ELEMS, Movement, measure, total
from holdfast.history.diff.widen import is_number, widen


def raw(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def moved(x: np.ndarray, y: np.ndarray, dtype: str | None = None) -> Movement:
    return measure(raw(x), dtype or x.dtype.name, raw(y), dtype or y.dtype.name)


@pytest.mark.parametrize("kind", [name for name in SIZES if name.startswith("float8")])
def test_all_256_codes_of_float8_mean_what_the_reference_says(kind: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    expected = codes.view(getattr(ml_dtypes, kind)).astype(np.float64)
    np.testing.assert_array_equal(widen(codes, kind), expected)


def test_all_codes_of_bfloat16_mean_what_torch_says() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    expected = torch.from_numpy(codes.view(np.int16)).view(torch.bfloat16).double().numpy()
    np.testing.assert_array_equal(widen(raw(codes), "bfloat16"), expected)


def test_halves_of_complex32() -> None:
    values = torch.tensor([1 + 2j, -0.5 - 8j], dtype=torch.complex32)
    bits = raw(torch.view_as_real(values).numpy())
    np.testing.assert_array_equal(widen(bits, "complex32"), [1 + 2j, -0.5 - 8j])


def test_the_figures_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=3 * BLOCK_ELEMS + 17)
    y = np.where(rng.random(len(x)) < 0.25, x + rng.normal(size=len(x)), x)
    m = moved(x, y)
    assert m.n_elems == m.n_compared == len(x)
    assert m.n_changed == np.count_nonzero(x != y)
    assert m.share_changed == m.n_changed / len(x)
    assert m.relative == pytest.approx(np.linalg.norm(y - x) / np.linalg.norm(x), rel=1e-12)
    assert m.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-12)
    assert m.largest == np.abs(y - x).max()
    assert (m.norm_before, m.norm_after) == (
        pytest.approx(np.linalg.norm(x), rel=1e-12),
        pytest.approx(np.linalg.norm(y), rel=1e-12),
    )


def test_complex_numbers_move_in_the_plane() -> None:
    x, y = np.array([3 + 4j, 1j]), np.array([3 + 4j, -1j])
    m = moved(x, y)
    assert (m.n_changed, m.largest, m.sum_sq_before) == (1, 2.0, 26.0)
    assert m.dot == 25.0 - 1.0
    assert m.relative == pytest.approx(2 / math.sqrt(26))


def test_small_changes_are_not_lost_beside_large_ones() -> None:
    blocks = [Movement(sum_sq_change=1e16), *[Movement(sum_sq_change=1.0)] * 1000]
    assert total(blocks).sum_sq_change == 1e16 + 1000
    assert sum(block.sum_sq_change for block in blocks) == 1e16, "plain addition would lose them"


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_integers_are_subtracted_exactly(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.array([limits.max, limits.max - 1, 5], dtype)
    y = np.array([limits.max - 1, limits.max, limits.min], dtype)
    m = moved(x, y)
    assert m.n_changed == 3
    assert m.largest == float(5 - int(limits.min)) or m.largest == 5.0
    assert moved(x[:2], y[:2]).sum_sq_change == 2.0


def test_booleans_flip() -> None:
    m = moved(np.array([True, False, True, True]), np.array([True, True, True, False]))
    assert (m.n_changed, m.largest, m.sum_sq_change) == (2, 1.0, 2.0)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    x = np.array([1.0, np.nan, np.inf, 2.0, 3.0])
    y = np.array([1.0, np.nan, 5.0, -np.inf, 4.0])
    m = moved(x, y)
    assert (m.n_elems, m.n_compared) == (5, 2)
    assert (m.not_finite_before, m.not_finite_after) == (2, 2)
    assert m.n_changed == 3, "a NaN with the same bits has not changed"
    assert m.relative == pytest.approx(1 / math.sqrt(10))
    assert m.largest == 1.0


def test_nothing_to_compare_is_not_told_as_no_movement() -> None:
    m = moved(np.array([np.nan]), np.array([1.0]))
    assert math.isnan(m.relative) and math.isnan(m.cosine) and m.n_changed == 1


def test_zeros_have_no_direction() -> None:
    m = moved(np.zeros(3), np.ones(3))
    assert m.relative == math.inf and math.isnan(m.cosine)
    assert moved(np.zeros(3), np.zeros(3)).relative == 0.0
    assert moved(np.zeros(1), -np.zeros(1)).n_changed == 1, "bits count"


def test_numbers_whose_squares_vanish_did_not_stand_still() -> None:
    m = moved(np.full(3, 1e-300), np.full(3, 2e-300))
    assert m.n_changed == 3 and m.largest == 1e-300
    assert math.isnan(m.relative) and math.isnan(m.cosine)


def test_numbers_that_overflow_are_told_and_do_not_raise() -> None:
    m = moved(np.array([1e200, -1e200] * BLOCK_ELEMS), np.array([-1e200, 1e300] * BLOCK_ELEMS))
    assert m.norm_before == math.inf and math.isnan(m.cosine)


def test_a_recast_tensor_is_compared_by_value() -> None:
    x = np.linspace(-2, 2, 1000, dtype=np.float32)
    y = x.astype(ml_dtypes.bfloat16)
    m = measure(raw(x), "float32", raw(y), "bfloat16")
    assert m.n_changed == np.count_nonzero(x != y.astype(np.float32))
    assert 0 < m.relative < 2**-8
    exact = measure(raw(x), "float32", raw(x.astype(np.float64)), "float64")
    assert (exact.n_changed, exact.relative) == (0, 0.0)
    nan = np.array([np.nan, 1.0], np.float32)
    assert measure(raw(nan), "float32", raw(nan.astype("f8")), "float64").n_changed == 0


def test_text_and_structures_are_compared_by_their_bits() -> None:
    x = np.array(["ab", "cd", "ef"])
    y = np.array(["ab", "cX", "ef"])
    dtype = "np:<U2"
    assert not is_number(dtype)
    m = measure(raw(x), dtype, raw(y), dtype)
    assert (m.n_elems, m.n_changed, m.n_compared) == (3, 1, 0)
    assert math.isnan(m.relative)
    big = np.array([1.0, 2.0], ">f4")
    assert measure(raw(big), "np:>f4", raw(2 * big), "np:>f4").relative == 1.0

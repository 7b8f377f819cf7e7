"""Differences of chunks: every chunk comes back, whatever it differs from; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.chunks.codecs import planes
from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.codecs.delta import flip
from holdfast.chunks.codecs.entropy import Squeeze
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.format.codecs import DELTA


def encoded(data: bytes, base: bytes, width: int, how: Squeeze) -> memoryview:
    difference = memoryview(bytearray(data))
    flip(difference, memoryview(base))
    into = memoryview(bytearray(planes.head_bytes(len(data), width) + len(data)))
    return into[: planes.encode(difference, width, width > 1, [how] * width, into)]


def decoded(stored: memoryview, length: int, base: bytes | None) -> bytes:
    into = memoryview(bytearray(length))
    given_base = memoryview(base) if base is not None else None
    pieces = list(decode(DELTA, stored, length, into, given_base))
    assert sum(piece.nbytes for piece in pieces) == length
    passing = b"".join(map(bytes, decode(DELTA, stored, length, None, given_base)))
    assert passing == bytes(into)
    return passing


@settings(max_examples=60)
@given(
    st.binary(max_size=300),
    st.integers(0, 2**32),
    st.sampled_from(planes.WIDTHS),
    st.sampled_from(Squeeze),
)
def test_a_chunk_comes_back_from_any_other(
    data: bytes, seed: int, width: int, how: Squeeze
) -> None:
    base = np.random.default_rng(seed).bytes(len(data))
    assert decoded(encoded(data, base, width, how), len(data), base) == data


@pytest.mark.parametrize("width", planes.WIDTHS)
def test_so_does_one_of_several_blocks(width: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.bytes(width * (planes.BLOCK + 17) + width - 1)
    data = bytearray(base)
    data[::1000] = bytes(len(data[::1000]))
    stored = encoded(bytes(data), base, width, Squeeze.STRINGS)
    assert stored.nbytes < len(data) / 20
    assert decoded(stored, len(data), base) == data


def test_without_its_base_nothing_comes_out() -> None:
    data, base = b"abcdefgh" * 100, b"abcdefgi" * 100
    stored = encoded(data, base, 4, Squeeze.FREQUENCY)
    assert decoded(stored, len(data), base) == data
    for wrong in (None, base[:-1], base + b"!", b""):
        with pytest.raises(Undecodable, match="a difference from"):
            decoded(stored, len(data), wrong)
    with pytest.raises(Undecodable):
        decoded(stored[:-1], len(data), base)

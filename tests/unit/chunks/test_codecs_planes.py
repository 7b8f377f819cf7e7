"""Byte planes: every chunk comes back, whatever is in it; nothing else is taken for one."""

from __future__ import annotations

import random
import tracemalloc
from pydoc_data import topics

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.chunks.codecs import choice, planes
from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.codecs.entropy import Squeeze, expand, squeeze
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.format.codecs import PLANES
from holdfast.plan.elements import BYTES, Elements, elements_of

RNG = np.random.default_rng(0)


def encoded(data: bytes, width: int, rotated: bool, squeezes: list[Squeeze]) -> memoryview:
    into = memoryview(bytearray(planes.head_bytes(len(data), width) + len(data)))
    return into[: planes.encode(memoryview(data), width, rotated, squeezes, into)]


def decoded(stored: memoryview, length: int) -> bytes:
    into = memoryview(bytearray(length))
    pieces = list(decode(PLANES, stored, length, into))
    assert b"".join(pieces) == into
    # The other way, without memory to fill: each piece is good until the next.
    assert b"".join(bytes(piece) for piece in decode(PLANES, stored, length, None)) == into
    return bytes(into)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(planes.WIDTHS),
    st.booleans(),
    st.integers(0, 3 * planes.BLOCK),
    st.sampled_from([1, 3, 50, 256]),
    st.sampled_from(list(Squeeze)),
    st.integers(0, 2**32),
)
def test_any_bytes_come_back(
    width: int, rotated: bool, length: int, values: int, how: Squeeze, seed: int
) -> None:
    data = np.random.default_rng(seed).integers(0, values, length, dtype=np.uint8).tobytes()
    stored = encoded(data, width, rotated and width > 1, [how] * width)
    assert decoded(stored, length) == data
    assert len(stored) <= planes.head_bytes(length, width) + length
    # What follows is not looked at.
    assert decoded(memoryview(bytes(stored) + b"?"), length) == data


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_special_number_keeps_its_bits(dtype: str) -> None:
    kind = np.dtype(dtype)
    tiny = np.finfo(kind).smallest_subnormal
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, tiny, -tiny, np.finfo(kind).max]
    data = np.array(special * 500, kind).tobytes()
    signalling = {2: "017c", 4: "0100807f", 8: "010000000000f07f"}
    data += bytes.fromhex(signalling[kind.itemsize]) * 100
    how = choice.choose(memoryview(data), elements_of(dtype))
    assert how is not None
    stored = encoded(data, how.width, how.rotated, list(how.squeezes))
    assert decoded(stored, len(data)) == data and len(stored) < len(data) / 2


def test_garbage_is_refused_or_is_some_chunk_and_never_asks_for_memory() -> None:
    rng = random.Random(0)
    data = (RNG.standard_normal(3000) * 0.02).astype(np.float32).tobytes()
    good = encoded(data, 4, True, [Squeeze.RAW, Squeeze.RAW, Squeeze.RAW, Squeeze.FREQUENCY])
    refused = 0
    for i in range(3000):
        bad = bytearray(good)
        if i % 3 == 0:
            bad = bad[: rng.randrange(len(bad))]
        else:
            at = rng.randrange(len(bad)) if i % 3 == 1 else rng.randrange(40)
            bad[at] ^= 1 << rng.randrange(8)
        try:
            assert len(decoded(memoryview(bad), len(data))) == len(data)
        except Undecodable:
            refused += 1
    assert refused > 1000


def test_a_frame_of_another_length_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
    for frame in (
        bomb,
        silent,
        bomb[:-1],
        b"",
        b"junk",
        squeeze(memoryview(bytes(100)), Squeeze.RAW)[:9],
    ):
        with pytest.raises(Undecodable):
            expand(memoryview(frame), 100)
    two = squeeze(memoryview(bytes(100)), Squeeze.STRINGS)
    with pytest.raises(Undecodable):
        expand(memoryview(two + two), 100)
    assert expand(memoryview(two), 100) == bytes(100)


def telling(nbytes: int, content: bytes) -> bytes:
    """Return content as a frame that tells a length, be it true or not."""
    silent = zstandard.ZstdCompressionParameters(window_log=17, write_content_size=False)
    frame = zstandard.ZstdCompressor(compression_params=silent).compress(content)
    # RFC 8878, 3.1.1.1: magic number, descriptor (here: a length of 4 bytes), window, length.
    return frame[:4] + b"\x80" + frame[5:6] + nbytes.to_bytes(4, "little") + frame[6:]


def test_a_frame_that_holds_more_than_it_tells_is_refused_in_bounded_memory() -> None:
    assert expand(memoryview(telling(100, bytes(100))), 100) == bytes(100)
    frames = [telling(100, bytes(n)) for n in (99, 101, 1 << 26)]
    tracemalloc.start()
    try:
        for frame in frames + [frame[:-1] for frame in frames]:
            with pytest.raises(Undecodable):
                expand(memoryview(frame), 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("dtype", "at_most"), [("float32", 0.86), ("bfloat16", 0.70), ("float64", 0.96)]
)
def test_weights_take_their_noise_and_little_more(dtype: str, at_most: float) -> None:
    weights = RNG.standard_normal(400_000) * 0.02
    if dtype == "bfloat16":
        data = (weights.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    else:
        data = weights.astype(dtype).tobytes()
    how = choice.choose(memoryview(data), elements_of(dtype))
    assert how is not None and how.rotated
    stored = encoded(data, how.width, how.rotated, list(how.squeezes))
    assert len(stored) / len(data) < at_most
    # Noise is not even tried to be squeezed.
    assert how.squeezes[0] is Squeeze.RAW and how.squeezes[-1] is not Squeeze.RAW


def test_what_gains_next_to_nothing_is_left_alone() -> None:
    noise = RNG.bytes(1 << 20)
    for elements in (BYTES, Elements(2, True), Elements(4, False), Elements(8, True)):
        assert choice.choose(memoryview(noise), elements) is None
    assert choice.choose(memoryview(b""), BYTES) is None
    assert choice.choose(memoryview(b"abc"), Elements(8, True)) is None
    # Found to gain on samples, and then not to on the whole.
    into = memoryview(bytearray(planes.head_bytes(len(noise), 1) + len(noise)))
    always = choice.Planes(1, False, (Squeeze.FREQUENCY,))
    assert choice.encode(memoryview(noise), always, into) is None


def test_strings_that_repeat_are_found() -> None:
    text = memoryview("".join(topics.topics.values()).encode())
    how = choice.choose(text, BYTES)
    assert how is not None and how.squeezes == (Squeeze.STRINGS,)
    counters = memoryview(np.arange(50_000).tobytes())
    how = choice.choose(counters, elements_of("int64"))
    assert how is not None
    assert len(encoded(counters.tobytes(), 8, False, list(how.squeezes))) < counters.nbytes / 6

"""What is encoded: whatever gets smaller, and with ``auto`` only while the disk is the slower."""

from __future__ import annotations

import time

import numpy as np
import pytest

from holdfast.chunks.codecs.decode import decode
from holdfast.chunks.encoder import Encoded, Encoder, check_compress
from holdfast.chunks.pace import Meter, Rates
from holdfast.errors import UsageError
from holdfast.format.codecs import PLANES, RAW
from holdfast.plan.elements import BYTES, Elements
from holdfast.plan.layout import CHUNK_ALIGNMENT, align

RNG = np.random.default_rng(0)
WEIGHTS = (RNG.standard_normal(300_001) * 0.02).astype(np.float32).tobytes()
NOISE = RNG.bytes(100_000)
FLOATS = Elements(4, True)


def padded(data: bytes) -> memoryview:
    return memoryview(data.ljust(align(len(data), CHUNK_ALIGNMENT), b"\0"))


def begun(encoder: Encoder, chunks: list[bytes], kinds: list[Elements]) -> Encoder:
    encoder.begin(kinds, [len(chunk) for chunk in chunks])
    return encoder


def packed(encoder: Encoder, chunks: list[bytes], number: int = 0) -> list[Encoded]:
    views = [padded(chunk) for chunk in chunks]
    with encoder.encoded(number, range(len(chunks)), views) as found:
        for chunk, item in zip(chunks, found, strict=True):
            assert item.view.nbytes == align(item.nbytes, CHUNK_ALIGNMENT)
            data = item.view[: item.nbytes]
            if item.codec:
                out = memoryview(bytearray(len(chunk)))
                assert sum(p.nbytes for p in decode(item.codec, data, len(chunk), out)) == len(out)
                data = out
                assert not any(item.view[item.nbytes :])
            assert data == chunk
        return [Encoded(memoryview(b""), item.nbytes, item.codec) for item in found]


def test_each_chunk_of_a_pack_is_encoded_if_it_gets_smaller() -> None:
    chunks = [WEIGHTS, NOISE, b"x" * 5000, b"y" * 4096, WEIGHTS[:7001]]
    kinds = [FLOATS, BYTES, BYTES, BYTES, FLOATS]
    encoder = begun(Encoder("planes"), chunks, kinds)
    found = packed(encoder, chunks)
    # One page is the least that a chunk takes.
    assert [item.codec for item in found] == [PLANES, RAW, PLANES, RAW, RAW]
    assert found[0].nbytes < 0.86 * len(WEIGHTS)
    assert packed(encoder, chunks, number=1) == found


def test_what_was_found_out_of_a_chunk_is_found_out_again_when_it_may_have_changed() -> None:
    encoder = begun(Encoder("planes"), [NOISE], [BYTES])
    assert packed(encoder, [NOISE])[0].codec == RAW
    zeros = bytes(len(NOISE))
    codecs = []
    for _ in range(17):
        codecs.append(packed(begun(encoder, [zeros], [BYTES]), [zeros])[0].codec)
        encoder.end()
    assert codecs[-1] == PLANES
    other = zeros + b"\0"
    encoder = begun(Encoder("planes"), [NOISE], [BYTES])
    packed(encoder, [NOISE])
    assert packed(begun(encoder, [other], [BYTES]), [other])[0].codec == PLANES


@pytest.mark.parametrize(
    ("rates", "codecs"),
    [
        (Rates(), [PLANES, RAW, PLANES, RAW]),
        (Rates(encode=1e9), [PLANES, RAW, PLANES, RAW]),
        (Rates(encode=1e9, write=0.5e9), [PLANES] * 4),
        # At the first save it looks whether anything is different by now.
        (Rates(encode=1e9, write=2e9), [PLANES, RAW, RAW, RAW]),
    ],
)
def test_auto_encodes_while_the_disk_is_slower(rates: Rates, codecs: list[int]) -> None:
    encoder = begun(Encoder("auto", rates), [WEIGHTS], [FLOATS])
    assert not encoder.is_idle
    assert [packed(encoder, [WEIGHTS], number=n)[0].codec for n in range(4)] == codecs


def test_auto_is_idle_while_the_disk_is_faster_and_looks_again_now_and_then() -> None:
    encoder = Encoder("auto", Rates(encode=1e9, write=2e9))
    idle = []
    for _ in range(33):
        begun(encoder, [WEIGHTS], [FLOATS])
        idle.append(encoder.is_idle)
        encoder.end()
    assert [i for i, yes in enumerate(idle) if not yes] == [0, 16, 32]


def test_auto_learns_from_what_it_measures() -> None:
    encoder, data = Encoder("auto"), WEIGHTS * 8
    begun(encoder, [data], [FLOATS])
    packed(encoder, [data])
    with encoder.writing.working(9 << 20):
        time.sleep(0.01)
    encoder.end()
    assert encoder.rates.encode is not None and encoder.rates.encode > 1e7
    assert encoder.rates.write is not None and 1e8 < encoder.rates.write < 1e9


def test_a_meter_counts_what_threads_achieve_together() -> None:
    meter = Meter()
    with meter.working(6 << 20), meter.working(6 << 20):
        time.sleep(0.02)
    rate = meter.take()
    assert rate is not None and 1e8 < rate <= (12 << 20) / 0.02
    assert meter.take() is None
    with meter.working(1 << 20):
        pass
    assert meter.take() is None


def test_what_is_no_way_to_compress_is_refused() -> None:
    for wrong in ("zip", None, True, "AUTO"):
        with pytest.raises(UsageError, match="'auto'"):
            check_compress(wrong)

"""The two digests, against values published by their authors."""

from __future__ import annotations

import pytest

from holdfast.format.digests import CHECK_BYTES, DIGEST_BYTES, check, digest


def test_blake3_of_nothing_and_of_abc() -> None:
    assert digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest(b"abc").hex() == (
        "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    )


def test_xxh3_of_nothing() -> None:
    assert check(b"").hex() == "99aa06d3014798d86001c324468d497f"


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda b: memoryview(bytearray(b))])
def test_any_buffer_will_do(kind: type) -> None:
    assert digest(kind(b"abc")) == digest(b"abc")
    assert check(kind(b"abc")) == check(b"abc")
    assert (len(digest(b"abc")), len(check(b"abc"))) == (DIGEST_BYTES, CHECK_BYTES)

"""Keys of the parts of a variable that is stored in parts.

TensorFlow makes them by ordered codes: numbers and texts in such bytes that they sort as they do
themselves. A key is 0, the name, the number of dimensions, and for each of them start and length,
where a length of -1 is the whole dimension.
"""

from __future__ import annotations

from collections.abc import Sequence


def slice_key(name: str, extents: Sequence[tuple[int, int]]) -> bytes:
    """Return the key of a part of a variable.

    Args:
        name: Of the variable.
        extents: Start and length for each dimension; a length of -1 is the whole of it.
    """
    out = _number(0) + _text(name.encode("utf-8", "surrogateescape")) + _number(len(extents))
    for start, length in extents:
        out += _signed(start) + _signed(length)
    return out


def _text(text: bytes) -> bytes:
    """Return a text with its end marked; 0 and 255, which mark, are written as pairs."""
    pairs = {0: b"\0\xff", 0xFF: b"\xff\0"}
    return b"".join(pairs.get(byte, bytes([byte])) for byte in text) + b"\0\1"


def _number(value: int) -> bytes:
    """Return a number that is not negative: how many bytes it has, then they."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def _signed(value: int) -> bytes:
    """Return a number with a sign: as many leading ones (zeros, if negative) as it has bytes."""
    magnitude = value if value >= 0 else ~value
    n = 1
    # Of n bytes, n + 1 bits are for length and sign.
    while magnitude >> (7 * n - 1):
        n += 1
    if n > 7:
        raise ValueError("a part begins beyond all bounds")
    header = ((1 << n) - 1) << (7 * n)
    data = (header ^ magnitude).to_bytes(n, "big")
    return data if value >= 0 else bytes(0xFF ^ b for b in data)

"""What tables of sorted keys are coded by: numbers in base 128, keys without what they share."""

from __future__ import annotations

_MAX_VARINT_BYTES = 10


def varint(number: int) -> bytes:
    """Return a number in base 128, the lowest digits first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends.

    Raises:
        ValueError: There is none.
    """
    number = 0
    for place in range(_MAX_VARINT_BYTES):
        if at + place >= len(data):
            break
        digit = data[at + place]
        number |= (digit & 0x7F) << (7 * place)
        if digit < 0x80:
            return number, at + place + 1
    raise ValueError("a number does not end")


def shared_bytes(before: bytes, key: bytes) -> int:
    """Return how many bytes a key begins with that the one before it begins with, too.

    >>> shared_bytes(b"layer/0", b"layer/10")
    6
    """
    n, limit = 0, min(len(before), len(key))
    while n < limit and before[n] == key[n]:
        n += 1
    return n

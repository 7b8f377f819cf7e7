"""Texts in data files: lengths, a checksum of the lengths, then the texts one behind the other."""

from __future__ import annotations

from holdfast.convert.table_coding import read_varint, varint
from holdfast.foreign.checksums import masked_checksum


def head_of(lengths: list[int]) -> tuple[bytes, bytes]:
    """Return what comes before texts, and what their checksum begins with in its place."""
    summed = b"".join(n.to_bytes(4 if n < 1 << 32 else 8, "little") for n in lengths)
    check = masked_checksum(summed)
    return b"".join(map(varint, lengths)) + check, summed + check


def split(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    """Return the texts, and the bytes that their checksum is of.

    Raises:
        ValueError: They are not whole.
    """
    lengths, at = [], 0
    for _ in range(count):
        n, at = read_varint(data, at)
        if n > len(data):
            raise ValueError("a text goes beyond them all")
        lengths.append(n)
    head, summed = head_of(lengths)
    if data[at : at + 4] != head[-4:] or at + 4 + sum(lengths) != len(data):
        raise ValueError("the lengths of its texts are wrong")
    at += 4
    texts = data[at:]
    found, begin = [], 0
    for n in lengths:
        found.append(texts[begin : begin + n])
        begin += n
    return found, summed + texts

"""Checksums that foreign formats want of their arrays, put together from those of pieces."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache

from holdfast.errors import MissingDependency

# Polynomials in the reflected form, as both checksums are computed.
_POLYNOMIALS = {"crc32": 0xEDB88320, "crc32c": 0x82F63B78}
_MASK = 0xA282EAD8


def checksum(kind: str) -> Callable[[memoryview], int]:
    """Return the function that gives the checksum of bytes: ``crc32`` or ``crc32c``.

    Raises:
        MissingDependency: It needs a package that is not installed.
    """
    if kind == "crc32":
        return lambda data: zlib.crc32(data)
    try:
        import crc32c
    except ImportError as error:
        raise MissingDependency(
            "Files of TensorFlow, TensorBoard and Orbax need the package crc32c, which is not "
            "installed. "
            "Install it with: pip install 'holdfast[tensorflow-format]'",
            package="crc32c",
        ) from error
    return lambda data: int(crc32c.crc32c(data))


def masked(crc: int) -> int:
    """Return a CRC32C as the files of LevelDB and TensorFlow have it.

    One over bytes that hold one would be no check.
    """
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def masked_checksum(data: bytes) -> bytes:
    """Return the CRC32C of bytes as it stands behind them in such files.

    Raises:
        MissingDependency: The package crc32c is not installed.
    """
    return masked(checksum("crc32c")(memoryview(data))).to_bytes(4, "little")


def combined(kind: str, parts: Iterable[tuple[int, int]]) -> int:
    """Return the checksum of stretches of bytes behind one another.

    Args:
        kind: ``crc32`` or ``crc32c``.
        parts: Checksum and length in bytes of each stretch.
    """
    total = 0
    for value, nbytes in parts:
        total = combine(kind, total, value, nbytes)
    return total


def combine(kind: str, first: int, second: int, second_bytes: int) -> int:
    """Return the checksum of two stretches of bytes behind one another, from those of each.

    The checksum is linear over GF(2): that of the first is carried through as many zero bytes as
    the second has, by repeated squaring of the matrix that carries it through one bit (as
    ``crc32_combine`` of zlib does).

    >>> combine("crc32", zlib.crc32(b"hold"), zlib.crc32(b"fast"), 4) == zlib.crc32(b"holdfast")
    True
    """
    if not second_bytes:
        return first
    # The checksum of nothing is zero, and stays so.
    return _times(_zeros(kind, second_bytes), first) ^ second if first else second


@lru_cache(maxsize=4096)
def _zeros(kind: str, nbytes: int) -> tuple[int, ...]:
    """Return the matrix that carries a checksum through zero bytes, as 32 columns."""
    if nbytes == 1:
        one_bit = (_POLYNOMIALS[kind], *(1 << bit for bit in range(31)))
        four = _squared(_squared(one_bit))
        return _squared(four)
    half = _squared(_zeros(kind, nbytes // 2))
    if nbytes % 2 == 0:
        return half
    return tuple(_times(_zeros(kind, 1), column) for column in half)


def _squared(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_times(matrix, column) for column in matrix)


def _times(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total

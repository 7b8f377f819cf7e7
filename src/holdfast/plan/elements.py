"""What the elements in each chunk are like, as far as it matters to storing them small."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.format.part import ArrayRow
from holdfast.plan.pieces import pieces

# The bytes of an element that a number is made of; a complex one is two numbers.
_FLOATS = {
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex32": 2,
    "complex64": 4,
    "complex128": 8,
    "np:<f2": 2,
    "np:<f4": 4,
    "np:<f8": 8,
}
_INTEGERS = {
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
}


@dataclass(frozen=True, slots=True)
class Elements:
    """Numbers of ``width`` bytes; floats have a sign in front of their exponent."""

    width: int
    is_float: bool


BYTES = Elements(1, False)


def elements_of(dtype: str) -> Elements:
    """Return what an array of a dtype consists of.

    >>> elements_of("complex64"), elements_of("bool")
    (Elements(width=4, is_float=True), Elements(width=1, is_float=False))
    """
    if dtype in _FLOATS:
        return Elements(_FLOATS[dtype], True)
    return Elements(_INTEGERS[dtype], False) if dtype in _INTEGERS else BYTES


def elements_of_chunks(rows: Iterable[ArrayRow], lengths: Sequence[int]) -> list[Elements]:
    """Return, for each chunk, the elements that most of its bytes belong to.

    Args:
        rows: The arrays of a part.
        lengths: The lengths of its chunks, in bytes.

    >>> elements_of_chunks([ArrayRow("torch", "bfloat16", (9,), 0, 0)], [18])
    [Elements(width=2, is_float=True)]
    """
    shares: list[dict[Elements, int]] = [{} for _ in lengths]
    for row in rows:
        kind = elements_of(row.dtype)
        for chunk, _, nbytes, _ in pieces((row.chunk, row.offset), row.nbytes, lengths):
            shares[chunk][kind] = shares[chunk].get(kind, 0) + nbytes
    return [max(share, key=share.__getitem__) if share else BYTES for share in shares]

"""Elements that are not finite, counted in the chunks of a save while they are digested.

The bytes are in the processor's cache then. A chunk that has not changed since an earlier save is
not read for this: what was found in it is remembered by its digest and what its bytes mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from holdfast.format.floats import count_not_finite
from holdfast.format.part import ArrayRow
from holdfast.plan.pieces import pieces

# By a chunk's digest and the kinds of its stretches: how many are not finite in each of them.
Known = Mapping[tuple[bytes, tuple["Kind", ...]], Sequence[int]]
# Memory that goes through the cache at a time; a multiple of every element's size.
STEP_BYTES = 1 << 20


class Kind(NamedTuple):
    """What some bytes of a chunk are: elements of a type, from one byte on to before another."""

    dtype: str
    begin: int
    end: int


class FiniteLook:
    """Looks at the chunks of one save. Threads may look at different chunks at the same time.

    Args:
        arrays: The arrays of the save's plan; those whose count is not None are looked at.
        lengths: Lengths of the chunks, in bytes.
        known: What was found in an earlier save.
    """

    def __init__(self, arrays: Sequence[ArrayRow], lengths: Sequence[int], known: Known) -> None:
        self._known = known
        self._is_wanted = [row.not_finite is not None for row in arrays]
        self._rows: dict[int, list[int]] = {}
        self._kinds: dict[int, list[Kind]] = {}
        self._found: dict[int, list[int]] = {}
        for number, row in enumerate(arrays):
            if self._is_wanted[number]:
                self._add(number, row, lengths)

    def _add(self, number: int, row: ArrayRow, lengths: Sequence[int]) -> None:
        for chunk, begin, nbytes, _ in pieces((row.chunk, row.offset), row.nbytes, lengths):
            self._rows.setdefault(chunk, []).append(number)
            self._kinds.setdefault(chunk, []).append(Kind(row.dtype, begin, begin + nbytes))

    def look(self, chunk: int, at: int, piece: memoryview) -> None:
        """Look at some bytes of a chunk; the pieces of one come in order.

        Args:
            chunk: Its index.
            at: Where the piece begins in it, a multiple of ``STEP_BYTES``.
            piece: The bytes.
        """
        kinds = self._kinds.get(chunk)
        if kinds is None:
            return
        if at == 0:
            self._found[chunk] = [0] * len(kinds)
        raw = np.frombuffer(piece, np.uint8)
        for i, kind in enumerate(kinds):
            begin, end = max(kind.begin - at, 0), min(kind.end - at, len(raw))
            if begin < end:
                self._found[chunk][i] += count_not_finite(raw[begin:end], kind.dtype)

    def counts(
        self, digests: Sequence[bytes], content: Callable[[int], memoryview]
    ) -> list[int | None]:
        """Return how many elements of each array are not finite; None for those not looked at.

        Args:
            digests: Those of all chunks.
            content: Gives the bytes of a chunk that nobody has looked at, nor earlier.
        """
        out: list[int | None] = [0 if wanted else None for wanted in self._is_wanted]
        for chunk, rows in self._rows.items():
            for row, count in zip(
                rows, self._in_chunk(chunk, digests[chunk], content), strict=True
            ):
                out[row] = (out[row] or 0) + count
        return out

    def _in_chunk(
        self, chunk: int, digest: bytes, content: Callable[[int], memoryview]
    ) -> Sequence[int]:
        if chunk not in self._found:
            known = self._known.get((digest, tuple(self._kinds[chunk])))
            if known is not None:
                return known
            data = content(chunk)
            for at in range(0, data.nbytes, STEP_BYTES):
                self.look(chunk, at, data[at : at + STEP_BYTES])
        return self._found[chunk]

    def learnt(self, digests: Sequence[bytes]) -> Known:
        """Return what the next save may know of these chunks."""
        out = {}
        for chunk, kinds in self._kinds.items():
            key = digests[chunk], tuple(kinds)
            out[key] = self._found[chunk] if chunk in self._found else self._known[key]
        return out

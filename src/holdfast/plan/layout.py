"""How the leaves of a state become chunks.

The rule is fixed by the sizes and paths of the leaves alone, so that from save to save the same
leaf lies in the same chunk, and unchanged data is found again:

- A large leaf (256 KiB and more) is cut at fixed offsets of 32 MiB; its pieces are its own.
- Small leaves are grouped, in tree order, with the small leaves that follow them under the same
  root key, until a group holds 1 MiB. Large leaves in between do not end a group. Low-rank
  adapters have groups of their own: what is frozen around them would be written with them.

Small groups keep what is written again small when little has changed; that many chunks make
slow files is taken care of where chunks are packed (``plan.packs``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CHUNK_BYTES = 32 << 20
SMALL_BYTES = 256 << 10
GROUP_BYTES = 1 << 20
# Chunks begin at multiples of this in memory and in packs, as direct I/O wants it.
CHUNK_ALIGNMENT = 4096
# Leaves within a group begin at multiples of this, so that they can be viewed as any dtype.
LEAF_ALIGNMENT = 16
# What the paths of low-rank adapters have in them, as PEFT and others name them.
_ADAPTER = "lora_"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bytes of each leaf go.

    Attributes:
        places: For each leaf, its first chunk and the offset in it, in bytes. A leaf that spans
            several chunks fills them from offset 0, one after the other.
        lengths: For each chunk, its bytes.
        offsets: For each chunk, where it begins in the snapshot, in bytes.
        total_bytes: Size of the snapshot; a multiple of the alignment.
    """

    places: Sequence[tuple[int, int]]
    lengths: Sequence[int]
    offsets: Sequence[int]
    total_bytes: int


def plan_layout(leaves: Iterable[tuple[str, int]]) -> Layout:
    """Return the layout of leaves given as (path, bytes), in tree order.

    >>> plan_layout([("a", 5), ("b", 3)]).places
    [(0, 0), (0, 16)]
    """
    places: list[tuple[int, int]] = []
    lengths: list[int] = []
    adapters, others = _Groups(lengths), _Groups(lengths)
    for path, nbytes in leaves:
        if nbytes == 0:
            places.append((0, 0))
        elif nbytes >= SMALL_BYTES:
            places.append((len(lengths), 0))
            whole, rest = divmod(nbytes, CHUNK_BYTES)
            lengths.extend([CHUNK_BYTES] * whole)
            if rest:
                lengths.append(rest)
        else:
            groups = adapters if _ADAPTER in path else others
            places.append(groups.place(path.partition("/")[0], nbytes))
    return laid_out(lengths, places)


class _Groups:
    """Small leaves in groups, one of which is open; each is a chunk, added to lengths."""

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = lengths
        self._chunk, self._fill, self._root = -1, 0, ""

    def place(self, root: str, nbytes: int) -> tuple[int, int]:
        """Return where the next leaf goes: its chunk, and the offset in it."""
        if self._chunk < 0 or root != self._root or self._fill + nbytes > GROUP_BYTES:
            self._chunk, self._fill, self._root = len(self._lengths), 0, root
            self._lengths.append(0)
        at, end = self._fill, self._fill + nbytes
        self._lengths[self._chunk] = end
        self._fill = align(end, LEAF_ALIGNMENT)
        return self._chunk, at


def laid_out(lengths: Sequence[int], places: Sequence[tuple[int, int]] = ()) -> Layout:
    """Return the layout of chunks, one behind the other, and of leaves in them.

    >>> laid_out([5, 4096, 1]).offsets
    [0, 4096, 8192]
    """
    offsets, total = [], 0
    for length in lengths:
        offsets.append(total)
        total = align(total + length, CHUNK_ALIGNMENT)
    return Layout(places, lengths, offsets, total)


def align(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below value.

    >>> align(17, 16)
    32
    """
    return -(-value // multiple) * multiple

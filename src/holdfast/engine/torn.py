"""Whether a state was changed while it was being copied: a snapshot of two moments is none.

Frameworks that count the changes of their arrays are asked before and after the copy. Where nobody
counts, and for writes that pass by the counter, some words of each large array are compared with
what was copied. That finds whatever changes all of an array, as a step of training does. What was
half changed before the copy, and stays so until it is done, looks whole from here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from holdfast.engine.arena import Arena
from holdfast.errors import SnapshotTorn
from holdfast.plan.layout import SMALL_BYTES, Layout
from holdfast.state.flatten import Leaf

# Far enough apart to cost little, near enough to see how far a change has come meanwhile.
_SPARSE_BYTES = 1 << 20
_DENSE_BYTES = 32 << 10
_TOLD = 5


class TornWatch:
    """Knows what the leaves of a state were when it was made."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self._leaves = leaves
        self._changes = _changes(leaves)

    def check(self, layout: Layout, arena: Arena, *, step: int) -> None:
        """Compare with what the leaves are now, and with their copies.

        Raises:
            SnapshotTorn: Some leaf has changed.
        """
        now = _changes(self._leaves)
        torn = []
        for leaf, before, after, (chunk, offset) in zip(
            self._leaves, self._changes, now, layout.places, strict=True
        ):
            every_bytes = _DENSE_BYTES if after is None else _SPARSE_BYTES
            at = layout.offsets[chunk] + offset
            if before != after or _differs(leaf, arena.view[at:], every_bytes):
                torn.append(leaf.path)
        if torn:
            names = ", ".join(map(repr, torn[:_TOLD])) + (", …" if len(torn) > _TOLD else "")
            raise SnapshotTorn(
                f"Step {step} was not saved: {len(torn)} array(s) were changed while they were "
                f"being copied: {names}. Checkpoints committed before are safe. Save when no other "
                "thread trains or updates the state.",
                step=step,
                leaves=tuple(torn),
            )


def _changes(leaves: Sequence[Leaf]) -> list[int | None]:
    return [leaf.adapter.count_changes(leaf.value) for leaf in leaves]


def _differs(leaf: Leaf, copy: memoryview, every_bytes: int) -> bool:
    nbytes = leaf.spec.nbytes
    if leaf.address is None or nbytes < SMALL_BYTES:
        return False
    source = memoryview((ctypes.c_uint8 * nbytes).from_address(leaf.address)).cast("B")
    return not np.array_equal(_words(source, every_bytes), _words(copy[:nbytes], every_bytes))


def _words(data: memoryview, every_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return some words of 8 bytes, so far apart, and the last one."""
    words = np.frombuffer(data, np.uint64, data.nbytes // 8)
    return np.append(words[:: every_bytes // 8], words[-1:])

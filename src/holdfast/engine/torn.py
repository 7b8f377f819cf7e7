"""Whether a state was changed while it was being copied: a snapshot of two moments is none.

Frameworks that count the changes of their arrays are asked before and after the copy. Where nobody
counts, and for writes that pass by the counter, some words of each large array are compared with
what was copied, or with what they were where no copy stays. That finds whatever changes all of an
array, as a step of training does. What was half changed before the copy, and stays so until it is
done, looks whole from here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import final

import numpy as np

from holdfast.engine.arena import Arena
from holdfast.errors import SnapshotTorn
from holdfast.plan.layout import SMALL_BYTES
from holdfast.state.flatten import Leaf

# Far enough apart to cost little, near enough to see how far a change has come meanwhile.
_SPARSE_BYTES = 1 << 20
_DENSE_BYTES = 32 << 10
_TOLD = 5
# Kept as they are where the state is written from where it is.
_WHOLE_BYTES = 4 << 10


class TornWatch:
    """Knows what some leaves of a state were when it was made.

    Args:
        leaves: The leaves, before any of them is copied.
        offsets: Where in the arena each of them goes.
        keep_words: Keep some words of the leaves, to compare the copies with: a change that is made
            before its leaf is copied would look whole afterwards.
    """

    def __init__(
        self, leaves: Sequence[Leaf], offsets: Sequence[int], *, keep_words: bool = False
    ) -> None:
        self._leaves = leaves
        self._offsets = offsets
        self._changes = _changes(leaves)
        self._words = [_words(_source(leaf), _SPARSE_BYTES) for leaf in leaves if keep_words]

    def check(self, arena: Arena, *, step: int) -> None:
        """Compare with what the leaves are now, and with their copies.

        Raises:
            SnapshotTorn: Some leaf has changed.
        """
        now = _changes(self._leaves)
        torn = []
        for leaf, before, after, at in zip(
            self._leaves, self._changes, now, self._offsets, strict=True
        ):
            if before != after or (
                _is_compared(leaf)
                and _differs(
                    leaf, arena.view[at:], _DENSE_BYTES if after is None else _SPARSE_BYTES
                )
            ):
                torn.append(leaf.path)
        for leaf, words, at in zip(self._leaves, self._words, self._offsets, strict=False):
            copy = arena.view[at : at + leaf.spec.nbytes]
            if leaf.path not in torn and not np.array_equal(words, _words(copy, _SPARSE_BYTES)):
                torn.append(leaf.path)
        _refuse(torn, step)


@final
class StillWatch:
    """Knows what the leaves of a state were before they are written straight from where they are.

    Args:
        leaves: The leaves, before any of them is read.
    """

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self._leaves = leaves
        self._changes = _changes(leaves)
        self._words = [self._words_now(at) for at in range(len(leaves))]

    def check(self, *, step: int) -> None:
        """Compare with what the leaves are now, all of them having been read.

        Raises:
            SnapshotTorn: Some leaf has changed.
        """
        now = _changes(self._leaves)
        torn = [
            leaf.path
            for at, leaf in enumerate(self._leaves)
            if self._changes[at] != now[at] or self._words[at] != self._words_now(at)
        ]
        _refuse(torn, step)

    def _words_now(self, at: int) -> bytes:
        leaf = self._leaves[at]
        if leaf.address is None:
            return b""
        if leaf.spec.nbytes <= _WHOLE_BYTES:
            return ctypes.string_at(leaf.address, leaf.spec.nbytes)
        every_bytes = _DENSE_BYTES if self._changes[at] is None else _SPARSE_BYTES
        return _words(_source(leaf), every_bytes).tobytes()


def _refuse(torn: Sequence[str], step: int) -> None:
    if not torn:
        return
    names = ", ".join(map(repr, torn[:_TOLD])) + (", …" if len(torn) > _TOLD else "")
    raise SnapshotTorn(
        f"Step {step} was not saved: {len(torn)} array(s) were changed while they were "
        f"being copied: {names}. Checkpoints committed before are safe. Save when nothing "
        "else trains or updates the state.",
        step=step,
        leaves=tuple(torn),
    )


def _changes(leaves: Sequence[Leaf]) -> list[int | None]:
    return [leaf.adapter.count_changes(leaf.value) for leaf in leaves]


def _is_compared(leaf: Leaf) -> bool:
    return leaf.spec.nbytes >= SMALL_BYTES and leaf.address is not None


def _differs(leaf: Leaf, copy: memoryview, every_bytes: int) -> bool:
    nbytes = leaf.spec.nbytes
    return not np.array_equal(
        _words(_source(leaf), every_bytes), _words(copy[:nbytes], every_bytes)
    )


def _source(leaf: Leaf) -> memoryview:
    assert leaf.address is not None
    return memoryview((ctypes.c_uint8 * leaf.spec.nbytes).from_address(leaf.address)).cast("B")


def _words(data: memoryview, every_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return some words of 8 bytes, so far apart, and the last one."""
    words = np.frombuffer(data, np.uint64, data.nbytes // 8)
    return np.append(words[:: every_bytes // 8], words[-1:])

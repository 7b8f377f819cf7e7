"""The bytes of two checkpoints, brought side by side a few chunks at a time, and measured."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from holdfast.chunks.batch import reads_of
from holdfast.chunks.read import NOTHING_READ, read_chunks
from holdfast.format.commit import CommitRecord
from holdfast.history.diff.movement import Movement, measure, total
from holdfast.history.diff.plan import Piece, Segment, Task, plan_comparison
from holdfast.history.diff.trees import Pair
from holdfast.history.diff.widen import Bytes
from holdfast.records.whole import Whole
from holdfast.store.contract import ObjectStore

# Each holds a task's bytes of both sides; more threads would wait for memory, not for the disk.
_THREADS = min(4, os.cpu_count() or 1)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two checkpoints: where it lies, and its manifest."""

    store: ObjectStore
    record: CommitRecord
    part: Whole

    @property
    def ref(self) -> str:
        """``RUN@STEP`` of the checkpoint."""
        return f"{self.record.run}@{self.record.step}"


@dataclass(frozen=True, slots=True)
class Measured:
    """The movement of each pair, and the bytes of packs that were read for them."""

    movements: Sequence[Movement]
    read_bytes: int


def measure_pairs(
    before: Side,
    after: Side,
    pairs: Sequence[Pair],
    bits_only: Callable[[Pair], bool],
    progress: Progress | None = None,
) -> Measured:
    """Read pairs of arrays of one shape each, and return how far each moved.

    Args:
        before: The earlier checkpoint.
        after: The later checkpoint.
        pairs: The pairs.
        bits_only: Says of a pair that its elements mean nothing as numbers.
        progress: Called with the bytes read and the bytes to read; from several threads.

    Raises:
        ChunkDamaged, ChunkMissing: Some chunk is not good; the message names the leaf.
    """
    rows = [(before.part.arrays[p.before.row], after.part.arrays[p.after.row]) for p in pairs]
    tasks = plan_comparison(rows, (before.part.chunks, after.part.chunks))
    work = _Comparison(before, after, pairs, bits_only, progress, tasks)
    with ThreadPoolExecutor(_THREADS, "holdfast-diff") as pool:
        try:
            for _ in pool.map(work.run, tasks):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Measured([total(work.found[i]) for i in range(len(pairs))], work.read_bytes)


class _Comparison:
    def __init__(
        self,
        before: Side,
        after: Side,
        pairs: Sequence[Pair],
        bits_only: Callable[[Pair], bool],
        progress: Progress | None,
        tasks: Sequence[Task],
    ) -> None:
        self._sides = before, after
        self._pairs = pairs
        self._bits_only = bits_only
        self._progress = progress or (lambda done, total: None)
        self._memory = threading.local()
        self._lock = threading.Lock()
        self._to_read_bytes = sum(
            self._chunk_bytes(i, pieces) for task in tasks for i, pieces in enumerate(_needed(task))
        )
        self.found: defaultdict[int, list[Movement]] = defaultdict(list)
        self.read_bytes = self._done_bytes = 0

    def run(self, task: Task) -> None:
        needed = _needed(task)
        before, n_before = self._read(0, needed[0])
        after, n_after = self._read(1, needed[1])
        moved = []
        at = [0, 0]
        for segment in task:
            x = _next(before, at, 0, segment.before)
            y = x if segment.is_same else _next(after, at, 1, segment.after)
            moved.append((segment.pair, self._measure(segment, x, y)))
        done_bytes = sum(self._chunk_bytes(i, pieces) for i, pieces in enumerate(needed))
        with self._lock:
            for pair, movement in moved:
                self.found[pair].append(movement)
            self.read_bytes += n_before + n_after
            self._done_bytes += done_bytes
            self._progress(self._done_bytes, self._to_read_bytes)

    def _measure(self, segment: Segment, x: Bytes, y: Bytes) -> Movement:
        pair = self._pairs[segment.pair]
        before, after = (
            side.part.arrays[leaf.row].dtype
            for side, leaf in zip(self._sides, (pair.before, pair.after), strict=True)
        )
        return measure(x, before, y, after, as_numbers=not self._bits_only(pair))

    def _read(self, which: int, pieces: Sequence[tuple[Segment, Piece]]) -> tuple[Bytes, int]:
        """Read the pieces of one side, one behind the other, into this thread's memory.

        Returns:
            The memory, and the bytes of the store that were read for it.
        """
        side = self._sides[which]
        nbytes = sum(piece.nbytes for _, piece in pieces)
        memory = self._memory_of(which, nbytes)
        view = memory.data
        targets: dict[int, list[tuple[int, memoryview, bool, str]]] = {}
        at = 0
        for segment, piece in pieces:
            into = view[at : at + piece.nbytes]
            path = self._pairs[segment.pair].path
            targets.setdefault(piece.chunk, []).append((piece.begin, into, False, path))
            at += piece.nbytes
        found = NOTHING_READ
        if targets:
            found = read_chunks(side.store, reads_of(side.part, targets), ref=side.ref)
        return memory, found.read

    def _memory_of(self, which: int, nbytes: int) -> Bytes:
        # Memory that was touched before costs no page faults.
        held: dict[int, Bytes] = self._memory.__dict__.setdefault("held", {})
        if which not in held or len(held[which]) < nbytes:
            held[which] = np.empty(nbytes, np.uint8)
        return held[which][:nbytes]

    def _chunk_bytes(self, which: int, pieces: Sequence[tuple[Segment, Piece]]) -> int:
        """Return the bytes of the chunks that pieces are in, as a measure of the work."""
        chunks = self._sides[which].part.chunks
        return sum(chunks[i].length for i in {piece.chunk for _, piece in pieces})


def _needed(task: Task) -> tuple[list[tuple[Segment, Piece]], list[tuple[Segment, Piece]]]:
    """Return the pieces that a task reads on either side; of equal bytes only the first side."""
    before = [(segment, piece) for segment in task for piece in segment.before]
    after = [(s, piece) for s in task if not s.is_same for piece in s.after]
    return before, after


def _next(memory: Bytes, at: list[int], which: int, pieces: Sequence[Piece]) -> Bytes:
    """Return the bytes of the pieces that come next in memory, and step over them."""
    begin = at[which]
    at[which] = begin + sum(piece.nbytes for piece in pieces)
    return memory[begin : at[which]]

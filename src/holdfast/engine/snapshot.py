"""The snapshot: the one thing that the training loop waits for.

All leaves are copied into the arena by several threads. Where the arena still holds an earlier
snapshot of the same layout, a large chunk is compared first: equal bytes need no copy, and the
persister need neither digest nor write them. Comparing costs what copying costs where nothing has
changed, and next to nothing where something has, since the first difference ends it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from holdfast.engine.arena import Arena
from holdfast.engine.filling import Filling
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, GROUP_BYTES, Layout, align
from holdfast.state.flatten import Flat, Leaf
from holdfast.store.memory_copy import QUICK_BYTES, copy

_PIECE_BYTES = 16 << 20
_SMALL_COPIES_PER_TASK = 2048

_libc = ctypes.CDLL(None)
_compare = _libc.memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_compare.restype = ctypes.c_int


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes to be copied: chunk, address in the arena, address of the source."""

    chunk: int
    to: int
    source: int
    nbytes: int


class Copier:
    """Copies snapshots with a pool of threads that is made once."""

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, "holdfast-copy")

    def copy(
        self,
        flat: Flat,
        layout: Layout,
        arena: Arena,
        *,
        compare: bool,
        early: bool = False,
        later: Container[int] = (),
    ) -> Callable[[], list[Future[None]]] | None:
        """Copy every leaf into the arena; its ``filling`` tells which chunks are new.

        Args:
            flat: The state; its leaves must not change until they are copied.
            layout: Where each leaf goes.
            arena: Large enough for the layout.
            compare: The arena holds a snapshot of this same layout.
            early: Tell of each chunk at once, so that it is written while others are copied.
            later: Addresses of leaves that are to be copied later; see ``in_pieces``.

        Returns:
            What starts the copying of those that come later, or None if there are none.
        """
        if not compare and arena.is_used:
            _clear_gaps(layout, arena)
        arena.is_used = True
        work = _split(flat.leaves, layout, arena, later)
        pieces = [*work.large, *work.later]
        news = _News(pieces, arena.filling, early=early) if compare else None
        small = work.small
        tasks = self._start(work.large, news)
        n_each = min(_SMALL_COPIES_PER_TASK, -(-len(small) // self._threads))
        tasks += [
            self._pool.submit(_copy_small, small[i : i + n_each])
            for i in range(0, len(small), max(n_each, 1))
        ]
        try:
            # One thread at a time could copy them: it is this one.
            _copy_small(work.tiny)
            # On this thread: a device's stream belongs to the thread that trains on it.
            for leaf, offset in work.exported:
                leaf.export(arena.view[offset : offset + leaf.spec.nbytes])
        finally:
            # Nobody may write into the arena any more when this returns, however it does.
            wait(tasks)
        for task in tasks:
            task.result()
        if news is not None:
            news.release()
        return partial(self._start, work.later, news) if work.later else None

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True)

    def _start(self, pieces: Sequence[Piece], news: _News | None) -> list[Future[None]]:
        # Few tasks that take their work from one queue: a task for each piece would cost more time
        # than it takes to copy a small one.
        queue = iter(pieces)
        n_tasks = min(self._threads, len(pieces))
        return [self._pool.submit(_copy_pieces, queue, news) for _ in range(n_tasks)]


class _News:
    """Tells of each chunk, when all its pieces are done, whether it has changed.

    Args:
        pieces: What is copied.
        filling: Where it is told.
        early: Tell at once; otherwise what comes before ``release`` is kept back until then.
    """

    def __init__(self, pieces: Sequence[Piece], filling: Filling, *, early: bool) -> None:
        self._filling = filling
        self._is_kept_back = not early
        self._done: list[int] = []
        self._left = Counter(piece.chunk for piece in pieces)
        self._changed: set[int] = set()
        self._lock = threading.Lock()

    def done(self, chunk: int, *, changed: bool) -> None:
        with self._lock:
            if changed:
                self._changed.add(chunk)
            self._left[chunk] -= 1
            if self._left[chunk] == 0:
                self._done.append(chunk)
                if not self._is_kept_back:
                    self._tell()

    def release(self) -> None:
        """Tell of all chunks that were kept back, and of later ones at once."""
        with self._lock:
            self._is_kept_back = False
            self._tell()

    def _tell(self) -> None:
        for chunk in self._done:
            self._filling.mark(chunk, changed=chunk in self._changed)
        self._done.clear()


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be copied, by how: in pieces, now or later; small and tiny ones; by export.

    A small one is its address in the arena, that of its source, and its length.
    """

    large: list[Piece] = field(default_factory=list)
    later: list[Piece] = field(default_factory=list)
    small: list[tuple[int, int, int]] = field(default_factory=list)
    tiny: list[tuple[int, int, int]] = field(default_factory=list)
    exported: list[tuple[Leaf, int]] = field(default_factory=list)


def _split(leaves: Sequence[Leaf], layout: Layout, arena: Arena, later: Container[int]) -> _Work:
    work = _Work()
    offsets, lengths, base = layout.offsets, layout.lengths, arena.address
    for leaf, (chunk, within) in zip(leaves, layout.places, strict=True):
        nbytes = leaf.spec.nbytes
        if nbytes == 0:
            continue
        start = offsets[chunk] + within
        if leaf.address is None:
            work.exported.append((leaf, start))
        elif _is_large(nbytes, lengths[chunk]):
            # A leaf of several chunks lies in the arena without gaps: all but its last chunk are
            # of a length that is aligned.
            pieces = work.later if leaf.address in later else work.large
            for at in range(0, nbytes, _PIECE_BYTES):
                n = min(_PIECE_BYTES, nbytes - at)
                piece = Piece(chunk + at // CHUNK_BYTES, base + start + at, leaf.address + at, n)
                pieces.append(piece)
        else:
            copies = work.tiny if nbytes <= QUICK_BYTES else work.small
            copies.append((base + start, leaf.address, nbytes))
    return work


def in_pieces(leaves: Sequence[Leaf], layout: Layout, addresses: Container[int]) -> set[int]:
    """Return the addresses of leaves that are copied in pieces of their own, of those given."""
    return {
        leaf.address
        for leaf, (chunk, _) in zip(leaves, layout.places, strict=True)
        if leaf.address is not None
        and leaf.address in addresses
        and _is_large(leaf.spec.nbytes, layout.lengths[chunk])
    }


def _is_large(nbytes: int, chunk_bytes: int) -> bool:
    """Say whether a leaf has a chunk, or several, for itself."""
    return nbytes == chunk_bytes or nbytes > CHUNK_BYTES


def _copy_pieces(queue: Iterator[Piece], news: _News | None) -> None:
    """Copy pieces while there are any, where there is news to tell only those that differ."""
    for piece in queue:
        changed = news is None or _compare(piece.to, piece.source, piece.nbytes) != 0
        if changed:
            copy(piece.to, piece.source, piece.nbytes)
        if news is not None:
            news.done(piece.chunk, changed=changed)


def _copy_small(copies: Sequence[tuple[int, int, int]]) -> None:
    for to, source, nbytes in copies:
        copy(to, source, nbytes)


def _clear_gaps(layout: Layout, arena: Arena) -> None:
    """Zero what lies between small leaves and behind chunks, and is digested or written with them.

    Only for an arena that has held another layout: a new one is zero.
    """
    for length, offset in zip(layout.lengths, layout.offsets, strict=True):
        begin = offset if length <= GROUP_BYTES else offset + length
        end = align(offset + length, CHUNK_ALIGNMENT)
        ctypes.memset(arena.address + begin, 0, end - begin)

"""The chunks of a snapshot in shared memory, as the persister takes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from holdfast.chunks.stored import Stored
from holdfast.engine.arena import Arena
from holdfast.errors import SaveFailed
from holdfast.plan.layout import CHUNK_ALIGNMENT, Layout, align

_ARRIVAL_POLL_S = 0.0005


class ArenaSource:
    """The chunks of a snapshot in an arena, from its first one on; they stay until the next one.

    Args:
        arena: Where it is, or is being taken.
        layout: Where its chunks are.
        previous: Where the chunks of the arena's last snapshot were stored, by index; empty if
            that is not known.
        is_orphaned: Says whether who takes the snapshot is gone.
    """

    def __init__(
        self,
        arena: Arena,
        layout: Layout,
        previous: Mapping[int, Stored],
        is_orphaned: Callable[[], bool],
    ) -> None:
        self._view = arena.view
        self._filling = arena.filling
        self._layout = layout
        self._previous = previous
        self._is_orphaned = is_orphaned

    def arriving(self) -> Iterator[int]:
        """Yield new chunks as they are told of; the snapshot is complete afterwards.

        Raises:
            SaveFailed: It never will be.
        """
        seen: set[int] = set()
        while True:
            # Asked first: what is told before the end is seen, whenever that comes.
            is_going_on = self._filling.is_going_on
            if is_going_on and self._is_orphaned():
                raise SaveFailed("The trainer died while it took the snapshot.")
            if not is_going_on and not self._filling.is_complete:
                raise SaveFailed("The snapshot was interrupted.")
            found = [c for c in self._filling.changed() if c in self._previous and c not in seen]
            seen.update(found)
            yield from found
            if not is_going_on:
                return
            time.sleep(_ARRIVAL_POLL_S)

    def unchanged(self) -> Mapping[int, Stored]:
        """Return where the chunks are stored that the last snapshot had too."""
        found = self._filling.unchanged()
        return {chunk: self._previous[chunk] for chunk in found if chunk in self._previous}

    def acquire(self, chunk: int) -> memoryview:
        """Return the chunk's bytes, padding included."""
        offset = self._layout.offsets[chunk]
        length = align(self._layout.lengths[chunk], CHUNK_ALIGNMENT)
        return self._view[offset : offset + length]

    def release(self, chunk: int) -> None:
        """Do nothing: the arena stays."""

    def abandon(self) -> None:
        """Do nothing: nobody waits for an arena."""

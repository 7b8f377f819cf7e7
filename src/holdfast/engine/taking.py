"""The taking of one snapshot, from its beginning until it is complete or given up."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future

from holdfast.engine.client import PendingSave, PersisterClient
from holdfast.engine.gate import Copying
from holdfast.engine.slot import Slot
from holdfast.engine.torn import TornWatch
from holdfast.errors import HoldfastError, SaveFailed, SnapshotTorn
from holdfast.plan.layout import Layout
from holdfast.state.flatten import Leaf


class Taking:
    """Begins a snapshot in a slot; ``complete`` or ``abandon`` ends it.

    Args:
        slot: A free slot whose arena is large enough.
        pending: The save that the snapshot is for.
        leaves: The leaves of the state.
        layout: Where they go.
        later: Addresses of leaves that are copied later.
        started_s: When the loop began to be held, on the monotonic clock.
    """

    def __init__(
        self,
        slot: Slot,
        pending: PendingSave,
        leaves: Sequence[Leaf],
        layout: Layout,
        later: Collection[int],
        started_s: float,
    ) -> None:
        self._slot = slot
        self._pending = pending
        self._layout = layout
        self._started_s = started_s
        slot.layout, slot.handle, slot.copying = None, pending.handle, None
        pending.arena.filling.begin()
        at = [layout.offsets[chunk] + within for chunk, within in layout.places]
        # So it is with nearly all saves, and a state may have a hundred thousand leaves.
        if not later:
            self._at_once, self._later = TornWatch(leaves, at), TornWatch((), ())
            return
        pairs = list(zip(leaves, at, strict=True))
        self._at_once = _watch([pair for pair in pairs if pair[0].address not in later])
        self._later = _watch([pair for pair in pairs if pair[0].address in later], keep_words=True)

    def check_at_once(self) -> None:
        """Look at what had to be copied at once.

        Raises:
            SnapshotTorn: The state was changed meanwhile.
        """
        self._at_once.check(self._pending.arena, step=self._pending.job.step)

    def complete(self, generation: int, held_s: float) -> None:
        """Say that all of the snapshot is there.

        Args:
            generation: That of the persister which was given the save.
            held_s: For how long the loop was held, in seconds.

        Raises:
            SnapshotTorn: The state was changed meanwhile.
        """
        pending, slot = self._pending, self._slot
        self._later.check(pending.arena, step=pending.job.step)
        pending.handle.held_s = held_s
        slot.layout, slot.generation = self._layout, generation
        pending.arena.filling.complete(held_s, time.monotonic())

    def complete_later(
        self, client: PersisterClient, tasks: Sequence[Future[None]], copying: Copying
    ) -> None:
        """Complete the snapshot when the rest of it has been copied; its handle tells of trouble.

        Args:
            client: To whom the save was given.
            tasks: What is still being copied.
            copying: Those who wait for it.
        """
        self._slot.copying = copying
        generation = client.generation
        held_s = time.monotonic() - self._started_s
        self._pending.handle.held_s = held_s

        def complete() -> None:
            try:
                for task in tasks:
                    task.result()
                self.complete(generation, held_s + copying.held_s())
            except SnapshotTorn as error:
                self.abandon(client, error)
            except Exception as error:
                self.abandon(client, self._failure(error))

        copying.follow(tasks, complete)

    def abandon(self, client: PersisterClient, error: BaseException) -> None:
        """Give the snapshot up."""
        self._pending.arena.filling.abandon()
        cause = error if isinstance(error, HoldfastError) else self._failure(error)
        client.withdraw(self._pending, cause)

    def _failure(self, error: BaseException) -> SaveFailed:
        return SaveFailed(f"Step {self._pending.job.step} was not saved: {error!r}.")


def _watch(pairs: Sequence[tuple[Leaf, int]], *, keep_words: bool = False) -> TornWatch:
    leaves, offsets = [leaf for leaf, _ in pairs], [at for _, at in pairs]
    return TornWatch(leaves, offsets, keep_words=keep_words)

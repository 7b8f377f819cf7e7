"""Saves of one run: snapshot into an arena, job to the persister, back-pressure, errors told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from holdfast.chunks.encoder import Compress
from holdfast.distributed.ranks import Ranks
from holdfast.engine import job as jobs
from holdfast.engine.arena import Arena
from holdfast.engine.client import NO_TIERS, PendingSave, PersisterClient
from holdfast.engine.gate import Copying, Gate
from holdfast.engine.handle import SaveHandle
from holdfast.engine.metrics_feed import MetricsFeed
from holdfast.engine.new_job import CheckFinite, job_of
from holdfast.engine.shield import uninterrupted
from holdfast.engine.slot import Slot
from holdfast.engine.snapshot import Copier, in_pieces
from holdfast.engine.taking import Taking
from holdfast.engine.tiers.kinds import HOME
from holdfast.format.lineage import Lineage
from holdfast.plan.layout import CHUNK_BYTES, Layout, align, plan_layout
from holdfast.plan.overlap import is_worth_overlapping
from holdfast.plan.sharing import Shares
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.state.casts import Casts
from holdfast.state.collector import collector_paused
from holdfast.state.flatten import Flat, flatten
from holdfast.state.paths import Patterns, selector
from holdfast.state.rng import ROOT_KEY
from holdfast.state.sharding import Sharing
from holdfast.store.recipe import Recipe

_log = logging.getLogger("holdfast")
_ARENA_STEP = 1 << 20


class Saver:
    """Takes snapshots and hands them on. Holds the loop for the copy, and for a free arena.

    Args:
        store: How the persister opens the store.
        run: Name of the run.
        keep: Policies of retention, as text.
        in_flight: How many snapshots may be under way.
        nice: Added to the niceness of the persister.
        zero_stall: Copy what optimizers guard while training goes on.
        authenticity: Who signs, and who is believed.
        compress: How the persister stores chunks.
        ranks: Those that save together; None: this process does alone.
        per_rank: Patterns of what each rank has for itself.
        check_replicas: Digest what several ranks hold, to be compared.
        tiers: What the persister has to know of the run's other stores.
    """

    def __init__(
        self,
        store: Recipe,
        run: str,
        *,
        keep: list[str],
        in_flight: int,
        nice: int,
        zero_stall: bool = False,
        authenticity: Authenticity = NOBODY,
        compress: Compress = "none",
        ranks: Ranks | None = None,
        per_rank: Patterns = None,
        check_replicas: bool = False,
        tiers: Mapping[str, Any] = NO_TIERS,
    ) -> None:
        self._run = run
        self._copier = Copier()
        self._planned: tuple[list[tuple[str, int]], Layout] | None = None
        self._slots = [Slot(i) for i in range(in_flight)]
        self.ranks = ranks
        self._is_own = _own_paths(per_rank)
        self._check_replicas = check_replicas
        self.incarnation = jobs.new_id() if ranks is None else ranks.incarnation
        self.client = PersisterClient(
            store,
            run,
            keep,
            nice,
            self.incarnation,
            authenticity,
            compress,
            ranks,
            tiers,
        )
        self._arenas_made = 0
        self._gate = Gate() if zero_stall else None

    def metrics_feed(self) -> MetricsFeed:
        """Return what takes the metrics of each step; of several ranks the first one's are kept."""
        is_first = self.ranks is None or not self.ranks.rank
        return MetricsFeed(self.client.metrics_ring, self.incarnation, is_kept=is_first)

    def free_slot(self) -> Slot | None:
        """Return a slot that is free now, or None."""
        return next((slot for slot in self._slots if slot.is_free), None)

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot is being taken or written."""
        return not all(slot.is_free for slot in self._slots)

    def slot_for(self, step: int, *, may_skip: bool) -> Slot | None:
        """Return a free slot, waiting for one if need be; or None, and say so, if it may be."""
        slot = self.free_slot()
        if slot is None and may_skip:
            _log.warning("Step %d was not saved: the save before it is not durable yet.", step)
            return None
        return slot or self.wait_for_slot()

    def wait_for_slot(self) -> Slot:
        """Return a free slot, waiting for the oldest save if need be."""
        while (slot := self.free_slot()) is None:
            busy = [s for s in self._slots if not s.is_free]
            if busy:
                busy[0].wait()
        return slot

    def save(
        self,
        make_state: Callable[[], object],
        step: int,
        *,
        only: Patterns,
        skip: Patterns,
        casts: Casts,
        check_finite: CheckFinite = False,
        metrics: Mapping[str, float],
        reason: str,
        tag: str | None,
        parent: str | None,
        environment: Mapping[str, Any],
        slot: Slot,
        started_s: float,
        remembered: Mapping[int, object] | None = None,
        spares_others: bool = False,
        lineage: Lineage | None = None,
        versions: tuple[str, ...] = (),
        epoch: float | None = None,
        tiers: tuple[str, ...] = (HOME,),
    ) -> SaveHandle:
        """Freeze the state and start making it durable.

        Args:
            make_state: Gives the state when called.
            step: Name of the checkpoint.
            only: Patterns of the leaves to save.
            skip: Patterns of the leaves not to save.
            casts: Which arrays are saved in fewer bits.
            check_finite: Which leaves are to be looked at for values that are not finite.
            metrics: Go with the checkpoint.
            reason: Why it is saved.
            tag: Name to give it.
            parent: Id of the checkpoint that training went on from.
            environment: Goes with the checkpoint.
            slot: A free slot.
            started_s: When the loop began to be held, on the monotonic clock.
            remembered: Earlier state of some objects, to be saved in its place; see ``flatten``.
            spares_others: Retention leaves alone what other processes have saved.
            lineage: Goes with the checkpoint.
            versions: Sequences of names from which it gets the next one each.
            epoch: Epochs finished so far, if anybody counts them.
            tiers: Where it goes, besides into memory.
        """
        with collector_paused():
            state = make_state()
            flat = flatten(
                state,
                only=only,
                skip=skip,
                remembered=remembered,
                sharing=self._sharing(),
                casts=casts,
            )
            layout = self._layout_of(flat)
            job = job_of(
                flat,
                layout,
                self._run,
                step=step,
                check_finite=check_finite,
                ranks=self.ranks,
                metrics=metrics,
                reason=reason,
                tag=tag,
                parent=parent,
                environment=environment,
                incarnation=self.incarnation,
                spares_others=spares_others,
                lineage=lineage or Lineage(),
                versions=versions,
                epoch=epoch,
                tiers=tiers,
            )
            later: set[int] = set()
            if self._gate is not None:
                later = in_pieces(flat.leaves, layout, self._gate.watch(state))
            # From here on nothing may be left half done, in shared memory least of all.
            with uninterrupted():
                return self._take(slot, flat, layout, job, later, started_s)

    def _take(
        self,
        slot: Slot,
        flat: Flat,
        layout: Layout,
        job: jobs.SaveJob,
        later: Collection[int],
        started_s: float,
    ) -> SaveHandle:
        arena = self._fit(slot, layout)
        compare = slot.layout == layout and slot.generation == self.client.generation
        last = slot.handle
        early = last is not None and is_worth_overlapping(last.held_s, last.durable_s)
        handle = SaveHandle(job.step, job.id, job.tiers)
        pending = PendingSave(replace(job, arena=slot.name), handle, arena)
        taking = Taking(slot, pending, flat.leaves, layout, later, started_s)
        try:
            # Before the copy: the persister writes what is there already (docs/adr/0012).
            self.client.submit(pending)
            copy_rest = self._copier.copy(
                flat, layout, arena, compare=compare, early=early, later=later
            )
            taking.check_at_once()
            if copy_rest is not None and self._gate is not None:
                copying, tasks = Copying(), copy_rest()
                # Not before it goes on: who waits for a copy that never begins waits for ever.
                self._gate.close_for(copying)
                taking.complete_later(self.client, tasks, copying)
            else:
                taking.complete(self.client.generation, time.monotonic() - started_s)
        except BaseException as error:
            taking.abandon(self.client, error)
            raise
        return handle

    def prepare(
        self,
        state: object,
        *,
        only: Patterns,
        skip: Patterns,
        casts: Casts,
        patience_s: float = 0.0,
    ) -> Exception | None:
        """Make the arena for a state before the first snapshot of it is due.

        Args:
            state: What will be saved.
            only: Patterns of the leaves to save.
            skip: Patterns of the leaves not to save.
            casts: Which arrays are saved in fewer bits.
            patience_s: How long to wait for the system to provide the memory.

        Returns:
            Why the state could not be saved as it is now, or None.
        """
        slot = self._slots[0]
        if not slot.is_free or slot.layout is not None:
            return None
        try:
            with collector_paused():
                sharing = self._sharing(is_saved=False)
                flat = flatten(state, only=only, skip=skip, sharing=sharing, casts=casts)
                layout = self._layout_of(flat)
        except Exception as error:
            return error
        before = slot.arena
        with uninterrupted():
            arena = self._fit(slot, layout)
        if arena is not before:
            arena.touch()
            arena.wait_touched(patience_s)
        return None

    def _layout_of(self, flat: Flat) -> Layout:
        # From save to save it is nearly always the same, and quicker compared than planned.
        sizes = [(leaf.path, leaf.spec.nbytes) for leaf in flat.leaves]
        if self._planned is None or self._planned[0] != sizes:
            self._planned = sizes, plan_layout(sizes)
        return self._planned[1]

    def _sharing(self, *, is_saved: bool = True) -> Sharing | None:
        if self.ranks is None:
            return None
        # Counted anew for each save, so that the same rank writes the same each time.
        writer_of = Shares().writer_of
        rank, world_size = self.ranks.rank, self.ranks.world_size
        is_checked, is_own = self._check_replicas, self._is_own
        return Sharing(rank, world_size, writer_of, is_own, CHUNK_BYTES, is_checked, is_saved)

    def lend_memory(self) -> memoryview | None:
        """Return an arena's memory while no snapshot is in it that anybody needs."""
        slot = self._slots[0]
        if slot.arena is None or not slot.is_free:
            return None
        slot.layout = None
        slot.arena.is_used = True
        return slot.arena.view

    def wait(self) -> None:
        """Wait until no save is under way."""
        for slot in self._slots:
            slot.wait()
        self.client.wait_ended()

    def close(self, ended: str) -> None:
        """Wait for the saves under way, end the persister, free the arenas.

        Args:
            ended: How training was left, for the journal.
        """
        self.wait()
        if self._gate is not None:
            self._gate.open()
        self.client.close(ended)
        self._copier.close()
        for slot in self._slots:
            if slot.arena is not None:
                slot.arena.close()
                slot.arena = None

    def _fit(self, slot: Slot, layout: Layout) -> Arena:
        if slot.arena is not None and slot.arena.nbytes >= layout.total_bytes:
            return slot.arena
        if slot.arena is not None:
            old, slot.arena, slot.layout = slot.arena, None, None
            self.client.drop_arena(slot.name)
            old.close()
        slot.arena = Arena.create(align(layout.total_bytes, _ARENA_STEP))
        self._arenas_made += 1
        slot.name = f"{slot.number}-{self._arenas_made}"
        return slot.arena


def _own_paths(per_rank: Patterns) -> Callable[[str], bool]:
    """Return what says of a path whether each rank has its own value there."""
    chosen = selector(per_rank, None) if per_rank else None
    return lambda path: path == ROOT_KEY or (chosen is not None and chosen(path))

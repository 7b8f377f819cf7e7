"""The memory tier: what is saved is whole there first, and goes home from there.

So training waits for memory only, and the arena is free for the next snapshot. A few checkpoints
may be on their way home at a time; a save beyond that waits, as it would for the home store alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored
from holdfast.engine.job import SaveJob
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.tiers.kinds import HOME
from holdfast.engine.timing import Timing
from holdfast.engine.transfer import filler_of
from holdfast.engine.unfinished import Saved
from holdfast.errors import HoldfastError, NoSpace, SaveFailed
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys
from holdfast.format.sizes import size_text
from holdfast.history.retention import apply_retention, united
from holdfast.records import commits
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A checkpoint that is in memory and shall go home.

    Attributes:
        job: What was asked for.
        record: Its commit in memory.
        timing: What it took so far.
    """

    job: SaveJob
    record: CommitRecord
    timing: Timing


def on_its_way(job: SaveJob, record: CommitRecord, timing: Timing) -> OnItsWay:
    """Return a job that is in memory and shall go home, as having been saved at the same time."""
    return OnItsWay(replace(job, created_ns=record.created_ns), record, timing)


@final
class Near:
    """Writes into memory, and passes on what shall go home.

    Args:
        writer: Of the run in memory.
        keep: What stays there, as texts.
        at_once: How many may be on their way home.
        send_home: Saves a job at home, from a source that is to be made; tells whoever asked, also
            where it fails.

    Attributes:
        store: What is in memory.
    """

    def __init__(
        self,
        writer: RunWriter,
        keep: Sequence[str],
        at_once: int,
        send_home: Callable[[OnItsWay, Callable[[], ChunkSource]], None],
    ) -> None:
        self._writer, self.store, self._run = writer, writer.store, writer.run
        self._keep = united(keep)
        self._at_once = at_once
        self._send_home = send_home
        self._changed = threading.Condition()
        self._queue: deque[OnItsWay] = deque()
        self._is_closed = False
        self._has_told = False
        self._thread = threading.Thread(target=self._work, name="holdfast-home", daemon=True)
        self._thread.start()

    def save(
        self,
        job: SaveJob,
        source: ChunkSource,
        unchanged: Callable[[], Mapping[int, Stored]],
    ) -> Saved:
        """Write a checkpoint into memory, and remove what need not stay there.

        Raises:
            NoSpace: The memory is too small.
        """
        if HOME in job.tiers:
            self._wait_for_room()
        try:
            # Names are given at home, where they last.
            saved = self._writer.save(replace(job, tag=None, versions=()), source, unchanged)
        except NoSpace as error:
            raise self._too_small(job, error) from error
        self._retain(job)
        return saved

    def pass_on(self, item: OnItsWay) -> None:
        """Let a checkpoint that is in memory go home; returns at once."""
        with self._changed:
            self._queue.append(item)
            self._changed.notify_all()

    def found_again(self, job: SaveJob) -> OnItsWay:
        """Return a save that a process before this one has written here, to go home.

        Raises:
            SaveFailed: It is not here.
        """
        for record in commits.good_commits(self.store, self._run):
            if record.id == job.id:
                return on_its_way(job, record, Timing.begun())
        raise SaveFailed(
            f"Step {job.step} did not come home: it is not in memory any more. Checkpoints that "
            "were committed before are safe.",
            step=job.step,
        )

    def tell(self, error: HoldfastError) -> None:
        """Say once that a save went home without having been in memory."""
        if not self._has_told:
            self._has_told = True
            _log.warning("What goes home is saved there at once, not in memory first: %s", error)

    def close(self) -> None:
        """Bring home what is on its way, and give the run in memory back."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._writer.close()

    def _wait_for_room(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < self._at_once)

    def _too_small(self, job: SaveJob, error: NoSpace) -> NoSpace:
        free = self.store.free_bytes() or 0
        return NoSpace(
            f"The memory tier at {self.store.location!r} has {size_text(free)} free, too little "
            f"for a checkpoint of {size_text(job.state_bytes)}; it holds two or three at a time. "
            "Give it more room (Docker: --shm-size; else mount a larger tmpfs and name it by "
            "tier.memory(folder=…)), or leave tier.memory() out. What is at home is safe.",
            **error.facts,
        )

    def _retain(self, job: SaveJob) -> None:
        with self._changed:
            spared = {item.record.id for item in self._queue}
        try:
            apply_retention(
                self.store,
                self._run,
                self._keep,
                dry_run=False,
                strict=False,
                only_of=job.incarnation if job.spares_others else None,
                spared_ids=spared,
            )
        except HoldfastError as error:
            _log.warning("Old checkpoints in memory stay: %s", error)

    # --- the thread ---

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closed)
                if not self._queue:
                    return
                item = self._queue[0]
            try:
                self._send_home(item, partial(self._source_of, item))
            finally:
                with self._changed:
                    # Only now: what is in the queue is spared.
                    self._queue.popleft()
                    self._changed.notify_all()

    def _source_of(self, item: OnItsWay) -> ChunkSource:
        record = item.record
        part = commits.read_part(self.store, record, record.parts[0])
        fill = filler_of(self.store, part, f"{record.run}@{record.step}")
        return StreamSource(item.job.layout, fill)


def begin_anew(memory: ObjectStore, run: str) -> None:
    """Take away what memory has of a run that home knows nothing of: it is another one's."""
    keys = [info.key for info in memory.list(RunKeys(run).root)]
    if keys:
        _log.warning(
            "The run %r is new in its store: what memory had of an earlier one of that name is "
            "removed.",
            run,
        )
        memory.delete(keys)

"""Where the persister's saves go: into memory, home, from there to farther tiers, and to peers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, final

from holdfast.chunks.source import ChunkSource
from holdfast.engine import remote_signing
from holdfast.engine.chronicle import Chronicle
from holdfast.engine.job import SaveJob
from holdfast.engine.peers.refilling import Refilling
from holdfast.engine.remote_signing import Ask
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.tiers.draining import Draining, FarGiven
from holdfast.engine.tiers.near import Near, OnItsWay, begin_anew
from holdfast.engine.unfinished import Saved
from holdfast.errors import HoldfastError
from holdfast.format.names import RunKeys
from holdfast.records import commits, drains
from holdfast.store.contract import ObjectStore
from holdfast.store.recipe import reopen

_log = logging.getLogger("holdfast")

SendHome = Callable[[OnItsWay, Callable[[], ChunkSource]], None]


@final
class Destinations:
    """The tiers of a run, as the process that writes has them.

    Args:
        home: Writes the run in its own store.

    Attributes:
        near: The memory tier; None: there is none.
        turn: Held by who saves at home, where several threads do.
    """

    def __init__(self, home: RunWriter) -> None:
        self._home = home
        self.turn = threading.RLock()
        self._drains: list[Draining] = []
        self._wait_s = 0.0
        self.near: Near | None = None
        self._refilling: Refilling | None = None

    def open_near(
        self, given: Mapping[str, Any] | None, send_home: SendHome, *, pid: int, is_first: bool
    ) -> None:
        """Open the memory tier, before the journal tells that somebody writes the run.

        Args:
            given: What the trainer said of it; None: there is none.
            send_home: Saves at home what is in memory.
            pid: The trainer's.
            is_first: No process before this one has written for that trainer.

        Raises:
            RunBusy: Another live process writes the run there.
        """
        if given is None:
            return
        memory, run = reopen(given["store"]), self._home.run
        if is_first and _is_new(self._home.store, run):
            begin_anew(memory, run)
        writer = RunWriter(memory, run, authenticity=self._home.authenticity)
        writer.open(pid)
        self.near = Near(writer, given["keep"], given["at_once"], send_home)

    def open_far(self, given: Mapping[str, Any], chronicle: Chronicle, ask: Ask) -> None:
        """Begin to copy to the far tiers, with what earlier processes have left to do.

        Args:
            given: What the trainer said of them.
            chronicle: Is told what was copied.
            ask: As for ``remote_signing.from_message``.
        """
        store, run = self._home.store, self._home.run
        self._wait_s = float(given["wait_s"])
        names = {item["name"] for item in given["far"]}
        # Nobody copies for a tier that is there no more; nor shall anything stay for it.
        drains.forget(store, run, [d for d in drains.noted(store, run) if d.tier not in names])
        for item in given["far"]:
            tier = FarGiven(
                item["name"],
                reopen(item["store"]),
                item["keep"],
                item["bandwidth_bytes_s"],
                remote_signing.from_message(item["authenticity"], ask),
            )
            self._drains.append(Draining(store, run, tier, chronicle.record))
            self._drains[-1].begin()

    def begin_refilling(self, world_size: int) -> None:
        """Begin to make copies at other hosts that were lost, where there are such hosts.

        Args:
            world_size: How many ranks share it out.
        """
        home = self._home
        self._refilling = Refilling(home.store, home.run, home.rank, world_size)

    def at_home(self, job: SaveJob, save: Callable[[], Saved]) -> Saved:
        """Save in the run's own store, and let it be copied to the far tiers that it shall go to.

        Args:
            job: What is saved.
            save: Saves it; its errors are raised.
        """
        wanted = [drain for drain in self._drains if drain.tier.name in job.tiers]
        with self.turn:
            for drain in wanted:
                self._quietly(drain.announce, job)
            try:
                saved = save()
            except BaseException:
                for drain in wanted:
                    self._quietly(drain.withdraw, job)
                raise
        for drain in wanted:
            self._quietly(drain.committed, job)
        return saved

    def close_near(self) -> None:
        """Bring home what is in memory only and shall be there, and end the memory tier.

        The making of copies at other hosts ends, too.
        """
        if self.near is not None:
            self.near.close()
        if self._refilling is not None:
            self._refilling.close()

    def end(self, *, is_done: bool) -> None:
        """Let the copying end once all is copied; wait a while if training is done."""
        for drain in self._drains:
            drain.end_when_idle()
        deadline_s = time.monotonic() + (self._wait_s if is_done else 0.0)
        for drain in self._drains:
            drain.wait(max(deadline_s - time.monotonic(), 0.0))

    @property
    def has_far(self) -> bool:
        """Whether there are far tiers."""
        return bool(self._drains)

    def linger(self) -> None:
        """Wait until all is copied that can be, whoever has gone meanwhile."""
        for drain in self._drains:
            drain.wait(None)

    def _quietly(self, do: Callable[[str], None], job: SaveJob) -> None:
        try:
            do(job.id)
        except HoldfastError as error:
            # A far tier is no reason to lose a checkpoint.
            _log.warning("Step %d may not come to every tier: %s", job.step, error)


def _is_new(store: ObjectStore, run: str) -> bool:
    return not store.exists(RunKeys(run).events) and not commits.sequence_numbers(store, run)

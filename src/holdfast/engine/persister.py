"""The persister: a process of its own that turns snapshots in the arena into checkpoints.

It imports no framework, is started by ``spawn`` (never ``fork``), and holds the run's lock. If the
trainer dies, however it dies, the persister finishes the saves in its hands, notes the step at
which the trainer was, and leaves.

Messages in: ``open``, ``arena``, ``drop-arena``, ``save``, ``note``, ``signature``, ``bye``.
Messages out: ``ready``, ``written``, ``saved``, ``failed``, ``sign``. ``client`` starts it, and
hands down the descriptors of both.

Where several ranks save together, a thread of its own waits for what the others have to do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.chunks.source import ChunkSource
from holdfast.chunks.stored import Stored
from holdfast.engine import job as jobs
from holdfast.engine import remote_signing
from holdfast.engine.answers import answer, opened
from holdfast.engine.arena import Arena
from holdfast.engine.arena_source import ArenaSource
from holdfast.engine.behind import Behind, most_behind, nothing_behind
from holdfast.engine.channel import Channel, Closed
from holdfast.engine.chronicle import Chronicle
from holdfast.engine.finishing import Finishing
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.housekeeping import Housekeeping
from holdfast.engine.metrics_drain import MetricsDrain
from holdfast.engine.metrics_ring import MetricsRing
from holdfast.engine.remote_signing import Questions
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.tiers.destinations import Destinations
from holdfast.engine.tiers.kinds import HOME, MEMORY
from holdfast.engine.tiers.near import Near, OnItsWay, on_its_way
from holdfast.engine.timing import Timing
from holdfast.engine.unfinished import Saved, Unfinished
from holdfast.errors import (
    DataError,
    HoldfastError,
    NoSpace,
    SaveFailed,
    StoreUnavailable,
)
from holdfast.history.finite import leaves_not_finite
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


_POLL_S = 0.25
_LAST_POLL_S = 1.0

Item = tuple[dict[str, Any], bytes, int | None]
Inbox = queue.SimpleQueue[Item | None]


class Persister:
    """Carries out the trainer's messages, in order."""

    def __init__(self, channel: Channel, heartbeat: Heartbeat, ring: MetricsRing) -> None:
        self._channel = channel
        self._heartbeat = heartbeat
        self._ring = ring
        self._drain: MetricsDrain | None = None
        self._arenas: dict[str, Arena] = {}
        self._places: dict[str, dict[int, Stored]] = {}
        self._writer: RunWriter | None = None
        self._chronicle: Chronicle | None = None
        self._refusal: HoldfastError | None = None
        self._housekeeping: Housekeeping | None = None
        # Where several ranks save together.
        self._finishing: Finishing | None = None
        self._timings: dict[str, Timing] = {}
        self._last_step: int | None = None
        self._destinations: Destinations | None = None
        self._trainer_pid = os.getppid()
        self._has_hung_up = False
        self._questions = Questions(channel, self._is_orphaned)

    def run(self) -> None:
        """Work until the trainer says goodbye or is gone, and nothing is left to do."""
        inbox: Inbox = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()
        ended: str | None = None
        while (item := self._next(inbox)) is not None:
            message, payload, fd = item
            if message["do"] == "bye":
                ended = message["ended"]
                break
            self._handle(message, payload, fd)
        if self._finishing is not None:
            self._finishing.close()
        if self._destinations is not None:
            self._destinations.close_near()
        if self._housekeeping is not None:
            self._housekeeping.close()
        if self._writer is None or self._destinations is None:
            return
        if self._chronicle is not None:
            if ended is not None:
                self._chronicle.record_last("ended", how=ended)
            elif self._is_orphaned() or not self._has_hung_up:
                self._chronicle.record_last("trainer-died", saved_step=self._last_step)
            if self._drain is not None:
                self._drain.close()
        self._writer.close()
        # Whoever starts the training again has the run from here on, while this copies on.
        self._destinations.end(is_done=ended == "done")
        if self._destinations.has_far:
            self._leave_trainer_alone()
            self._destinations.linger()

    def _leave_trainer_alone(self) -> None:
        """Let the trainer go, and its memory, and whoever reads what it has printed."""
        self._channel.close()
        for arena in self._arenas.values():
            with contextlib.suppress(BufferError):
                arena.close()
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)

    def _next(self, inbox: Inbox) -> Item | None:
        # Processes that the trainer has forked hold its end of the channel open after its death;
        # that we have another parent then tells it too.
        while True:
            try:
                return inbox.get(timeout=_POLL_S)
            except queue.Empty:
                if self._is_orphaned():
                    break
                if self._chronicle is not None:
                    self._chronicle.note_steps()
        # What it sent just before may still be on its way through the listening thread.
        try:
            return inbox.get(timeout=_LAST_POLL_S)
        except queue.Empty:
            return None

    def _is_orphaned(self) -> bool:
        return os.getppid() != self._trainer_pid

    def _listen(self, inbox: Inbox) -> None:
        with contextlib.suppress(Closed):
            while True:
                item = self._channel.receive()
                if item[0]["do"] == "signature":
                    # The save that asked is what keeps the inbox waiting.
                    self._questions.answered(item[0])
                else:
                    inbox.put(item)
        self._questions.answered(None)
        inbox.put(None)

    def _handle(self, message: dict[str, Any], payload: bytes, fd: int | None) -> None:
        what = message["do"]
        with self._failures_told(message):
            if what == "open":
                self._open(message)
            elif what == "arena":
                assert fd is not None
                self._arenas[message["name"]] = Arena(fd, message["nbytes"], writable=False)
            elif what == "drop-arena":
                self._arenas.pop(message["name"]).close()
                self._places.pop(message["name"], None)
            elif what == "save":
                self._save(jobs.from_message(message["job"], payload), message["is_written"])
            elif what == "note" and self._chronicle is not None:
                self._chronicle.note(message["event"], message["facts"])

    @contextlib.contextmanager
    def _failures_told(self, message: dict[str, Any]) -> Iterator[None]:
        try:
            yield
        except HoldfastError as error:
            if message["do"] == "open":
                self._refusal = error
            self._fail(message, error.kind, error.message, error.facts)
        except Exception as error:
            _log.exception("A message to the persister failed")
            self._fail(message, "save-failed", f"{type(error).__name__}: {error}", {})

    def _open(self, message: dict[str, Any]) -> None:
        # As the trainer says: it may have died before we looked who our parent is.
        self._trainer_pid = message["trainer_pid"]
        authenticity = remote_signing.from_message(message["authenticity"], self._questions.ask)
        writer = RunWriter(
            opened(message["store"], is_first=message["is_first"]),
            message["run"],
            authenticity=authenticity,
            compress=message["compress"],
            rank=message["rank"],
            patience_s=message["patience_s"],
            is_orphaned=self._is_orphaned,
            incarnation=message["started"]["incarnation"] if message["world_size"] > 1 else "",
        )
        writer.open(message["trainer_pid"], is_first=message["is_first"])
        destinations = Destinations(writer)
        try:
            destinations.open_near(
                message["tiers"]["memory"],
                self._send_home,
                pid=message["trainer_pid"],
                is_first=message["is_first"],
            )
        except BaseException:
            writer.close()
            raise
        self._destinations = destinations
        self._writer, self._refusal = writer, None
        if message["world_size"] > 1:
            self._finishing = Finishing(self._finish_or_fail, most_behind(writer.rank))
        if not writer.rank:
            self._begin_bookkeeping(writer, message)
        destinations.begin_refilling(message["world_size"])
        self._tell({"say": "ready"})

    def _begin_bookkeeping(self, writer: RunWriter, message: dict[str, Any]) -> None:
        """Keep journal, metrics and retention of the run; of several ranks the first one does."""
        started = dict(message["started"])
        self._chronicle = Chronicle(
            writer.store, writer.run, started.pop("incarnation"), self._heartbeat
        )
        # The process that trains began once, whatever became of persisters before this one.
        if message["is_first"]:
            self._chronicle.record("started", **started)
        else:
            self._chronicle.record("persister-restarted")
        self._chronicle.shorten()
        trust = writer.authenticity.trust
        self._housekeeping = Housekeeping(
            writer.store, writer.run, message["keep"], self._chronicle, trust
        )
        self._drain = MetricsDrain(self._ring, writer.store, writer.run)
        self._drain.start()
        assert self._destinations is not None
        self._destinations.open_far(message["tiers"], self._chronicle, self._questions.ask)

    def _save(self, job: jobs.SaveJob, is_written: bool) -> None:
        if self._writer is None or self._destinations is None:
            # A save that came before the trainer heard that the run cannot be written.
            raise self._refusal or SaveFailed("The run is not open.")
        near = self._destinations.near
        if near is None:
            self._save_at_home(job, self._writer.go_on_with(job) if is_written else None)
        elif is_written:
            near.pass_on(near.found_again(job))
        else:
            self._save_near(near, replace(job, created_ns=max(time.time_ns(), 0)))

    def _save_near(self, near: Near, job: jobs.SaveJob) -> None:
        """Save in memory; what shall be at home goes on from there."""
        began_s = time.monotonic()
        source = self._source(job)
        try:
            saved = near.save(job, source, source.unchanged)
        except (NoSpace, StoreUnavailable, DataError) as error:
            if HOME not in job.tiers:
                raise
            near.tell(error)
            assert self._destinations is not None
            with self._destinations.turn:
                self._save_at_home(job)
            return
        self._places[job.arena] = dict(enumerate(saved.places))
        timing = self._timing(job, began_s)
        if HOME in job.tiers:
            self._tell({"say": "written", "id": job.id})
            near.pass_on(on_its_way(job, saved.record, timing))
        else:
            self._tell_saved(job, saved, near.store, timing.told(time.monotonic()), MEMORY)

    def _save_at_home(self, job: jobs.SaveJob, left: Unfinished | None = None) -> None:
        if left is None:
            began_s = time.monotonic()
            source = self._source(job)
            left = self._write(job, source, source.unchanged)
            if left.written is not None:
                self._places[job.arena] = dict(enumerate(left.written.places))
            self._timings[job.id] = self._timing(job, began_s)
        if self._finishing is None:
            self._finish(left)
            return
        self._tell({"say": "written", "id": job.id})
        self._finishing.put(left)

    def _send_home(self, item: OnItsWay, make_source: Callable[[], ChunkSource]) -> None:
        """Save at home what is in memory; in a thread of its own."""
        job, destinations = item.job, self._destinations
        assert destinations is not None
        told = {"do": "save", "job": {"id": job.id, "step": job.step}}
        with self._failures_told(told), destinations.turn:
            self._timings[job.id] = item.timing
            self._finish(self._write(job, make_source(), dict))

    def _write(
        self, job: jobs.SaveJob, source: ChunkSource, unchanged: Callable[[], Mapping[int, Stored]]
    ) -> Unfinished:
        assert self._writer is not None
        if self._housekeeping is not None:
            self._housekeeping.make_room(job.state_bytes)
        return self._writer.write(job, source, unchanged)

    def _source(self, job: jobs.SaveJob) -> ArenaSource:
        previous = self._places.pop(job.arena, {})
        return ArenaSource(self._arenas[job.arena], job.layout, previous, self._is_orphaned)

    def _timing(self, job: jobs.SaveJob, began_s: float) -> Timing:
        # Read now: once the trainer has the answer, the next snapshot may begin.
        filling = self._arenas[job.arena].filling
        return Timing(filling.held_s, filling.taken_s, filling.completed_s, began_s)

    def _finish_or_fail(self, left: Unfinished, behind: Behind) -> None:
        job = left.job
        with self._failures_told({"do": "save", "job": {"id": job.id, "step": job.step}}):
            self._finish(left, behind)

    def _finish(self, left: Unfinished, behind: Behind = nothing_behind) -> None:
        writer, destinations, job = self._writer, self._destinations, left.job
        assert writer is not None and destinations is not None
        # One that a persister before this one has written begins where that was taken over.
        timing = self._timings.pop(job.id, Timing.begun(left.written_s))
        saved = destinations.at_home(job, lambda: writer.finish(left, behind))
        written_s = None if job.world_size == 1 else left.written_s
        times = timing.told(time.monotonic(), written_s)
        self._tell_saved(job, saved, writer.store, times, HOME)
        if self._housekeeping is not None:
            self._housekeeping.tidy(job.incarnation if job.spares_others else None)

    def _tell_saved(
        self,
        job: jobs.SaveJob,
        saved: Saved,
        store: ObjectStore,
        times: Mapping[str, float],
        tier: str,
    ) -> None:
        self._last_step = max(job.step, -1 if self._last_step is None else self._last_step)
        not_finite_in = leaves_not_finite(store, saved.record)
        self._tell(answer(saved, times["durable_s"], not_finite_in))
        if self._chronicle is not None:
            self._chronicle.record_saved(saved.record, times, not_finite_in, tier)

    def _fail(
        self, message: dict[str, Any], kind: str, text: str, known: Mapping[str, object]
    ) -> None:
        if message["do"] not in ("open", "save"):
            _log.error("The persister could not do %r: %s", message["do"], text)
            return
        job = message.get("job", {})
        # Those that go through the channel as they are.
        told = {n: v for n, v in known.items() if v is None or isinstance(v, str | int | float)}
        failed = {"say": "failed", "id": job.get("id"), "kind": kind, "message": text}
        self._tell({**failed, "facts": told})
        if job and self._chronicle is not None:
            self._chronicle.record("save-failed", step=job["step"], kind=kind, message=text)

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except Closed:
            # A trainer that is gone needs no answer; the work goes on. One that is there would wait
            # for this answer for ever: it hears that no more will come, and starts another of us.
            self._has_hung_up = True
            self._channel.close()


def main(argv: list[str]) -> None:
    """Run the persister on the descriptors that the trainer has handed down."""
    # What ends the trainer shall not end the persister before its work is done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="holdfast: %(message)s")
    niceness = int(argv[3])
    if niceness:
        with contextlib.suppress(OSError):
            os.nice(niceness)
    channel = Channel(socket.socket(fileno=int(argv[1])))
    ring = MetricsRing.attach(int(argv[4]))
    Persister(channel, Heartbeat.attach(int(argv[2])), ring).run()


if __name__ == "__main__":
    main(sys.argv)

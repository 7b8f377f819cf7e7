"""The trainer's side of the persister: starts it, hands it jobs, starts another if it dies.

A job whose snapshot still lies in the arena is not lost with a persister: the next one is given
it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.chunks.encoder import Compress
from holdfast.distributed.ranks import Ranks
from holdfast.engine import job as jobs
from holdfast.engine import remote_signing
from holdfast.engine.arena import Arena
from holdfast.engine.channel import Channel, Closed
from holdfast.engine.handle import SaveHandle, error_of_kind
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.launch import launch
from holdfast.engine.metrics_ring import MetricsRing
from holdfast.errors import HoldfastError, PersisterDied
from holdfast.format import commit as commit_format
from holdfast.history.finite import warn_of
from holdfast.history.info import info_of
from holdfast.security.authenticity import NOBODY, Authenticity
from holdfast.store.recipe import Recipe, to_message
from holdfast.store.running import boot_id

_log = logging.getLogger("holdfast")

MAX_ATTEMPTS = 3
# What is said of the tiers of a run that has but its own store.
NO_TIERS: Mapping[str, Any] = {"memory": None, "far": [], "wait_s": 0.0}
# Persisters that copy on after their runs were closed.
_lingering: list[subprocess.Popen[bytes]] = []


class PendingSave:
    """A job, its handle, the arena that its snapshot lies in, and how often it was tried.

    ``cause`` is why its snapshot came to nothing, which the persister cannot know. Once it
    ``is_written``, what is left to do is to commit it with the parts of others; the arena may have
    the next snapshot by then.
    """

    def __init__(self, job: jobs.SaveJob, handle: SaveHandle, arena: Arena) -> None:
        self.job = job
        self.handle = handle
        self.arena = arena
        self.attempts = 0
        self.cause: HoldfastError | None = None
        self.is_written = False


class PersisterClient:
    """Hands jobs to a persister process and resolves their handles."""

    def __init__(
        self,
        store: Recipe,
        run: str,
        keep: Sequence[str],
        nice: int,
        incarnation: str,
        authenticity: Authenticity = NOBODY,
        compress: Compress = "none",
        ranks: Ranks | None = None,
        tiers: Mapping[str, Any] = NO_TIERS,
    ) -> None:
        self._ranks = ranks
        self._tiers = tiers
        self.heartbeat = Heartbeat.create()
        self._started = {
            "incarnation": incarnation,
            "run": run,
            "time_ns": time.time_ns(),
            "mono_s": time.monotonic(),
            "boot": boot_id(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "keep": list(keep),
        }
        self._store = store
        self.metrics_ring = MetricsRing.create()
        self._run = run
        self._keep = list(keep)
        self._compress = compress
        self._nice = nice
        self._authenticity = authenticity
        self._lock = threading.RLock()
        self._pending: dict[str, PendingSave] = {}
        self._known_arenas: set[str] = set()
        self._ready = threading.Event()
        self._refused: HoldfastError | None = None
        self._closing = False
        # Whether there is no persister, since none could be started.
        self._is_down = False
        # Whether the one that was started last has come to hold the run, and how many in a row
        # have not.
        self._is_up = False
        self._stillborn = 0
        # Jobs of an arena may call chunks unchanged only for the persister that stored them.
        self.generation = 0
        try:
            self._start()
        except (OSError, Closed) as error:
            raise _not_started(error) from error

    @property
    def pid(self) -> int:
        """Process id of the persister."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until the persister holds the run.

        Raises:
            RunBusy: Another live process writes the run.
            StoreUnavailable: The store cannot be written.
        """
        self._ready.wait()
        if self._refused is not None:
            raise self._refused

    def submit(self, pending: PendingSave) -> None:
        """Give a job to the persister."""
        with self._lock:
            if self._refused is not None:
                pending.handle.fail(self._refused)
                return
            if self._is_down:
                try:
                    self._start()
                except (OSError, Closed) as error:
                    pending.handle.fail(_not_started(error))
                    return
            self._pending[pending.job.id] = pending
            self._send(pending)

    def withdraw(self, pending: PendingSave, error: HoldfastError) -> None:
        """Fail a save whose snapshot came to nothing, unless the persister has it and will say so.

        Args:
            pending: The save; its snapshot has been abandoned.
            error: What its handle shall say.
        """
        pending.cause = error
        with self._lock:
            if pending.attempts == 0 and not pending.handle.done:
                self._pending.pop(pending.job.id, None)
                pending.handle.fail(error)

    def wait_ended(self) -> None:
        """Wait until every save that was given to the persister has ended, well or not."""
        with self._lock:
            handles = [pending.handle for pending in self._pending.values()]
        for handle in handles:
            handle.wait_ended()

    def drop_arena(self, name: str) -> None:
        """Let the persister unmap an arena that is no longer used."""
        with self._lock:
            if name in self._known_arenas:
                self._known_arenas.discard(name)
                with contextlib.suppress(Closed):
                    self._channel.send({"do": "drop-arena", "name": name})

    def note(self, event: str, /, **facts: object) -> None:
        """Have the persister write an event of this moment into the journal; never waits for it."""
        now = {"time_ns": time.time_ns(), "mono_s": time.monotonic()}
        with self._lock, contextlib.suppress(Closed):
            self._channel.send({"do": "note", "event": event, "facts": {**now, **facts}})

    def close(self, ended: str) -> None:
        """Say goodbye once nothing is pending, and wait for the persister to leave.

        Args:
            ended: How training was left, for the journal.
        """
        with self._lock:
            self._closing = True
            with contextlib.suppress(Closed):
                self._channel.send({"do": "bye", "ended": ended})
        if self._tiers["far"]:
            # It hangs up once all is saved at home, and copies on by itself.
            self._receiver.join()
            _lingering[:] = [old for old in (*_lingering, self._process) if old.poll() is None]
        else:
            self._process.wait()
        self._channel.close()
        self._receiver.join()
        self.heartbeat.close()
        self.metrics_ring.close()

    def _start(self) -> None:
        self._process, self._channel = launch(self.heartbeat, self.metrics_ring, self._nice)
        self._known_arenas = set()
        self.generation += 1
        opening = {
            "do": "open",
            "store": to_message(self._store),
            "run": self._run,
            "keep": self._keep,
            "compress": self._compress,
            "tiers": self._tiers,
            **_among(self._ranks),
            "trainer_pid": os.getpid(),
            "authenticity": remote_signing.to_message(self._authenticity),
            "started": self._started,
            "is_first": not self._ready.is_set(),
        }
        self._is_up = False
        self._channel.send(opening)
        self._is_down = False
        self._receiver = threading.Thread(
            target=self._receive, args=(self._channel,), name="holdfast-replies", daemon=True
        )
        self._receiver.start()

    def _send(self, pending: PendingSave) -> None:
        pending.attempts += 1
        job, arena = pending.job, pending.arena
        fields, payload = jobs.to_message(job)
        try:
            if job.arena not in self._known_arenas and not pending.is_written:
                message = {"do": "arena", "name": job.arena, "nbytes": arena.nbytes, "has_fd": True}
                self._channel.send(message, fd=arena.fd)
                self._known_arenas.add(job.arena)
            said = {"do": "save", "job": fields, "is_written": pending.is_written}
            self._channel.send(said, payload)
        except Closed:
            pass  # The receiver notices too, and tries again with another persister.

    def _receive(self, channel: Channel) -> None:
        try:
            while True:
                message, _, _ = channel.receive()
                if message["say"] == "sign":
                    channel.send(remote_signing.answer(self._authenticity.signers, message))
                else:
                    self._handle(message)
        except Closed:
            self._on_hangup(channel)

    def _handle(self, message: dict[str, Any]) -> None:
        if message["say"] == "ready":
            self._is_up = True
            self._ready.set()
            return
        if message["say"] == "failed" and message["id"] is None:
            self._give_up(_error_in(message))
            return
        if message["say"] == "written":
            self._let_go(str(message["id"]))
            return
        with self._lock:
            pending = self._pending.pop(str(message["id"]), None)
        if pending is None:
            return
        if message["say"] == "failed":
            pending.handle.fail(pending.cause or _error_in(message))
            return
        record = commit_format.decode(str(message["commit"]).encode(), what="a new commit")
        if message["tag_error"]:
            _log.warning("Step %d is saved, but not tagged: %s", record.step, message["tag_error"])
        if record.not_finite:
            warn_of(record, message["not_finite_in"])
        tags = (pending.job.tag,) if pending.job.tag and not message["tag_error"] else ()
        durable_s = float(str(message["durable_s"]))
        info = info_of(record, tags, self._authenticity.trust)
        pending.handle.succeed(info, durable_s)

    def _let_go(self, checkpoint_id: str) -> None:
        with self._lock:
            pending = self._pending.get(checkpoint_id)
            if pending is not None:
                # Under the lock: a persister begun meanwhile must not be sent to the arena for it.
                pending.is_written = True
                pending.handle.let_go()

    def _on_hangup(self, channel: Channel) -> None:
        with self._lock:
            is_given_up = self._is_down or channel is not self._channel
            if is_given_up or (self._closing and not self._pending):
                return
            status = self._process.wait()
            self._stillborn = 0 if self._is_up else self._stillborn + 1
            if self._stillborn >= MAX_ATTEMPTS:
                self._give_up(_stillborn(status, self._stillborn))
                return
            tired = [p for p in self._pending.values() if p.attempts >= MAX_ATTEMPTS]
            for pending in tired:
                del self._pending[pending.job.id]
                pending.handle.fail(_died(status, pending))
            _log.warning(
                "The persister of run %r ended (status %s); another one is started and given the "
                "%d save(s) that were under way.",
                self._run,
                status,
                len(self._pending),
            )
            try:
                self._start()
            except (OSError, Closed) as error:
                # No process, no file to be had just now: the next save tries again.
                self._is_down = True
                self._fail_all(_not_started(error))
                return
            for pending in list(self._pending.values()):
                self._send(pending)

    def _give_up(self, error: HoldfastError) -> None:
        """Let there be no persister, for good where there never was one that held the run."""
        with self._lock:
            if self._ready.is_set():
                # One has held it before, so that another may: the next save tries again.
                self._is_down = True
                self._channel.close()
                self._process.wait()
            else:
                self._refused = error
                self._ready.set()
            self._fail_all(error)

    def _fail_all(self, error: HoldfastError) -> None:
        with self._lock:
            pending, self._pending = list(self._pending.values()), {}
        for item in pending:
            item.handle.fail(error)


def _among(ranks: Ranks | None) -> dict[str, int | float]:
    """Return which of how many ranks this is, and how long one waits for another."""
    if ranks is None:
        return {"rank": 0, "world_size": 1, "patience_s": 0.0}
    return {
        "rank": ranks.rank,
        "world_size": ranks.world_size,
        "patience_s": ranks.patience_s,
    }


def _error_in(message: Mapping[str, Any]) -> HoldfastError:
    return error_of_kind(str(message["kind"]), str(message["message"]), message["facts"])


def _not_started(error: Exception) -> PersisterDied:
    return PersisterDied(
        "The process that writes checkpoints could not be started: "
        f"{type(error).__name__}: {error}. Nothing was saved just now; checkpoints committed "
        "before are safe. The next save tries again.",
    )


def _stillborn(status: int, count: int) -> PersisterDied:
    return PersisterDied(
        f"The process that writes checkpoints died {count} times while it started (status "
        f"{status}); nothing can be saved. Checkpoints committed before are safe. Its messages are "
        "on the standard error of this process.",
        status=status,
    )


def _died(status: int, pending: PendingSave) -> PersisterDied:
    return PersisterDied(
        f"The process that writes checkpoints died {pending.attempts} times (status {status}) "
        f"while it saved step {pending.job.step}; that step is not saved. Checkpoints committed "
        "before are safe. Its messages are on the standard error of this process.",
        status=status,
        step=pending.job.step,
    )

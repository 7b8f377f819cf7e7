"""The keeper: a process of each host that puts what other hosts send into the host's own store.

The first rank of the host starts it, and it imports no framework. It goes on after that one's end,
however it ends, until no persister is at work with it; so what was snapshotted before a crash still
finds its copies. Outside rank 0's host it holds the run's lock, since it is who removes there what
is no longer needed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from holdfast.engine.peers.line import Line, LineBroken, answer
from holdfast.engine.peers.serving import Serving
from holdfast.engine.waiting import ALONE_S
from holdfast.engine.writer_lock import WriterLock
from holdfast.errors import HoldfastError, RunBusy
from holdfast.history.sweep import sweep
from holdfast.records.opening import open_store
from holdfast.store.recipe import reopen

_log = logging.getLogger("holdfast")

PATIENCE_S = 120.0
MAX_LINES = 4096
_POLL_S = 0.1
# Who was cut off calls again at once.
_QUIET_S = 0.5
# Once training has ended here: who waits for a rank that does not come any more is silent for no
# longer, and a process forked from one that is gone may hold its lines open for ever.
_SILENT_S = ALONE_S + 5.0


class Keeper:
    """Answers those who know the secret, each in a thread of its own.

    Args:
        listening: Where they call.
        secret: What they must know.
        serving: What is done for them.
        patience_s: How long one of them may be silent in the middle of something.
    """

    def __init__(
        self, listening: socket.socket, secret: bytes, serving: Serving, patience_s: float
    ) -> None:
        self._listening = listening
        self._secret = secret
        self._serving = serving
        self._patience_s = patience_s
        self._changed = threading.Lock()
        self._n_lines = 0
        self._last_s = time.monotonic()

    def begin(self) -> None:
        """Take calls from now on."""
        threading.Thread(target=self._take_calls, daemon=True).start()

    @property
    def is_needed(self) -> bool:
        """Whether anybody is on a line, or was a moment ago."""
        quiet_s = time.monotonic() - self._last_s
        return quiet_s < _QUIET_S or (self._n_lines > 0 and quiet_s < _SILENT_S)

    def _take_calls(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                if self._listening.fileno() < 0:
                    return
                # No file to be had just now, say.
                time.sleep(_POLL_S)
                continue
            if self._n_lines >= MAX_LINES:
                sock.close()
                continue
            self._count(1)
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        try:
            with contextlib.closing(sock):
                line = answer(sock, self._secret, self._patience_s)
                while True:
                    self._answer_one(line)
        except LineBroken as error:
            _log.debug("A line to this host has ended: %s", error)
        except Exception:
            _log.exception("A line to this host has ended")
        finally:
            self._count(-1)

    def _answer_one(self, line: Line) -> None:
        head, payload = line.receive(may_be_silent=True)
        self._last_s = time.monotonic()
        said, content = self._serving.answer(head, payload)
        line.send(said, [content])
        self._last_s = time.monotonic()

    def _count(self, change: int) -> None:
        with self._changed:
            self._n_lines += change
            self._last_s = time.monotonic()


class Sweeper:
    """Removes what is no longer needed, when told to, in a thread of its own."""

    def __init__(self, sweep_once: Callable[[], object]) -> None:
        self._sweep_once = sweep_once
        self._wanted = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def want(self) -> None:
        """Have it look once more; returns at once."""
        self._wanted.set()

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self._sweep_once()
            except HoldfastError as error:
                _log.warning("What is no longer needed on this host stays for now: %s", error)
            except Exception:
                _log.exception("What is no longer needed on this host stays for now")


def keep(told: dict[str, Any], listening: socket.socket, say: Callable[[object], None]) -> None:
    """Keep what other hosts send, until whoever started this is gone and nobody calls any more."""
    store, run = open_store(reopen(told["store"]), create=False), told["run"]
    # Ranks of this host see by its note whether the run is still theirs.
    lock = WriterLock(store, run, told["incarnation"])
    if told["is_first"] or not told["has_rank_0"]:
        _acquire(lock, told["owner_pid"])
    if told["has_rank_0"]:
        # The persister of rank 0 takes it; what an earlier training had in its hands is done.
        lock.release()
    sweeper = Sweeper(lambda: sweep(store, run))
    serving = Serving(store, run, told["incarnation"], sweeper.want)
    keeper = Keeper(listening, bytes.fromhex(told["secret"]), serving, told["patience_s"])
    keeper.begin()
    say({"say": "ready"})
    parent = told["owner_pid"]
    while os.getppid() == parent and not _has_hung_up():
        time.sleep(_POLL_S)
    while keeper.is_needed:
        time.sleep(_POLL_S)
    lock.release()


def _acquire(lock: WriterLock, owner_pid: int) -> None:
    """Take the run's lock; an earlier keeper of the same process is about to leave."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            lock.acquire(owner_pid, patience_s=PATIENCE_S, is_fence=True)
            return
        except RunBusy as error:
            if error.facts.get("pid") != owner_pid or time.monotonic() > until_s:
                raise


def _has_hung_up() -> bool:
    """Say whether the pipe from whoever started this has ended; waits for a moment."""
    import select

    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def main(argv: list[str]) -> None:
    """Run a keeper on the descriptors and on what it is told by who has started it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="holdfast: %(message)s")
    listening = socket.socket(fileno=int(argv[1]))
    said = socket.socket(fileno=int(argv[2]))

    def say(word: object) -> None:
        with contextlib.suppress(OSError):
            said.sendall(json.dumps(word).encode() + b"\n")

    # The pipe stays open for as long as its other end lives; a line of it is what is told.
    told = json.loads(_line_of(sys.stdin.fileno()))
    try:
        keep(told, listening, say)
    except HoldfastError as error:
        say({"say": "failed", "kind": error.kind, "message": error.message})


def _line_of(fd: int) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n") and (byte := os.read(fd, 1)):
        found += byte
    return bytes(found)

"""Section "speed": save and restore of everyone beside the limits, in interleaved rounds."""

from __future__ import annotations

import math
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from holdfast.bench import files, state
from holdfast.bench.limits import Limits
from holdfast.bench.ours import Holdfast
from holdfast.bench.peers import Peer
from holdfast.bench.result import LIMIT, OURS, OURS_FIRST, OURS_SEALED, OURS_ZERO
from holdfast.bench.session import SaveTimes, Session, opened, timed_load, timed_save
from holdfast.bench.state import Tensors
from holdfast.errors import DataError


def measure(session: Session, tensors: Tensors) -> None:
    """Measure everyone once per round, each round in another order."""
    for number in range(1, session.options.rounds + 1):
        turns = [partial(_limits, session, state.nbytes(tensors)), partial(_ours, session, tensors)]
        turns += [partial(_zero_stall, session, tensors)]
        turns += [partial(_sealed, session, tensors)] if find_spec("pyrage") else []
        turns += [partial(_peer, session, tensors, peer) for peer in session.peers]
        session.dice.shuffle(turns)
        for place, turn in enumerate(turns, start=1):
            session.say(f"speed, round {number} of {session.options.rounds}: {place}/{len(turns)}")
            turn()


def _limits(session: Session, nbytes: int) -> None:
    limits = Limits(nbytes)
    try:
        with session.place("raw") as folder:
            copy, digest = limits.copy_s(), limits.digest_s()
            files.settle()
            write = limits.write_s(folder)
            files.warm(folder)
            warm = limits.read_s(folder, direct=False)
            files.evict(folder)
            cold = limits.read_s(folder, direct=True)
    finally:
        limits.close()
    session.samples.add(LIMIT, held_s=copy, durable_s=write, warm_s=warm, cold_s=cold)
    session.samples.add(LIMIT, digest_s=digest)


def _ours(session: Session, tensors: Tensors) -> None:
    with session.place(OURS) as folder, opened() as ours:
        ours.open(tensors, folder)
        # One step of training at least lies before the first save; this is a very short one.
        state.change(tensors)
        _add_save(session, OURS_FIRST, timed_save(ours, tensors, folder))
        # Nothing of the first save is of use to the second.
        state.change(tensors)
        _add_save(session, OURS, timed_save(ours, tensors, folder))
        _loads(session, ours, tensors, folder)
        _load_otherwise(session, ours, tensors, folder)


def _zero_stall(session: Session, tensors: Tensors) -> None:
    with session.place(OURS_ZERO) as folder, opened(zero_stall=True) as ours:
        ours.open(tensors, folder)
        for _ in range(2):
            state.change(tensors)
            times = timed_save(ours, tensors, folder)
    _add_save(session, OURS_ZERO, times)


def _sealed(session: Session, tensors: Tensors) -> None:
    with session.place(OURS_SEALED) as folder, opened(sealed=True) as ours:
        ours.open(tensors, folder)
        for _ in range(2):
            state.change(tensors)
            times = timed_save(ours, tensors, folder)
        _add_save(session, OURS_SEALED, times)
        _loads(session, ours, tensors, folder)


def _load_otherwise(session: Session, ours: Holdfast, tensors: Tensors, folder: Path) -> None:
    files.evict(folder)
    start = time.perf_counter()
    ours.load_alone(tensors, folder)
    session.samples.add(ours.name, cold_load_alone_s=time.perf_counter() - start)
    files.warm(folder)
    start = time.perf_counter()
    ours.load_full(tensors, folder)
    session.samples.add(ours.name, warm_restore_with_blake3_s=time.perf_counter() - start)


def _peer(session: Session, tensors: Tensors, peer: Peer) -> None:
    try:
        with session.place(peer.name) as folder:
            state.change(tensors)
            _add_save(session, peer.name, timed_save(peer, tensors, folder))
            _loads(session, peer, tensors, folder)
    except Exception as error:
        session.give_up(peer, error)


def _add_save(session: Session, subject: str, times: SaveTimes) -> None:
    session.samples.add(subject, held_s=times.held_s, durable_s=times.durable_s)


def _loads(session: Session, peer: Peer, tensors: Tensors, folder: Path) -> None:
    saved = state.fingerprint(tensors)
    files.warm(folder)
    state.clear(tensors)
    warm = timed_load(peer, tensors, folder)
    _confirm(peer, tensors, saved)
    state.clear(tensors)
    still_cached = files.evict(folder)
    cold = timed_load(peer, tensors, folder)
    _confirm(peer, tensors, saved)
    session.samples.add(peer.name, warm_s=warm, cold_s=cold)
    if not math.isnan(still_cached):
        session.samples.add("page cache", left_before_cold_restores=still_cached)


def _confirm(peer: Peer, tensors: Tensors, saved: list[tuple[float, float, float]]) -> None:
    if state.fingerprint(tensors) != saved:
        raise DataError(f"{peer.name} loaded other values than it had saved", peer=peer.name)

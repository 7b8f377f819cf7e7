"""The other sections: training beside a save, frozen parts, small states, many leaves, memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from holdfast.bench import files, memory, state
from holdfast.bench.checks import FROZEN, LEAVES, MEMORY, SMALL
from holdfast.bench.limits import Limits
from holdfast.bench.peers import Peer
from holdfast.bench.result import DCP_ASYNC, DCP_ASYNC_TUNED, OURS
from holdfast.bench.session import Session, opened, timed_save
from holdfast.bench.state import Tensors
from holdfast.bench.training import TrainingLoop

_SMALL_SAVES = 15


def training(session: Session, tensors: Tensors) -> None:
    """Measure what a background save costs a CPU-bound training loop."""
    loop = TrainingLoop()
    for number in range(1, session.options.rounds + 1):
        session.say(f"training beside a save, round {number} of {session.options.rounds}")
        turns = [partial(_lost_to_ours, session, loop, tensors)]
        turns += [
            partial(_lost_to_peer, session, loop, tensors, peer)
            for peer in session.peers
            if peer.name in (DCP_ASYNC, DCP_ASYNC_TUNED)
        ]
        session.dice.shuffle(turns)
        for turn in turns:
            turn()
    session.samples.add("training loop", undisturbed_step_s=loop.step_s())


def _lost_to_ours(session: Session, loop: TrainingLoop, tensors: Tensors) -> None:
    with session.place(OURS) as folder, opened() as ours:
        timed_save(ours, tensors, folder)  # The first save is not what a run pays later.
        _lost(session, loop, tensors, ours, folder)


def _lost_to_peer(session: Session, loop: TrainingLoop, tensors: Tensors, peer: Peer) -> None:
    try:
        with session.place(peer.name) as folder:
            _lost(session, loop, tensors, peer, folder)
    except Exception as error:
        session.give_up(peer, error)


def _lost(session: Session, loop: TrainingLoop, tensors: Tensors, peer: Peer, folder: Path) -> None:
    state.change(tensors)
    files.settle()
    lost = loop.lost_s(lambda: peer.start(tensors, folder))
    session.samples.add(peer.name, lost_s=lost)


def frozen(session: Session, tensors: Tensors) -> None:
    """Measure a save after which only the last tenth of the model has changed."""
    trained = state.last_tenth(tensors)
    for number in range(1, session.options.rounds + 1):
        session.say(f"90 % frozen, round {number} of {session.options.rounds}")
        limits = Limits(state.nbytes(tensors))
        session.samples.add(FROZEN, copy_s=limits.copy_s(), digest_s=limits.digest_s())
        limits.close()
        with session.place(FROZEN) as folder, opened() as ours:
            timed_save(ours, tensors, folder)
            state.change(tensors)
            full = timed_save(ours, tensors, folder)
            state.change(trained)
            partial_save = timed_save(ours, tensors, folder)
            session.samples.add(
                FROZEN,
                changed_bytes=state.nbytes(trained),
                written_bytes=ours.info.stored_bytes,
                full_durable_s=full.durable_s,
                frozen_durable_s=partial_save.durable_s,
            )


def small(session: Session) -> None:
    """Measure many saves of a small state; the first is told apart."""
    session.say("a small state")
    tensors = state.build(state.small_specs())
    with session.place(SMALL) as folder, opened() as ours:
        first = timed_save(ours, tensors, folder)
        session.samples.add(SMALL, first_small_held_s=first.held_s)
        for _ in range(_SMALL_SAVES):
            state.change(tensors)
            times = timed_save(ours, tensors, folder)
            session.samples.add(SMALL, small_held_s=times.held_s, small_durable_s=times.durable_s)


def leaves(session: Session, n_leaves: int = 100_000) -> None:
    """Measure a state of very many leaves, and how large its manifest is."""
    session.say("many small leaves")
    tensors = state.build(state.leaf_specs(n_leaves))
    with session.place(LEAVES) as folder, opened() as ours:
        first = timed_save(ours, tensors, folder)
        session.samples.add(LEAVES, first_leaves_held_s=first.held_s)
        for _ in range(min(3, session.options.rounds)):
            state.change(tensors)
            before = _beside_packs(folder)
            times = timed_save(ours, tensors, folder)
            session.samples.add(
                LEAVES,
                leaves_held_s=times.held_s,
                leaves_durable_s=times.durable_s,
                manifest_bytes=_beside_packs(folder) - before,
            )


def _beside_packs(folder: Path) -> int:
    """Return the bytes of a store that are no chunks: manifests, commits, events."""
    return files.tree_bytes(folder) - sum(files.tree_bytes(p) for p in folder.rglob("packs"))


def host_memory(session: Session, tensors: Tensors) -> None:
    """Measure how far the memory of trainer and persister rises over three saves."""
    if not memory.measurable():
        session.absent.append("host memory: this system does not tell proportional set sizes")
        return
    peaks = []
    for _ in range(min(2, session.options.rounds)):
        session.say("host memory")
        with session.place(MEMORY) as folder, memory.watched() as peak, opened() as ours:
            for _ in range(3):
                state.change(tensors)
                timed_save(ours, tensors, folder)
        peaks.append(peak.extra_bytes)
    # A peak is no matter of medians.
    session.samples.add(MEMORY, peak_extra_bytes=max(peaks), state_bytes=state.nbytes(tensors))

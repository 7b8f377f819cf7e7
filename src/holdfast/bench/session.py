"""What all sections of a benchmark share: folder, samples, voice, and how a save is timed."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.bench import files
from holdfast.bench.ours import Holdfast
from holdfast.bench.peers import Peer
from holdfast.bench.result import BenchOptions, Samples
from holdfast.bench.state import Tensors


@dataclass(slots=True)
class Session:
    """One run of the benchmark; its sections add their samples here."""

    options: BenchOptions
    folder: Path
    say: Callable[[str], None]
    peers: list[Peer]
    absent: list[str]
    samples: Samples = field(default_factory=Samples)
    # Another order in every round, the same in every run.
    dice: random.Random = field(default_factory=lambda: random.Random(2))

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """Lend a path at which nothing exists; what is made there is deleted afterwards."""
        path = self.folder / "".join(c if c.isalnum() else "-" for c in name)
        try:
            yield path
        finally:
            files.remove(path)

    def give_up(self, peer: Peer, error: Exception) -> None:
        """Leave a peer that failed out of the result, and say why."""
        self.samples.drop(peer.name)
        self.peers = [other for other in self.peers if other is not peer]
        # Results are handed round; paths of this machine are nobody's business.
        reason = f"{type(error).__name__}: {error}".replace(str(self.folder), "…")
        self.absent.append(f"{peer.name}: {reason}")
        self.say(f"{peer.name} failed and is left out: {reason}")


@dataclass(frozen=True, slots=True)
class SaveTimes:
    """How long a save held the loop, and how long until it was durable."""

    held_s: float
    durable_s: float


def timed_save(peer: Peer, tensors: Tensors, folder: Path) -> SaveTimes:
    """Time one save on a disk at rest."""
    files.settle()
    gc.collect()
    start = time.perf_counter()
    pending = peer.start(tensors, folder)
    held = time.perf_counter() - start
    pending.wait()
    return SaveTimes(held, time.perf_counter() - start)


def timed_load(peer: Peer, tensors: Tensors, folder: Path) -> float:
    """Time one load into standing tensors."""
    gc.collect()
    start = time.perf_counter()
    peer.load(tensors, folder)
    return time.perf_counter() - start


@contextmanager
def opened(*, zero_stall: bool = False, sealed: bool = False) -> Iterator[Holdfast]:
    """Lend a new checkpointer of ours that is closed afterwards."""
    ours = Holdfast(zero_stall=zero_stall, sealed=sealed)
    try:
        yield ours
    finally:
        ours.close()

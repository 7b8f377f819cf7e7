"""All families of faults, run one beside another, and what became of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults import (
    broken_disk,
    crash_states,
    damage,
    damaged_operations,
    failing_calls,
    full_disk,
    kills,
    power,
    read_only,
    stopped,
)
from faults.disks import CannotMake
from faults.effort import Effort
from faults.outcomes import Trial
from faults.peers.compared import Compared, compared, interpreters

# In the order of the table.
FAMILIES = {
    family.NAME: family.trials
    for family in (
        kills,
        stopped,
        failing_calls,
        full_disk,
        broken_disk,
        read_only,
        power,
        crash_states,
        damage,
        damaged_operations,
    )
}
PEERS = "peers"
NAMES = (*FAMILIES, PEERS)
_MEMORY, _ROOM_BYTES = "/dev/shm", 2 << 30
# The longest first, so that nobody waits for one at the end.
_ORDER = (damage.NAME, damaged_operations.NAME, failing_calls.NAME, PEERS, stopped.NAME)


@dataclass(frozen=True, slots=True)
class Result:
    """What a family came to.

    Attributes:
        name: Of the family.
        trials: All of them.
        peers: For the family of peers, what each let through.
        missing: Why the rest of the faults could not be made here, or nothing.
        broken: What was wrong with the matrix itself, or nothing.
        seconds: How long it took.
    """

    name: str
    trials: Sequence[Trial] = ()
    peers: Sequence[Compared] = ()
    missing: str = ""
    broken: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.outcome.is_good]

    @property
    def is_good(self) -> bool:
        return not self.bad and not self.broken


def run(
    names: Iterable[str], effort: Effort, *, jobs: int, note: Callable[[Result], object]
) -> list[Result]:
    """Run families, some at a time, each in a process of its own.

    Args:
        names: Of the families.
        effort: How much of each.
        jobs: How many at a time.
        note: Called with each result when it is there.
    """
    chosen = sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        for future in as_completed([pool.submit(run_one, name, effort) for name in chosen]):
            results.append(future.result())
            note(results[-1])
    return sorted(results, key=lambda result: NAMES.index(result.name))


def run_one(name: str, effort: Effort) -> Result:
    """Run a family, in a folder of its own that does not stay."""
    with _quiet():
        return _run_one(name, effort)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let holdfast warn nobody of the damage that is done on purpose."""
    log = logging.getLogger("holdfast")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _run_one(name: str, effort: Effort) -> Result:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-faults-", dir=_scratch()))
    trials: list[Trial] = []
    peers: list[Compared] = []
    missing = broken = ""
    try:
        if name == PEERS:
            peers.extend(compared(folder, effort, interpreters()))
        else:
            _collect(FAMILIES[name](folder, effort), trials)
    except CannotMake as error:
        missing = str(error)
    except Exception:
        broken = traceback.format_exc()
    shutil.rmtree(folder, ignore_errors=True)
    return Result(name, trials, peers, missing, broken, time.monotonic() - began)


def _scratch() -> str | None:
    """Return a folder in memory, if there is one: what is synced there takes no time."""
    has_room = os.path.isdir(_MEMORY) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    return _MEMORY if has_room else None


def _collect(found: Iterator[Trial], trials: list[Trial]) -> None:
    # One by one: those before trouble count, too.
    for trial in found:
        trials.append(trial)

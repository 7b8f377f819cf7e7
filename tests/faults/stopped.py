"""The persister of a run that trains: stopped, stopped and killed, struck at its system calls."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from crash_running import kill
from traced import LAST, NAMING, WRITING, Attached, Injection

from faults.children import carried_out
from faults.disks import CannotMake
from faults.effort import Effort
from faults.outcomes import Found, How, Outcome, Trial, outcome_of
from faults.scenario import RUN, look_at_contents, tree
from holdfast import Checkpointer, every

NAME = "the persister"
_STEPS = 10
_STOPPED_AT = 4
_STOPPED_S = 0.2
_THEN: dict[str, int] = {"let go": signal.SIGCONT, "killed": signal.SIGKILL}
# The calls of a thread that are struck: the first so many of each name.
_CALLS = range(1, 9)
_FAULTS = {
    "persister killed at each system call": "signal=SIGKILL",
    "EIO from each system call of the persister": "error=EIO",
    "ENOSPC from each system call of the persister": "error=ENOSPC",
}


def trials(folder: Path, effort: Effort) -> Iterator[Trial]:
    for backpressure in ("wait", "skip"):
        for name, then in _THEN.items():
            store = folder / f"{backpressure}-{then}"
            yield _trial(store, f"persister stopped, then {name}", backpressure, then)
    yield from _struck(folder, effort)


# --- stopped ---


def _trial(store: Path, name: str, backpressure: str, number: int) -> Trial:
    durable = store.with_suffix(".durable")
    durable.write_text("")
    ended = carried_out(partial(_train, store, backpressure, number, durable))
    must = frozenset(map(int, durable.read_text().split()))
    found = look_at_contents(store, must, frozenset(range(1, _STEPS + 1)))
    if _STEPS not in must and ended.how is How.RETURNED:
        found = Found(lost=(f"only {sorted(must)} became durable",))
    return Trial(name, "save", outcome_of(ended, found), f"backpressure={backpressure}", found.text)


def _train(store: Path, backpressure: str, number: int, durable: Path) -> str:
    """Train while the persister stands still for a while; note what became durable."""
    state: dict[str, Any] = tree(0)
    with Checkpointer(
        store, state, run=RUN, save=every(steps=1), backpressure=backpressure, rng=False
    ) as ckpt:
        ckpt.restore()
        handles = []
        for step in range(1, _STEPS):
            state.update(tree(step))
            handles.append(ckpt.step(step))
            if step == _STOPPED_AT:
                _stop_for_a_while(ckpt, number)
        state.update(tree(_STEPS))
        handles.append(ckpt.save(_STEPS))
        for handle in handles:
            if handle is not None:
                with durable.open("a") as file:
                    file.write(f"{handle.wait(60).step} ")
    return ""


def _stop_for_a_while(ckpt: Checkpointer, number: int) -> None:
    pid = ckpt._saver.client.pid
    kill(pid, signal.SIGSTOP)

    def end() -> None:
        time.sleep(_STOPPED_S)
        kill(pid, number)

    threading.Thread(target=end).start()


# --- struck at a call ---


def _struck(folder: Path, effort: Effort) -> Iterator[Trial]:
    if shutil.which("strace") is None:
        raise CannotMake("strace is not installed")
    calls = [(call, n) for n in _CALLS for call in (*WRITING, *NAMING, "sendto")]
    for name, fault in _FAULTS.items():
        chosen = [Injection(*call, fault) for call in calls[: effort.persister_calls]]
        places = [folder / f"{fault}-{number}" for number in range(len(chosen))]
        runs = [Attached(*run, "--on-error", "warn") for run in zip(places, chosen, strict=True)]
        with ThreadPoolExecutor(2) as pool:
            # Judged one by one: what is loaded sets the generators of all threads.
            for attached, trouble in zip(runs, pool.map(_run, runs), strict=True):
                if trouble is not None:
                    yield Trial(name, "save", *_judged(attached, trouble))
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


def _run(attached: Attached) -> str | None:
    """Train with the persister struck at a call; return what went wrong, None if it was not."""
    try:
        return "" if attached.run() else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _judged(attached: Attached, trouble: str) -> tuple[Outcome, str, str]:
    """Look at the store of a run that has ended."""
    injection = attached.injection
    where = f"{injection.call} number {injection.n}"
    if trouble:
        return Outcome.UNUSABLE, where, trouble
    failed = dict(line.split() for line in attached.script.lines("failed"))
    try:
        there = set(attached.check_contents())
    except Exception as error:
        return Outcome.UNUSABLE, where, f"{type(error).__name__}: {error}"
    promised = set(range(1, LAST + 1)) - set(map(int, failed))
    if missing := promised - there:
        return Outcome.LOST, where, f"steps {sorted(missing)} are not there"
    if "KILL" in injection.fault:
        return Outcome.RESUMED, where, ""
    return (Outcome.REFUSED if failed else Outcome.DONE), where, " ".join(failed.values())

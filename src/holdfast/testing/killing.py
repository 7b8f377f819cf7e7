"""Kill points: the same work, ended by SIGKILL before, within or after each of its effects.

``observe`` does some work in a process of its own and says which effects it has on a store's
folder. ``kill_points`` are the moments around them. ``run_killed`` does the work again and kills
it at one of these. The work is a function, done in a forked process, or a command: your own
training script. Processes that it starts count too, the persister first of all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.errors import UsageError
from holdfast.testing.children import Work, by_command, in_child, wait_gone
from holdfast.testing.effects import WRITES, EffectLog, Moment, Strike, attach

_HOOK = """\
from holdfast.testing.effects import attach
attach({folder!r}, {log!r}, {strike!r})
"""
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A moment of some work: before, within or after the effect with a number, from 0."""

    number: int
    effect: str
    when: Moment


@dataclass(frozen=True, slots=True)
class Ended:
    """How some work ended.

    Attributes:
        status: Exit status; negative for the signal that killed it.
        effects: Names of its effects, in order.
        output: What it printed; of a function only the traceback.
    """

    status: int
    effects: tuple[str, ...]
    output: str


def observe(work: Work, folder: str | os.PathLike[str], timeout_s: float = _PATIENCE_S) -> Ended:
    """Do some work in a process of its own, and count its effects.

    Args:
        work: A function, or a command. A command's Python processes count if they can import
            holdfast; a ``sitecustomize`` of theirs is not run.
        folder: The folder of the store. It need not be there yet.
        timeout_s: How long a command may take.

    Raises:
        UsageError: The work fails by itself, or has no effects.
    """
    ended = _run(work, folder, None, timeout_s)
    if ended.status != 0:
        raise UsageError(f"The work ends with status {ended.status} by itself:\n{ended.output}")
    if not ended.effects:
        raise UsageError(f"The work has no effect on {os.fspath(folder)!r}.\n{ended.output}")
    return ended


def kill_points(effects: Sequence[str]) -> list[KillPoint]:
    """Return the moments around effects: before the first, after each, and within each write.

    >>> [(p.number, p.when) for p in kill_points(["write", "fsync"])]
    [(0, 'before'), (0, 'within'), (0, 'after'), (1, 'after')]
    """
    points = [KillPoint(0, effects[0], "before")] if effects else []
    for number, effect in enumerate(effects):
        if effect in WRITES:
            points.append(KillPoint(number, effect, "within"))
        # Which is before the next one, too.
        points.append(KillPoint(number, effect, "after"))
    return points


def run_killed(
    work: Work,
    folder: str | os.PathLike[str],
    point: KillPoint,
    *,
    everyone: bool = True,
    timeout_s: float = _PATIENCE_S,
) -> Ended:
    """Do some work, and kill it at a point.

    The folder is not put back to what it was: that is the caller's.

    Args:
        work: What ``observe`` was given.
        folder: The folder of the store.
        point: When.
        everyone: Kill all its processes, as when a machine dies; else only the one that has the
            effect, so that the others may go on.
        timeout_s: How long a command may take.

    Returns:
        How it ended, once all its processes have. Threads and processes do not always have the
        same effects in the same order, so that one of the last points may not be reached.
    """
    return _run(work, folder, Strike(point.number, point.when, everyone=everyone), timeout_s)


def _run(
    work: Work, folder: str | os.PathLike[str], strike: Strike | None, timeout_s: float
) -> Ended:
    with _hooked(os.fspath(folder), strike) as (hook, told, log_path):
        log = EffectLog(log_path)
        path = os.pathsep.join(p for p in (hook, os.environ.get("PYTHONPATH")) if p)
        if callable(work):
            status, output = in_child(
                _counted(work, os.fspath(folder), log_path, strike, path), told
            )
        else:
            status, output = by_command(work, told, {"PYTHONPATH": path}, timeout_s)
        # A persister may have work in its hands after its trainer's end.
        wait_gone(log.pids(), timeout_s)
        return Ended(status, tuple(log.effects()), output)


def _counted(
    work: Callable[[], object], folder: str, log: str, strike: Strike | None, path: str
) -> Callable[[], object]:
    def counted() -> None:
        os.environ["PYTHONPATH"] = path
        attach(folder, log, asdict(strike) if strike is not None else None)
        work()

    return counted


@contextmanager
def _hooked(folder: str, strike: Strike | None) -> Iterator[tuple[str, Path, str]]:
    """Make a folder that lets every Python process which has it on its path count effects."""
    with tempfile.TemporaryDirectory(prefix="holdfast-killing-") as scratch:
        log = os.path.join(scratch, "effects.log")
        facts = asdict(strike) if strike is not None else None
        hook = _HOOK.format(folder=os.path.abspath(folder), log=log, strike=facts)
        Path(scratch, "sitecustomize.py").write_text(hook)
        yield scratch, Path(scratch, "told.txt"), log

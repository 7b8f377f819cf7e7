"""One life of the script: started, watched, struck, waited for."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from holdfast.drill import hook
from holdfast.drill.checkpoint_files import find
from holdfast.drill.opened import Opened
from holdfast.drill.processes import Process
from holdfast.drill.record import Life, Sighting
from holdfast.drill.sighting import Watcher
from holdfast.drill.strikes import AtEffect, AtRow, AtSight, Strike
from holdfast.drill.work_folder import RunFolder, filled

_SETTLE_S = 30.0
_STOPPED_S = 1.5


@dataclass(frozen=True, slots=True)
class Terms:
    """How a life is lived.

    Attributes:
        limit_s: How long it may take.
        strike: What happens to it, and when.
        world: Number of processes, for ``{world}``.
        grace_s: How long it has after SIGTERM.
        most_bytes: The largest file that it may write.
        store: A store, by its path in the run's folder, whose effects are counted or struck.
        wait_for: Patterns of paths in the run's folder; it is struck once there is one.
        extra: Variables besides those of every life.
    """

    limit_s: float
    strike: Strike | None = None
    world: int | None = None
    grace_s: float = 30.0
    most_bytes: int | None = None
    store: str | None = None
    wait_for: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


class Lives:
    """Starts the command again and again.

    Args:
        command: The command, with its words ``{out}`` and ``{world}``.
        environment: The variables of every life.
        scratch: A folder for what is told of each life.
        watch: Whether to look into its processes.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], scratch: Path, *, watch: bool
    ) -> None:
        self._command, self._environment = command, dict(environment)
        self._scratch, self._watch = scratch, watch
        self._count = 0

    def live(self, folder: RunFolder, terms: Terms) -> tuple[Life, Sighting]:
        """Live one life, to its end.

        Raises:
            UsageError: The command cannot be run.
        """
        self._count += 1
        told = self._scratch / f"life-{self._count:03d}"
        told.mkdir(parents=True)
        environment = self._prepared(folder, terms, told)
        command = filled(self._command, folder, terms.world)
        with closing(Opened(str(folder.root / name) for name in find(folder).files)) as opened:
            process = Process(
                command, folder.work, environment, told / "printed.txt", terms.most_bytes
            )
            watcher = Watcher(folder, told, process.lines)
            try:
                struck, timed_out = _accompanied(process, terms, watcher, told)
            except BaseException:
                process.kill_all()
                raise
            has_read = opened.any()
        watcher.look(force=True)
        life = Life(
            status=process.status,
            seconds=process.seconds(),
            lines=tuple(process.lines()),
            trace=hook.trace_of(told),
            struck=struck or (isinstance(terms.strike, AtEffect) and process.status != 0),
            had_checkpoint=watcher.has_checkpoint,
            timed_out=timed_out,
            has_read=has_read,
            kinds=watcher.kinds(),
            again=watcher.kinds(again=True),
        )
        return life, watcher.sighting(hook.effects_of(told) if terms.store else ())

    def _prepared(self, folder: RunFolder, terms: Terms, told: Path) -> dict[str, str]:
        environment = {**self._environment, **dict(terms.extra)}
        environment.setdefault("PYTHONUNBUFFERED", "1")
        if not self._watch:
            return environment
        return hook.install(
            told,
            environment,
            strike=terms.strike,
            wait_for=[str(folder.root / pattern) for pattern in terms.wait_for],
            store=None if terms.store is None else folder.root / terms.store,
        )


def _accompanied(process: Process, terms: Terms, watcher: Watcher, told: Path) -> tuple[bool, bool]:
    """See a life to its end; return whether it was struck, and whether it took too long."""
    strike = terms.strike
    if not process.wait(lambda: _is_due(strike, process, watcher, told), terms.limit_s):
        process.kill_all()
        return False, True
    struck = hook.has_struck(told)
    if isinstance(strike, AtSight) and not process.ended:
        process.signal_all(strike.signal)
        struck = True
    if struck and isinstance(strike, AtRow | AtSight):
        return True, not _after(process, strike, terms, watcher)
    if isinstance(strike, AtEffect) and process.status != 0:
        process.kill_all()
    process.settle(_SETTLE_S)
    return struck, False


def _is_due(strike: Strike | None, process: Process, watcher: Watcher, told: Path) -> bool:
    """Look at a life; say whether the time for its strike has come, or it has struck itself."""
    watcher.look(force=isinstance(strike, AtSight) and strike.writes is not None)
    if isinstance(strike, AtRow):
        return hook.has_struck(told)
    return isinstance(strike, AtSight) and _in_sight(strike, process, watcher)


def _in_sight(strike: AtSight, process: Process, watcher: Watcher) -> bool:
    if strike.writes is not None:
        return watcher.n_writes >= strike.writes
    if not watcher.has_checkpoint:
        return False
    if strike.lines is not None:
        return len(process.lines()) >= strike.lines
    return strike.seconds is not None and process.seconds() >= strike.seconds


def _after(process: Process, strike: AtRow | AtSight, terms: Terms, watcher: Watcher) -> bool:
    """Do what follows a strike; return whether the end came in time."""
    if strike.signal == signal.SIGKILL:
        if isinstance(strike, AtRow) and not strike.everyone:
            process.wait(lambda: False, process.seconds() + _SETTLE_S)
            process.settle(_SETTLE_S)
        process.kill_all()
        return True
    if strike.signal == signal.SIGSTOP:
        time.sleep(_STOPPED_S)
        process.signal_all(signal.SIGCONT)
        limit_s = terms.limit_s + process.seconds()
    else:
        limit_s = process.seconds() + terms.grace_s
    in_time = _ends(process, watcher, limit_s)
    if in_time:
        process.settle(_SETTLE_S)
    process.kill_all()
    return in_time


def _ends(process: Process, watcher: Watcher, limit_s: float) -> bool:
    """Look at a life until it ends; False where that took too long."""

    def look() -> bool:
        watcher.look()
        return False

    return process.wait(look, limit_s)

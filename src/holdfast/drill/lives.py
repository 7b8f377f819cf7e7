"""One life of the script: started, watched, struck, waited for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.drill import witness
from holdfast.drill.checkpoint_files import is_checkpoint
from holdfast.drill.processes import Process
from holdfast.drill.record import Life
from holdfast.drill.strikes import AtEffect, AtRow, AtSight, Strike
from holdfast.drill.trace import Trace, parse_trace
from holdfast.drill.work_folder import RunFolder, filled
from holdfast.testing import effects as store_effects

_HOOK = '''\
"""Lets the drill watch this process; then whatever else is called so has its turn."""
import json, os, sys
_here = os.path.dirname(os.path.abspath(__file__))
try:
    import _holdfast_witness
    with open(os.path.join(_here, "config.json")) as _file:
        _holdfast_witness.attend(json.load(_file))
except Exception as _error:
    print("holdfast drill: this process is not watched:", repr(_error), file=sys.stderr)
sys.path[:] = [p for p in sys.path if os.path.abspath(p) != _here]
_self = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize
except ImportError:
    # Who imports this one looks for it there.
    sys.modules["sitecustomize"] = _self
'''
_SETTLE_S = 30.0
_STOPPED_S = 1.5
_LOOK_S = 0.02
_REST = 10.0
_COMMITS = f"{os.sep}commits{os.sep}"


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


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen from outside while a life went on.

    Attributes:
        first_rows: Steps that were seen before the first checkpoint was there.
        first_lines: Lines that were printed by then.
        first_s: When that was.
        n_writes: How many times a checkpoint's file was new or changed.
        peak_bytes: The most that the folder took.
        effects: Names of effects on the store, where they were counted.
    """

    first_rows: int
    first_lines: int
    first_s: float
    n_writes: int
    peak_bytes: int
    effects: tuple[str, ...]


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
        process = Process(command, folder.work, environment, told / "printed.txt", terms.most_bytes)
        watcher = _Watcher(folder, told)
        try:
            struck, timed_out = _accompanied(process, terms, watcher, told)
        except BaseException:
            process.kill_all()
            raise
        watcher.look(force=True)
        struck = struck or (isinstance(terms.strike, AtEffect) and process.status != 0)
        life = Life(
            status=process.status,
            seconds=process.seconds(),
            lines=tuple(process.lines()),
            trace=_trace(told),
            struck=struck,
            had_checkpoint=watcher.has_checkpoint,
            timed_out=timed_out,
        )
        effects = store_effects.EffectLog(str(told / "effects")).effects() if terms.store else []
        return life, watcher.sighting(tuple(effects))

    def _prepared(self, folder: RunFolder, terms: Terms, told: Path) -> dict[str, str]:
        environment = {**self._environment, **dict(terms.extra)}
        environment.setdefault("PYTHONUNBUFFERED", "1")
        if not self._watch:
            return environment
        hook = told / "hook"
        package = Path(witness.__file__).parent
        shutil.copytree(
            package, hook / "_holdfast_witness", ignore=shutil.ignore_patterns("__pycache__")
        )
        (hook / "sitecustomize.py").write_text(_HOOK)
        (told / "trace").mkdir()
        config = {
            "trace": str(told / "trace"),
            "strike": _row_strike(folder, terms, told),
            "effects": _effects(folder, terms, told),
        }
        (hook / "config.json").write_text(json.dumps(config))
        paths = [str(hook), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return environment


def _row_strike(folder: RunFolder, terms: Terms, told: Path) -> dict[str, Any] | None:
    strike = terms.strike
    if not isinstance(strike, AtRow):
        return None
    return {
        "kind": strike.kind,
        "row": strike.row,
        "signal": int(strike.signal),
        "delay_s": strike.delay_s,
        "everyone": strike.everyone,
        "wait_for": [str(folder.root / pattern) for pattern in terms.wait_for],
        "done": str(told / "struck"),
    }


def _effects(folder: RunFolder, terms: Terms, told: Path) -> dict[str, Any] | None:
    if terms.store is None:
        return None
    strike = None
    if isinstance(terms.strike, AtEffect):
        kill: Any = terms.strike.kill
        strike = asdict(store_effects.Strike(terms.strike.at, kill, everyone=True))
    return {
        "folder": str(folder.root / terms.store),
        "log": str(told / "effects"),
        "strike": strike,
    }


def _accompanied(
    process: Process, terms: Terms, watcher: _Watcher, told: Path
) -> tuple[bool, bool]:
    """See a life to its end; return whether it was struck, and whether it took too long."""
    strike = terms.strike

    def due() -> bool:
        watcher.look(force=isinstance(strike, AtSight) and strike.writes is not None)
        if isinstance(strike, AtRow):
            return (told / "struck").exists()
        return isinstance(strike, AtSight) and _in_sight(strike, process, watcher)

    in_time = process.wait(due, terms.limit_s)
    if not in_time:
        process.kill_all()
        return False, True
    row_struck = (told / "struck").exists()
    if isinstance(strike, AtSight) and not process.ended:
        process.signal_all(strike.signal)
        row_struck = True
    if not row_struck or not isinstance(strike, AtRow | AtSight):
        if isinstance(strike, AtEffect) and process.status != 0:
            process.kill_all()
        process.settle(_SETTLE_S)
        return row_struck, False
    return True, not _after(process, strike, terms, watcher)


def _after(process: Process, strike: AtRow | AtSight, terms: Terms, watcher: _Watcher) -> bool:
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
    in_time = process.wait(lambda: watcher.look(), limit_s)
    if in_time:
        process.settle(_SETTLE_S)
    process.kill_all()
    return in_time


def _in_sight(strike: AtSight, process: Process, watcher: _Watcher) -> bool:
    if strike.writes is not None:
        return watcher.n_writes >= strike.writes
    if not watcher.has_checkpoint:
        return False
    if strike.lines is not None:
        return len(process.lines()) >= strike.lines
    return strike.seconds is not None and process.seconds() >= strike.seconds


def _trace(told: Path) -> Trace:
    files = sorted((told / "trace").glob("*.jsonl")) if (told / "trace").is_dir() else []
    return parse_trace(path.read_text(errors="replace").splitlines() for path in files)


class _Watcher:
    """Looks at a run's folder from outside."""

    def __init__(self, folder: RunFolder, told: Path) -> None:
        self._folder, self._told = folder, told
        self._look_again_s = 0.0
        self._began_s = time.monotonic()
        self._files: dict[str, object] = {}
        self._first: tuple[int, int, float] | None = None
        self.n_writes = 0
        self.peak_bytes = 0
        self.has_checkpoint = False

    def look(self, *, force: bool = False) -> bool:
        """Look, if it is some time ago; never a reason to stop waiting."""
        now_s = time.monotonic()
        if not force and now_s < self._look_again_s:
            return False
        files = dict(self._folder.files())
        self.peak_bytes = max(self.peak_bytes, sum(seen.nbytes for seen in files.values()))
        written = {n: s for n, s in files.items() if is_checkpoint(n) or _is_of_store(n)}
        self.n_writes += sum(self._files.get(n) != s for n, s in written.items())
        self._files = {**self._files, **written}
        # Of a store's files only a commit makes a checkpoint.
        self.has_checkpoint = any(is_checkpoint(n) or _COMMITS in n for n in written)
        if self.has_checkpoint and self._first is None:
            self._first = (self._rows(), self._lines(), now_s - self._began_s)
        # Of many files a look takes its time, and shall not take the script's.
        done_s = time.monotonic()
        self._look_again_s = done_s + max(_LOOK_S, _REST * (done_s - now_s))
        return False

    def _rows(self) -> int:
        trace = _trace(self._told)
        return len(trace.main)

    def _lines(self) -> int:
        return len((self._told / "printed.txt").read_text(errors="replace").splitlines())

    def sighting(self, effects: tuple[str, ...]) -> Sighting:
        """Return what was seen."""
        rows, lines, seconds = self._first or (0, 0, 0.0)
        return Sighting(rows, lines, seconds, self.n_writes, self.peak_bytes, effects)


def _is_of_store(name: str) -> bool:
    return _COMMITS in name or f"{os.sep}packs{os.sep}" in name

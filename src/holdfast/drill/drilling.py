"""The drill: undisturbed runs first, then one fault after the other, within a budget of time."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from holdfast.drill import refusals, work_folder
from holdfast.drill.checkpoint_files import find
from holdfast.drill.compare import Difference, compare, leaf_name
from holdfast.drill.diagnosis import why_not_twice
from holdfast.drill.diagnosis.evidence import is_generator
from holdfast.drill.faults import Fault, affordable, chosen
from holdfast.drill.leaves import Saved
from holdfast.drill.lives import Lives, Terms
from holdfast.drill.making import Making
from holdfast.drill.record import Life, Record
from holdfast.drill.report import DrillReport, Outcome, Undisturbed
from holdfast.drill.results import record_of
from holdfast.drill.series import tells_of_time
from holdfast.drill.settings import DrillOptions
from holdfast.drill.strikes import Shown, checkpoints_of
from holdfast.drill.work_folder import RunFolder
from holdfast.errors import UsageError

Say = Callable[[str], None]

_MORE_TIME = 10.0
_LEAST_LIMIT_S = 60.0
_WATCHED = {"o": "steps of PyTorch's optimizers", "c": "steps of holdfast's Checkpointer"}


def drill(options: DrillOptions, say: Say) -> DrillReport:
    """Run a script under faults, let it resume, and compare its end with undisturbed runs.

    Args:
        options: What to do.
        say: Called with each line of progress.

    Raises:
        UsageError: The options make no sense, or the script fails by itself.
        NothingSaved: The script saves nothing, or not where it can be seen.
    """
    options.check()
    chosen(options.faults, has_world=options.has_world)
    if options.keep is not None:
        if options.keep.exists() and any(options.keep.iterdir()):
            raise UsageError(f"{str(options.keep)!r} is not empty. Nothing was run.")
        options.keep.mkdir(parents=True, exist_ok=True)
        return _Drill(options, options.keep.resolve(), say).run()
    with tempfile.TemporaryDirectory(prefix="holdfast-drill-") as scratch:
        return _Drill(options, Path(scratch).resolve(), say).run()


class _Drill:
    def __init__(self, options: DrillOptions, scratch: Path, say: Say) -> None:
        self._options, self._scratch, self._say = options, scratch, say
        self._began_s = time.monotonic()
        self._lives = Lives(
            options.command, options.environment, scratch / "told", watch=options.watch
        )
        self._runs = 0
        self._volatile: tuple[str, ...] = ()

    def run(self) -> DrillReport:
        shown, first = self._first()
        undisturbed, reference = self._second(shown, first)
        refusals.require_leaves(reference)
        outcomes: list[Outcome] = []
        if undisturbed.repeatable:
            outcomes = self._faults(undisturbed, reference)
        return DrillReport(
            self._options.command,
            undisturbed,
            tuple(outcomes),
            self._options.seed,
            time.monotonic() - self._began_s,
        )

    # --- undisturbed ---

    def _first(self) -> tuple[Shown, Record]:
        self._say("undisturbed run")
        folder, limit_s = self._fresh(), self._left_s()
        life, seen = self._lives.live(folder, Terms(limit_s, world=self._world))
        # It may have ended before this process came to look at the clock.
        if life.timed_out or (life.status == 0 and life.seconds > limit_s):
            raise refusals.too_long(self._options.budget_s)
        refusals.require_good(life)
        found = find(folder)
        if not found:
            raise refusals.nothing_saved(folder)
        return Shown(life, seen, found), self.record(folder, (life,))

    def _second(self, shown: Shown, first: Record) -> tuple[Undisturbed, Record]:
        """Run it once more, to know what is the same twice."""
        self._shown = shown
        if not self._options.repeat:
            return self._undisturbed(first, first, Difference()), first
        self._say("the same once more: does it end the same?")
        folder = self._fresh()
        store = shown.found.stores[0] if shown.found.stores else None
        terms = Terms(self._limit_s(shown), world=self._world, store=store)
        life, seen = self._lives.live(folder, terms)
        refusals.require_good(life)
        second = self.record(folder, (life,))
        self._shown = replace(shown, seen=replace(shown.seen, effects=seen.effects))
        self._volatile = tuple(
            leaf_name(d)
            for d in compare(first, second).leaves
            if _never_the_same(d.path, first.saved[d.saved])
        )
        common = {k: v for k, v in first.saved.items() if k in second.saved}
        if first.saved and not common:
            raise refusals.named_anew(first, second)
        self._volatile += tuple(key for key in first.saved if key not in common)
        first = replace(first, saved=common)
        return self._undisturbed(first, second, self.compare(first, second)), first

    def _undisturbed(self, first: Record, second: Record, difference: Difference) -> Undisturbed:
        trace = first.last.trace
        return Undisturbed(
            seconds=second.last.seconds,
            n_steps=len(trace.main),
            checkpoints=tuple(first.saved),
            n_leaves=sum(len(saved.leaves) for saved in first.saved.values()),
            metrics=tuple(dict.fromkeys(s.name for s in first.series.values())),
            repeatable=difference.is_none,
            difference=difference,
            causes=() if difference.is_none else why_not_twice(first, second, difference),
            volatile=self._volatile,
            opaque=tuple(f"{s.key}: {s.problem}" for s in first.saved.values() if s.problem),
            watched=_WATCHED.get(trace.kind or "", "nothing"),
        )

    # --- disturbed ---

    def _faults(self, undisturbed: Undisturbed, reference: Record) -> list[Outcome]:
        faults, left = chosen(self._options.faults, has_world=self._options.has_world)
        outcomes: list[Outcome] = []
        for number, fault in enumerate(faults, 1):
            if not affordable(fault, undisturbed.seconds, self._left_s()):
                words = "no time was left for it; --budget gives more"
                outcomes.append(Outcome(fault.name, fault.words, "skipped", words))
                continue
            self._say(f"{number} of {len(faults)}: {fault.words}")
            began_s = time.monotonic()
            outcome = self._make(fault, reference)
            outcomes.append(replace(outcome, seconds=time.monotonic() - began_s))
            self._say(f"    {outcome.status}: {outcome.words}")
        never = [Outcome(s.fault.name, s.fault.words, "skipped", s.why) for s in left]
        return outcomes + never

    def _make(self, fault: Fault, reference: Record) -> Outcome:
        making = Making(
            lives=self._lives,
            shown=self._shown,
            reference=reference,
            record=self.record,
            compare=self.compare,
            fresh=self._fresh,
            scratch=self._scratch,
            options=self._options,
            # A life that hangs shall not take the time of all others.
            limit_s=min(self._limit_s(self._shown), max(_LEAST_LIMIT_S, self._left_s())),
            wait_for=tuple(checkpoints_of(self._shown.found)),
            # Each fault has its own moments, whichever others are made.
            chance=random.Random(f"{self._options.seed} {fault.name}"),
        )
        outcome = making.make(fault)
        if self._options.keep is None:
            # The first has what all others are compared with.
            for path in set(self._scratch.glob("run-*")) - {self._scratch / "run-001"}:
                shutil.rmtree(path, ignore_errors=True)
        return outcome

    # --- what both need ---

    def record(self, folder: RunFolder, lives: tuple[Life, ...]) -> Record:
        """Read what a run has left behind."""
        return record_of(folder, lives, self._options.open_store)

    def compare(self, one: Record, other: Record) -> Difference:
        """Compare two runs, without what is never the same twice."""
        return compare(one, other, self._volatile)

    def _fresh(self, root: Path | None = None) -> RunFolder:
        self._runs += 1
        options = self._options
        root = root or self._scratch / f"run-{self._runs:03d}"
        source = options.folder.resolve()
        if self._scratch.is_relative_to(source):
            raise UsageError(
                f"{str(self._scratch)!r} is within the working folder, which is copied. "
                "Choose another place with --keep."
            )
        return work_folder.fresh(source, root, options.leave_out, options.share)

    @property
    def _world(self) -> int | None:
        return self._options.worlds[0] if self._options.worlds else None

    def _left_s(self) -> float:
        return max(0.01, self._options.budget_s - (time.monotonic() - self._began_s))

    def _limit_s(self, shown: Shown) -> float:
        return max(_LEAST_LIMIT_S, _MORE_TIME * shown.life.seconds)


def _never_the_same(path: str, saved: Saved) -> bool:
    """Say whether a leaf that differs between two undisturbed runs may: a text, a time."""
    leaf = saved.leaves.get(path)
    if leaf is None:
        return False
    plain = leaf.kind not in ("array", "numbers", "float", "int", "bool", "bytes")
    # A whole array that tells of time is called so itself; a layer for times has weights.
    name = path.rpartition("/")[2] if math.prod(leaf.shape) > 1 else path
    # A generator that nobody has seeded begins elsewhere each time. If what is drawn from it
    # matters, other leaves and metrics differ too.
    return plain or tells_of_time(name) or is_generator(path, leaf)

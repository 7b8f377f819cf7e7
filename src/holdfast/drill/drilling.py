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

from holdfast.drill import work_folder
from holdfast.drill.checkpoint_files import find
from holdfast.drill.compare import Difference, compare, leaf_name
from holdfast.drill.diagnosis import why_not_twice
from holdfast.drill.faults import Fault, affordable, chosen
from holdfast.drill.leaves import Saved
from holdfast.drill.lives import Lives, Terms
from holdfast.drill.making import Making
from holdfast.drill.record import Life, Record
from holdfast.drill.report import DrillReport, Outcome, Undisturbed
from holdfast.drill.results import record_of
from holdfast.drill.series import tells_of_time
from holdfast.drill.settings import DrillOptions
from holdfast.drill.strikes import Shown, checkpoints_of, earlier
from holdfast.drill.work_folder import RunFolder
from holdfast.errors import NothingSaved, UsageError

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
        _require_leaves(reference)
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
        folder = self._fresh()
        life, seen = self._lives.live(folder, Terms(self._left_s(), world=self._world))
        if life.timed_out:
            raise UsageError(
                f"One undisturbed run takes longer than the budget of {self._options.budget_s:g} "
                "s. It was ended. Drill a shorter run of the script, or give more with --budget."
            )
        _require_good(life)
        found = find(folder)
        if not found:
            made = [name for name, _ in folder.files()][:5]
            wrote = f"It wrote {', '.join(made)}." if made else "It wrote no file at all there."
            raise NothingSaved(
                "The script ends well, but no checkpoint is in its working folder or in {out}, so "
                f"there is nothing to resume from. {wrote} If it saves elsewhere, let it save "
                "below the folder that it is started in, or hand it {out}: holdfast drill -- "
                "python train.py --out {out}.",
                written=made,
            )
        shown = Shown(
            life.trace,
            len(life.lines),
            life.seconds,
            found,
            seen.first_rows,
            seen.first_lines,
            seen.first_s,
            seen.n_writes,
        )
        self._peak_bytes = seen.peak_bytes
        return shown, self.record(folder, (life,))

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
        _require_good(life)
        second = self.record(folder, (life,))
        self._shown = replace(shown, effects=seen.effects)
        self._volatile = tuple(
            leaf_name(d)
            for d in compare(first, second).leaves
            if _never_the_same(d.path, first.saved[d.saved])
        )
        common = {k: v for k, v in first.saved.items() if k in second.saved}
        if first.saved and not common:
            raise UsageError(_named_anew(first, second))
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
        outcomes = [Outcome(s.fault.name, s.fault.words, "skipped", s.why) for s in left]
        made: list[Outcome] = []
        for number, fault in enumerate(faults, 1):
            if not affordable(fault, undisturbed.seconds, self._left_s()):
                words = "no time was left for it; --budget gives more"
                made.append(Outcome(fault.name, fault.words, "skipped", words))
                continue
            self._say(f"{number} of {len(faults)}: {fault.words}")
            began_s = time.monotonic()
            outcome = self._make(fault, reference)
            made.append(replace(outcome, seconds=time.monotonic() - began_s))
            self._say(f"    {outcome.status}: {outcome.words}")
        return made + outcomes

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
            peak_bytes=self._peak_bytes,
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
        return max(_LEAST_LIMIT_S, _MORE_TIME * shown.seconds)


def _require_good(life: Life) -> None:
    if life.status != 0 or life.timed_out:
        how = "does not end" if life.timed_out else f"ends with status {life.status}"
        said = "\n".join(earlier(life.lines))
        raise UsageError(
            f"The script {how} by itself, so there is nothing to compare with. Its last words:\n"
            f"{said}",
            status=life.status,
        )


def _named_anew(first: Record, second: Record) -> str:
    one, other = next(iter(first.saved)), next(iter(second.saved), "none")
    return (
        "Each run gives its checkpoints other names, so that no two can be compared, and none is "
        f"found again after a fault: {one} in the first undisturbed run, {other} in the second. "
        "Let the script save below a folder that stays, or hand it {out}: holdfast drill -- "
        "python train.py --out {out}."
    )


def _require_leaves(reference: Record) -> None:
    """Refuse to judge where nothing that was saved could be read: whatever happened would pass."""
    if any(saved.leaves for saved in reference.saved.values()):
        return
    problems = [f"{saved.key}: {saved.problem}" for saved in reference.saved.values()]
    raise UsageError(
        "Nothing of what the script has saved can be read, so there is nothing to compare. "
        f"{'; '.join(problems)}"
    )


def _never_the_same(path: str, saved: Saved) -> bool:
    """Say whether a leaf that differs between two undisturbed runs may: a text, a time."""
    leaf = saved.leaves.get(path)
    if leaf is None:
        return False
    plain = leaf.kind not in ("array", "numbers", "float", "int", "bool", "bytes")
    # A whole array that tells of time is called so itself; a layer for times has weights.
    name = path.rpartition("/")[2] if math.prod(leaf.shape) > 1 else path
    # Generators that nobody has seeded begin elsewhere each time, and are drawn from by nobody.
    return plain or tells_of_time(name) or "@rng/python" in path

"""The demo: train, be killed in the middle, resume, and prove that nothing was lost."""

from __future__ import annotations

import importlib.util
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import holdfast
from holdfast.demo.compare import Comparison, compare
from holdfast.demo.everything import everything
from holdfast.demo.trainer import Outcome, train
from holdfast.errors import AlreadyExists, MissingDependency, UsageError
from holdfast.records.opening import open_store

Say = Callable[[str], None]

STEADY, STORMY = "steady", "stormy"
_MIN_STEPS = 60
_KILL_SPREAD = 0.1
_PROGRESS_LINES = 5
_SAVED = 25  # Steps with a checkpoint have validation figures, so these are shown.


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo runs.

    Attributes:
        directory: Where the store is made and stays; None for a temporary one.
        steps: Steps that each run trains.
        kill_at: Part of the training after which the second run is killed; None for a random
            moment around the middle.
    """

    directory: Path | None = None
    steps: int = 500
    kill_at: float | None = None


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came out.

    Attributes:
        ok: Whether the killed run ended with exactly the state of the one that was left alone.
        steps: Steps that each run trained.
        killed_after_step: The last step that the killed run had finished.
        resumed_from: The checkpoint that it found by itself.
        steps_repeated: How many finished steps it had to do again.
        n_leaves: How many leaves were compared.
        nbytes: How many bytes these have.
        differences: The leaves that differ.
        val_acc: Validation accuracy at the end.
        seconds: How long the demo took.
    """

    ok: bool
    steps: int
    killed_after_step: int
    resumed_from: str
    steps_repeated: int
    n_leaves: int
    nbytes: int
    differences: tuple[str, ...]
    val_acc: float | None
    seconds: float


def run(options: DemoOptions, say: Say) -> DemoResult:
    """Tell the whole story.

    Args:
        options: How to run it.
        say: Called with each line of text.

    Raises:
        MissingDependency: PyTorch or scikit-learn is not installed.
        UsageError: Too few steps, or a moment to kill at that is not within the run.
        AlreadyExists: The directory has runs of an earlier demo.
    """
    _refuse_impossible(options)
    if options.directory is not None:
        # Whether it can be written is found out here, not by the training script.
        open_store(options.directory, create=True)
        return _Story(options, options.directory, say).tell()
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as folder:
        return _Story(options, Path(folder) / "store", say).tell()


class _Story:
    def __init__(self, options: DemoOptions, store: Path, say: Say) -> None:
        self._options, self._store, self._say = options, store, say

    def tell(self) -> DemoResult:
        start = time.monotonic()
        self._say("A small network learns to read handwritten digits: convolutions, batch norm,")
        self._say("dropout, momentum, a learning-rate schedule, shuffled and augmented data.")
        self._left_alone()
        killed = self._killed()
        resumed = self._resumed()
        comparison = self._compared()
        result = self._result(killed, resumed, comparison, time.monotonic() - start)
        self._reported(result, resumed)
        return result

    def _left_alone(self) -> None:
        self._chapter(1, f"A run that is left alone: '{STEADY}'")
        outcome = train(self._store, STEADY, self._options.steps, self._progress())
        self._line(f"done: {self._options.steps} steps in {outcome.seconds:.1f} s")

    def _killed(self) -> Outcome:
        self._chapter(2, f"The same training again, as '{STORMY}', and a SIGKILL in the middle")
        # Not a seeded draw: the moment is to be another one each time.
        part = self._options.kill_at or random.SystemRandom().uniform(
            0.5 - _KILL_SPREAD, 0.5 + _KILL_SPREAD
        )
        last = min(max(1, round(part * self._options.steps)), self._options.steps - 2)
        pause_s = random.SystemRandom().uniform(0, 0.01)

        def kill(step: int) -> bool:
            if step < last:
                return False
            time.sleep(pause_s)  # It works on meanwhile: the blow falls anywhere within a step.
            return True

        outcome = train(self._store, STORMY, self._options.steps, self._progress(), kill)
        self._line(f"killed with SIGKILL; it had just finished step {outcome.last_step}")
        return outcome

    def _resumed(self) -> Outcome:
        self._chapter(3, "The same command once more")
        outcome = train(self._store, STORMY, self._options.steps, self._progress())
        self._line(f"done: the run has its {self._options.steps} steps")
        return outcome

    def _compared(self) -> Comparison:
        self._chapter(4, "Is the killed run the same as the one that was left alone?")
        comparison = compare(*(everything(self._store, f"{run}@final") for run in (STEADY, STORMY)))
        size = f"{comparison.n_leaves:,} leaves, {comparison.nbytes:,} bytes"
        if comparison.equal:
            self._line(f"compared {size}: every bit is equal")
            self._line("weights, momentum, schedule, batch statistics, data position and RNG")
        else:
            self._line(f"compared {size}: {len(comparison.differences)} differences")
            for difference in comparison.differences[:10]:
                self._line(f"  {difference}")
        return comparison

    def _result(
        self, killed: Outcome, resumed: Outcome, comparison: Comparison, seconds: float
    ) -> DemoResult:
        final = holdfast.Store(self._store).info(f"{STORMY}@final")
        was_resumed = resumed.resumed_from is not None
        return DemoResult(
            ok=comparison.equal and killed.killed and was_resumed,
            steps=self._options.steps,
            killed_after_step=killed.last_step,
            resumed_from=resumed.resumed_from or "nothing",
            steps_repeated=max(0, killed.last_step + 1 - resumed.steps_done),
            n_leaves=comparison.n_leaves,
            nbytes=comparison.nbytes,
            differences=tuple(comparison.differences),
            val_acc=final.metrics.get("val_acc"),
            seconds=seconds,
        )

    def _reported(self, result: DemoResult, resumed: Outcome) -> None:
        self._chapter(5, "What it cost")
        log = holdfast.Store(self._store).log(STORMY)
        stored = statistics.median(info.stored_bytes for info in log)
        self._line(f"checkpoints    {len(log)}, {stored / 1e6:.2f} MB each (median)")
        self._line(f"saving         {resumed.held_line}")
        first, last = resumed.steps_done, result.killed_after_step
        steps = f"step {first} was" if first == last else f"steps {first} to {last} were"
        lost = f"{steps} done a second time" if result.steps_repeated else "not one finished step"
        self._line(f"lost           {lost}")
        if result.val_acc is not None:
            self._line(f"validation     {result.val_acc:.1%} of unseen digits read correctly")
        self._line(f"time           {result.seconds:.0f} s for all of this")
        self._say("")
        if result.ok:
            self._say("Killed, resumed, and bit for bit the same.")
        else:
            self._say("NOT the same: see above.")
        if self._options.directory is not None:
            self._say(f"Look around with: holdfast --store {self._store} log {STORMY}")

    def _progress(self) -> Callable[[str], None]:
        """Return a listener that passes on what the script says, but only some of its steps."""
        often = max(_SAVED, self._options.steps // _PROGRESS_LINES // _SAVED * _SAVED)

        def on_line(line: str) -> None:
            step = line.removeprefix("step ").split(" ")[0] if line.startswith("step ") else ""
            if line and (not step.isdigit() or int(step) % often == 0):
                self._line(line)

        return on_line

    def _chapter(self, number: int, title: str) -> None:
        self._say("")
        self._say(f"{number} · {title}")

    def _line(self, text: str) -> None:
        self._say(f"    {text}")


def _refuse_impossible(options: DemoOptions) -> None:
    missing = [
        package
        for module, package in (("torch", "torch"), ("sklearn", "scikit-learn"))
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise MissingDependency(
            f"The demo needs {' and '.join(missing)}, not installed here. Nothing was done. "
            "Install with: pip install 'holdfast[demo]'",
            packages=tuple(missing),
        )
    if options.steps < _MIN_STEPS:
        raise UsageError(
            f"The demo needs {_MIN_STEPS} steps at least, so that there is a middle to be killed "
            f"in; {options.steps} were asked for. Nothing was done."
        )
    if options.kill_at is not None and not 0 < options.kill_at < 1:
        raise UsageError(
            f"The part of the run to kill at must be between 0 and 1, not {options.kill_at:g}. "
            "Nothing was done."
        )
    if options.directory is not None and options.directory.exists():
        taken = set(holdfast.Store(options.directory).runs()) & {STEADY, STORMY}
        if taken:
            raise AlreadyExists(
                f"{options.directory} has runs of an earlier demo: {', '.join(sorted(taken))}. "
                "They were left as they are. Choose another directory."
            )

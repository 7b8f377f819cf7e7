"""Each fault made for real: the run that is disturbed, resumed, and judged."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.drill.checkpoint_files import find
from holdfast.drill.compare import Difference
from holdfast.drill.damage import damage_newest
from holdfast.drill.disks import small_disk
from holdfast.drill.faults import Fault
from holdfast.drill.judge import judge
from holdfast.drill.lives import Lives, Terms
from holdfast.drill.record import Life, Record
from holdfast.drill.report import Outcome
from holdfast.drill.settings import DrillOptions
from holdfast.drill.strikes import AtEffect, AtSight, Shown, Strike, at_random, in_save, words_of
from holdfast.drill.work_folder import RunFolder

_TRIES = 3
# Of what the checkpoints take, what the small disk has: the second where the first was enough.
_SHARES = (0.6, 0.3)
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Making:
    """What is needed to make a fault; one method for each.

    Attributes:
        lives: Starts the command.
        shown: What the undisturbed run has shown.
        reference: What that has left behind.
        record: Reads what a run has left behind.
        compare: Compares two runs.
        fresh: Makes a fresh folder, at a path or anywhere.
        scratch: Where folders may be made.
        options: What was asked for.
        limit_s: How long one life may take.
        wait_for: Patterns of which one is there once something has been saved.
        chance: Decides the moments.
    """

    lives: Lives
    shown: Shown
    reference: Record
    record: Callable[[RunFolder, tuple[Life, ...]], Record]
    compare: Callable[[Record, Record], Difference]
    fresh: Callable[..., RunFolder]
    scratch: Path
    options: DrillOptions
    limit_s: float
    wait_for: tuple[str, ...]
    chance: random.Random

    def make(self, fault: Fault) -> Outcome:
        """Make a fault and return what became of the script."""
        makers: dict[str, Callable[[Fault], Outcome]] = {
            "kill": lambda f: self._killed(f, everyone=True),
            "kill-process": lambda f: self._killed(f, everyone=False),
            "kill-in-save": self._killed_in_save,
            "kill-twice": self._killed_twice,
            "sigterm": self._asked_to_leave,
            "stop": self._stopped,
            "damaged": self._damaged,
            "machine": self._elsewhere,
            "full-disk": self._full,
            "world": self._other_world,
        }
        return makers[fault.name](fault)

    # --- one method for each fault ---

    def _killed(self, fault: Fault, *, everyone: bool) -> Outcome:
        folder, life, what = self._struck(signal.SIGKILL, everyone=everyone)
        return self._resumed(fault, folder, life, what)

    def _killed_in_save(self, fault: Fault) -> Outcome:
        for _ in range(_TRIES):
            strike = in_save(self.shown, self.chance)
            folder = self.fresh()
            store = self.shown.found.stores[0] if isinstance(strike, AtEffect) else None
            life, _seen = self.lives.live(folder, self._terms(strike, store=store, wait_for=()))
            if life.struck:
                break
        return self._resumed(fault, folder, life, words_of(strike, self._n_steps))

    def _killed_twice(self, fault: Fault) -> Outcome:
        folder, first, what = self._struck(signal.SIGKILL)
        if not first.struck:
            return self._resumed(fault, folder, first, what)
        done = len(first.trace.main)
        strike = at_random(self.shown, self.chance, signal.SIGKILL, done=done)
        second, _ = self.lives.live(folder, self._terms(strike))
        if not second.struck:
            # It reached its end before: that is one kill, which is judged like any.
            return self._judged(fault, folder, (first, second), f"{what}; the second came too late")
        return self._resumed(
            fault,
            folder,
            second,
            f"{what}, and {words_of(strike, self._n_steps)} of the next life",
            before=(first,),
        )

    def _asked_to_leave(self, fault: Fault) -> Outcome:
        folder, life, what = self._struck(signal.SIGTERM)
        if life.timed_out:
            what += f"; it did not leave within {self.options.grace_s:g} s, and was killed"
        elif life.struck:
            what += f"; it left with status {life.status}"
        return self._resumed(fault, folder, life, what)

    def _stopped(self, fault: Fault) -> Outcome:
        folder, life, what = self._struck(signal.SIGSTOP)
        return self._judged(fault, folder, (life,), what)

    def _damaged(self, fault: Fault) -> Outcome:
        folder, life, what = self._struck(signal.SIGKILL)
        done = damage_newest(folder, find(folder))
        if done is None:
            return Outcome(fault.name, what, "skipped", "there was no checkpoint to damage")
        return self._resumed(fault, folder, life, f"{what}, {done}")

    def _elsewhere(self, fault: Fault) -> Outcome:
        folder, life, what = self._struck(signal.SIGKILL)
        moved = folder.moved(self.scratch / "run-elsewhere" / f"{folder.root.name}-of-another")
        home, temporary = moved.root / "home", moved.root / "tmp"
        home.mkdir()
        temporary.mkdir()
        extra = (("HOME", str(home)), ("TMPDIR", str(temporary)), ("XDG_CACHE_HOME", str(home)))
        what += "; its folder moved, with an empty home and other temporary files"
        return self._resumed(fault, moved, life, what, terms=self._terms(None, extra=extra))

    def _other_world(self, fault: Fault) -> Outcome:
        folder, life, what = self._struck(signal.SIGKILL)
        first, other = self.options.worlds[:2]
        what += f"; on with {other} instead of {first} processes"
        return self._resumed(fault, folder, life, what, terms=self._terms(None, world=other))

    def _full(self, fault: Fault) -> Outcome:
        outcome = self._on_small_disk(fault, _SHARES[0])
        for share in _SHARES[1:]:
            if outcome.status != "passed" or outcome.resumed_at is not None:
                break
            # It got through as if nothing had been: the disk may not have been full at all.
            outcome = self._on_small_disk(fault, share)
        return outcome

    def _on_small_disk(self, fault: Fault, share: float) -> Outcome:
        root = self.scratch / "run-small-disk"
        shutil.rmtree(root, ignore_errors=True)
        size = self._size_of_source() + max(int(self.shown.seen.peak_bytes * share), _PAGE)
        with small_disk(root, size) as disk:
            folder = self.fresh(root)
            limit = None if disk is not None else self._half_a_checkpoint()
            life, _ = self.lives.live(folder, self._terms(None, most_bytes=limit))
            what = f"a disk with {share:.0%} of the space" if disk else "no file may be complete"
            if disk is not None:
                disk.grow(size + 4 * self.shown.seen.peak_bytes + (64 << 20))
            what += f"; the script ended with status {life.status}"
            if life.status == 0:
                return self._through(fault, folder, life, what)
            return self._resumed(fault, folder, life, f"{what}; then there was space")

    def _through(self, fault: Fault, folder: RunFolder, life: Life, what: str) -> Outcome:
        """Judge a run that says that all is well, though its disk was full."""
        outcome = self._judged(fault, folder, (life,), what)
        if outcome.status == "passed":
            return outcome
        words = f"it ended with status 0 on a full disk, but its end was not saved: {outcome.words}"
        return replace(outcome, words=words, causes=())

    # --- what they share ---

    def _struck(
        self, number: signal.Signals, *, everyone: bool = True
    ) -> tuple[RunFolder, Life, str]:
        """Start anew until a signal came before the end."""
        for hurry in range(_TRIES):
            strike = at_random(self.shown, self.chance, number, everyone=everyone, hurry=hurry)
            folder = self.fresh()
            life, _ = self.lives.live(folder, self._terms(strike))
            if life.struck and self._had_done_all(strike, folder, life):
                life = replace(life, struck=False, status=0)
            if life.struck:
                break
        what = words_of(strike, self._n_steps)
        return folder, life, what if life.struck else f"{what}, which came too late"

    def _had_done_all(self, strike: Strike, folder: RunFolder, life: Life) -> bool:
        """Say whether a strike by the clock came when all was done, so that nothing can be lost."""
        if not isinstance(strike, AtSight) or strike.seconds is None:
            return False
        if strike.signal != signal.SIGKILL:
            return False
        return self.compare(self.reference, self.record(folder, (life,))).is_none

    def _resumed(
        self,
        fault: Fault,
        folder: RunFolder,
        life: Life,
        what: str,
        *,
        terms: Terms | None = None,
        before: tuple[Life, ...] = (),
    ) -> Outcome:
        if life.status == 0 and not life.struck:
            return Outcome(fault.name, what, "skipped", "the run ended before it could be struck")
        last, _ = self.lives.live(folder, terms or self._terms(None))
        return self._judged(fault, folder, (*before, life, last), what)

    def _judged(
        self, fault: Fault, folder: RunFolder, lives: tuple[Life, ...], what: str
    ) -> Outcome:
        record = self.record(folder, lives)
        difference = self.compare(self.reference, record)
        falls_back = bool(self.shown.found.stores)
        return judge(fault, what, self.reference, record, difference, falls_back=falls_back)

    def _terms(
        self,
        strike: Strike | None,
        *,
        store: str | None = None,
        wait_for: tuple[str, ...] | None = None,
        world: int | None = None,
        most_bytes: int | None = None,
        extra: tuple[tuple[str, str], ...] = (),
    ) -> Terms:
        first = self.options.worlds[0] if self.options.worlds else None
        return Terms(
            limit_s=self.limit_s,
            strike=strike,
            world=world if world is not None else first,
            grace_s=self.options.grace_s,
            most_bytes=most_bytes,
            store=store,
            wait_for=self.wait_for if wait_for is None else wait_for,
            extra=extra,
        )

    @property
    def _n_steps(self) -> int:
        return len(self.shown.life.trace.main)

    def _half_a_checkpoint(self) -> int:
        sizes = [seen.nbytes for seen in self.shown.found.files.values()]
        return max(max(sizes, default=self.shown.seen.peak_bytes) // 2, 1)

    def _size_of_source(self) -> int:
        root = self.scratch / "run-measured"
        folder = self.fresh(root)
        # Each file takes whole pages there.
        nbytes = sum(-(-seen.nbytes // _PAGE) * _PAGE for seen in folder.before.values())
        shutil.rmtree(root)
        return nbytes

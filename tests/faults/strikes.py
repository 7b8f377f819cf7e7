"""A fault at each effect that an operation has on its store: counted once, struck one by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from faults.children import carried_out
from faults.outcomes import Ended, Trial, outcome_of
from faults.scenario import COMMITS, OPERATIONS, Operation, Stage, carry_out, look
from holdfast.testing.effects import EffectLog, Effects, Strike

Event = Callable[[], object]
# A commit record is opened, written, synced, linked; its folder synced, its first name removed.
_BEFORE_LINK, _AFTER_LINK = 3, 2


class Happening:
    """Something that happens to the world right before an effect, once; the effect then goes on."""

    is_deadly = False

    def __init__(self, at: int, event: Event) -> None:
        self.at = at
        self._event = event
        self._has_happened = False

    def hits(self, number: int) -> bool:
        if number >= self.at:
            self.happen()
        return False

    def happen(self) -> None:
        if not self._has_happened:
            # What is not possible at this very moment may be at the next effect.
            self._has_happened = self._event() is not False


class PowerCut(Happening):
    """The disk loses its power, and with it the process."""

    is_deadly = True

    def hits(self, number: int) -> bool:
        if number >= self.at:
            self.happen()
            os.kill(os.getpid(), signal.SIGKILL)
        return False


Fault = Strike | Happening
# For what strikes by itself, at no effect.
NEVER = Strike(-1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where trials take place.

    Attributes:
        stage: Has the stores as they are before the operations.
        store: Where the store stands that is struck.
        prepare: Called before each trial, before the store is put there.
        settle: Called when the store is there, before it is struck.
        recover: Called after each trial: gives the machine its power back, and such.
    """

    stage: Stage
    store: Path
    prepare: Event = lambda: None
    settle: Event = lambda: None
    recover: Event = lambda: None

    def set_up(self, operation: Operation) -> None:
        self.prepare()
        self.stage.set_up(operation, self.store)
        self.settle()

    def trial(
        self, operation: Operation, fault: Fault, name: str, where: str, column: str = ""
    ) -> Trial:
        """Set an operation up, strike it once, and look what came of it."""
        self.set_up(operation)
        return self.struck(operation, fault, name, where, column)

    def struck(
        self, operation: Operation, fault: Fault, name: str, where: str, column: str = ""
    ) -> Trial:
        """Strike an operation that was set up, and look what came of it."""
        is_deadly = fault.is_deadly if isinstance(fault, Happening) else fault.kill is not None
        ended = carried_out(lambda: self._strike(operation, fault), may_be_killed=is_deadly)
        return self.judged(operation, ended, name, where, column)

    def judged(
        self, operation: Operation, ended: Ended, name: str, where: str, column: str = ""
    ) -> Trial:
        """Give the world back what it lost, and tell what a trial ended in."""
        self.recover()
        found = look(operation, ended, self.store, self.stage.source)
        outcome = outcome_of(ended, found)
        told = ended.told if outcome.is_good else f"{ended.told} {found.text}"
        return Trial(name, column or column_of(operation, ended), outcome, where, told)

    def effects(self, operation: Operation) -> list[str]:
        """Return the names of the effects that an operation has."""
        self.set_up(operation)
        log = self._log()
        effects = Effects(str(self.store), log)
        try:
            wrong = carry_out(operation, self.store, self.stage.source)
        finally:
            effects.close()
        assert not wrong, wrong
        return log.effects()

    def _strike(self, operation: Operation, fault: Fault) -> str:
        # What is asked of a strike here a happening answers too.
        effects = Effects(str(self.store), self._log(), cast(Strike, fault))
        wrong = carry_out(operation, self.store, self.stage.source)
        effects.close()
        if isinstance(fault, Happening):
            # The last moment of all: it has returned, and what it promised must hold.
            fault.happen()
        return wrong

    def _log(self) -> EffectLog:
        path = self.stage.folder / "effects"
        path.unlink(missing_ok=True)
        return EffectLog(str(path))

    def at_every_effect(
        self,
        name: str,
        fault_at: Callable[[int], Fault],
        *,
        only: Sequence[str] = (),
        every: int = 1,
        operations: Sequence[str] = tuple(OPERATIONS),
    ) -> Iterator[Trial]:
        """Strike operations at each of their effects, and once after the last.

        Args:
            name: Of the fault.
            fault_at: Makes it, for the number of an effect.
            only: Names of the effects to strike, if not all.
            every: Only every so many of them.
            operations: Names of the operations.
        """
        for operation in (OPERATIONS[each] for each in operations):
            effects = self.effects(operation)
            chosen = [n for n, e in enumerate(effects) if not only or e in only]
            for at in [*chosen[::every], len(effects)]:
                where = f"effect {at} of {len(effects)}, {(*effects, 'the end')[at]}"
                column = commit_or_save(operation, effects, at)
                yield self.trial(operation, fault_at(at), name, where, column)


def commit_or_save(operation: Operation, effects: Sequence[str], at: int) -> str:
    """Return the column of an effect: those that make the commit record have their own."""
    if operation.name != "save" or "link" not in effects:
        return operation.name
    link = effects.index("link")
    return "commit" if link - _BEFORE_LINK <= at <= link + _AFTER_LINK else operation.name


def column_of(operation: Operation, ended: Ended) -> str:
    """Return the column of a trial, by the key that its error names."""
    at_commit = operation.name == "save" and COMMITS in ended.facts.get("key", "")
    return "commit" if at_commit else operation.name

"""A fault before, within and after every effect that a save or a removal has on the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_running import IS_FULL, assert_verified, debris
from effects import BROKEN, FULL, Effects, Fault, in_child

import holdfast
from holdfast import errors, keep

RUN = "run"
Operation = Callable[[Path], object]


def tree(step: int) -> dict[str, Any]:
    """A state of several packs and groups, some of it the same in every checkpoint."""
    return {
        "changes": [np.full(100 << 10, step + i, np.float32) for i in range(4)],
        "stays": np.arange(80 << 10, dtype=np.float32),
        "small": {"a": np.full(7, step), "step": step},
    }


def save(store: Path, step: int, **more: Any) -> object:
    return holdfast.save(store, tree(step), run=RUN, step=step, rng=False, **more)


def tags_and_prunes(store: Path) -> None:
    opened = holdfast.Store(store)
    opened.tag(f"{RUN}@1", "named")
    opened.prune(RUN, keep.last(1))
    opened.untag(RUN, "named")


OPERATIONS: dict[str, tuple[Sequence[int], Operation, set[int]]] = {
    # name: steps that are there before, what is done, steps that it may remove
    "first": ((), lambda store: save(store, 3), set()),
    "save": ((1, 2), lambda store: save(store, 3, tag="three"), set()),
    "remove": ((1, 2), lambda store: holdfast.Store(store).remove(f"{RUN}@2"), {2}),
    "retention": ((0, 1, 2), tags_and_prunes, {0}),
}


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many packs of a small state, published in several batches."""
    monkeypatch.setattr("holdfast.plan.packs.PACK_BYTES", 500 << 10)
    monkeypatch.setattr("holdfast.chunks.write.PUBLISH_EVERY", 1)


@pytest.fixture(params=OPERATIONS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, *OPERATIONS[request.param])


class Case:
    """An operation on a store, and what must hold after it was struck by a fault."""

    def __init__(
        self, folder: Path, before: Sequence[int], operation: Operation, removes: set[int]
    ) -> None:
        self._pristine = folder / "pristine"
        self._told = folder / "told.txt"
        self.store = folder / "store"
        self._before = before
        self.operation = operation
        self._removes = removes
        for step in before:
            save(self._pristine, step)
        self.effects = self._count()

    def renew(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        if self._before:
            shutil.copytree(self._pristine, self.store)

    def kill(self, fault: Fault) -> None:
        """Do the operation in a process that is killed in it."""
        self.renew()

        def work() -> None:
            Effects(str(self.store), fault)
            self.operation(self.store)

        status, trouble = in_child(work, self._told)
        # Threads that make the same folder do not always need the same number of calls.
        assert status == -9 or fault.at >= len(self.effects) - 2, trouble

    def strike(self, fault: Fault, expected: type[errors.HoldfastError]) -> None:
        """Do the operation with an error in it, then look at the store from the same process."""
        self.renew()

        def work() -> None:
            effects = Effects(str(self.store), fault)
            # What can be made up for is not an error: then the operation was done.
            with suppress(expected):
                self.operation(self.store)
            effects.close()
            self.check()

        status, trouble = in_child(work, self._told)
        assert status == 0, trouble

    def check(self) -> None:
        """All that is committed is good, all that was is there, and the store is usable."""
        if self._before:
            assert_verified(self.store)
            self.check_contents()
        save(self.store, 9)
        assert_verified(self.store)
        self.check_contents()
        assert debris(self.store, RUN) == set()

    def check_contents(self) -> None:
        there = [info.step for info in holdfast.Store(self.store).log(RUN)]
        assert set(self._before) - self._removes <= set(there), there
        assert len(set(there)) == len(there), there
        for step in there:
            loaded = holdfast.load(self.store, f"{RUN}@{step}")
            np.testing.assert_equal(loaded, tree(step))

    def _count(self) -> list[str]:
        self.renew()

        def work() -> None:
            effects = Effects(str(self.store))
            self.operation(self.store)
            self._told.with_suffix(".json").write_text(json.dumps(effects.names))

        assert in_child(work, self._told) == (0, "")
        return list(json.loads(self._told.with_suffix(".json").read_text()))

    def at_every_effect(self, check: Callable[[int], None], *names: str) -> None:
        """Call check with the number of each effect, and fail with all that it found."""
        assert len(self.effects) >= 6
        found = []
        for at, name in enumerate(self.effects):
            try:
                if name in names or not names:
                    check(at)
            except Exception as error:
                found.append(f"effect {at}, {name}: {type(error).__name__}: {error}")
        assert not found, f"{len(found)} of {len(self.effects)}:\n" + "\n".join(found)


def test_killed_before_every_effect(case: Case) -> None:
    def check(at: int) -> None:
        case.kill(Fault(at, kill="before"))
        case.check()

    case.at_every_effect(check)


def test_killed_within_every_write(case: Case) -> None:
    def check(at: int) -> None:
        case.kill(Fault(at, kill="within"))
        case.check()

    case.at_every_effect(check, "write", "writev", "pwrite")


# One error that passes, and one that stays: what would be cleaned up cannot be, either.
ERRORS = [(FULL, True), (BROKEN, False)] + [(FULL, False), (BROKEN, True)] * IS_FULL


@pytest.mark.parametrize(("number", "lasting"), ERRORS)
def test_an_error_at_every_effect(case: Case, number: int, lasting: bool) -> None:
    """It is told as what it is, nothing is lost, and the same process can go on afterwards."""
    expected = {FULL: errors.NoSpace, BROKEN: errors.StoreUnavailable}[number]
    case.at_every_effect(lambda at: case.strike(Fault(at, error=number, lasting=lasting), expected))


def test_effects_are_of_all_kinds(tmp_path: Path) -> None:
    """The tests above would pass if nothing were counted."""
    effects = Effects(str(tmp_path))
    try:
        save(tmp_path / "store", 1)
        save(tmp_path / "store", 2)
        holdfast.Store(tmp_path / "store").prune(RUN, keep.last(1))
    finally:
        effects.close()
    assert {"open", "mkdir", "writev", "fsync", "rename", "link", "unlink"} <= set(effects.names)
    assert os.open is effects._real["open"]

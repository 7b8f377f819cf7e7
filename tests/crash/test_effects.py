"""A fault before, within and after every effect that an operation has on the store."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_running import IS_FULL, assert_verified, debris

import holdfast
from holdfast import errors, keep
from holdfast.testing import killing
from holdfast.testing.children import in_child
from holdfast.testing.effects import EffectLog, Effects, Strike
from holdfast.testing.killing import KillPoint

RUN = "run"
FULL, BROKEN = errno.ENOSPC, errno.EIO
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


def copies_in(store: Path) -> None:
    source = store.parent / "source"
    if not source.exists():
        save(source, 4)
    holdfast.Store(source).copy(f"{RUN}@4", store)


def repairs(store: Path) -> None:
    """Put right a pack, a manifest and a commit record that are damaged, from a copy."""
    report = holdfast.Store(store).repair([store.parent / "pristine"])
    assert report.ok, report


def damage(store: Path) -> None:
    for kind in ("packs", "parts", "commits"):
        path = min((store / "runs" / RUN / kind).iterdir())
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.write_bytes(data)


OPERATIONS: dict[str, tuple[Sequence[int], Operation, set[int]]] = {
    # name: steps that are there before, what is done, steps that it may remove
    "first": ((), lambda store: save(store, 3), set()),
    "save": ((1, 2), lambda store: save(store, 3, tag="three"), set()),
    "remove": ((1, 2), lambda store: holdfast.Store(store).remove(f"{RUN}@2"), {2}),
    "retention": ((0, 1, 2), tags_and_prunes, {0}),
    "copy": ((1, 2), copies_in, set()),
    "repair": ((1, 2), repairs, set()),
}


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many packs of a small state, published in several batches."""
    monkeypatch.setattr("holdfast.plan.packs.PACK_BYTES", 500 << 10)
    monkeypatch.setattr("holdfast.chunks.packing.PUBLISH_EVERY", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill leaves there what it leaves on a disk."""
    if not os.path.isdir("/dev/shm"):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-test-", dir="/dev/shm") as made:
        yield Path(made)


@pytest.fixture(params=OPERATIONS)
def case(request: pytest.FixtureRequest, folder: Path) -> Case:
    return Case(folder, request.param, *OPERATIONS[request.param])


class Case:
    """An operation on a store, and what must hold after it was struck by a fault."""

    def __init__(
        self,
        folder: Path,
        name: str,
        before: Sequence[int],
        operation: Operation,
        removes: set[int],
    ) -> None:
        self._folder = folder
        self._pristine = folder / "pristine"
        self._told = folder / "told.txt"
        self.store = folder / "store"
        self._before = before
        self._is_repair = name == "repair"
        # These are a save and a few replacements: `make crash` looks at all of it.
        self._stride = 3 if name in ("copy", "repair") and not IS_FULL else 1
        self._operation = operation
        self._removes = removes
        for step in before:
            save(self._pristine, step)
        self.renew()
        self.effects = killing.observe(self.work, self.store).effects

    @property
    def points(self) -> Sequence[KillPoint]:
        return killing.kill_points(self.effects)[:: self._stride]

    @property
    def numbers(self) -> range:
        return range(0, len(self.effects), self._stride)

    def work(self) -> None:
        self._operation(self.store)

    def renew(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        if self._before:
            shutil.copytree(self._pristine, self.store)
        if self._is_repair:
            damage(self.store)

    def kill(self, point: KillPoint) -> None:
        """Do the operation in a process that is killed in it."""
        self.renew()
        ended = killing.run_killed(self.work, self.store, point)
        # Threads that make the same folder do not always need the same number of calls.
        assert ended.status == -9 or point.number >= len(self.effects) - 2, ended.output

    def strike(self, strike: Strike, expected: type[errors.HoldfastError]) -> None:
        """Do the operation with an error in it, then look at the store from the same process."""
        self.renew()
        log = self._folder / f"{strike.at}.log"

        def work() -> None:
            effects = Effects(str(self.store), EffectLog(str(log)), strike)
            # What can be made up for is not an error: then the operation was done.
            with suppress(expected):
                self._operation(self.store)
            effects.close()
            self.check()

        status, trouble = in_child(work, self._told)
        log.unlink()
        assert status == 0, trouble

    def check(self) -> None:
        """All that is committed is good, all that was is there, and the store is usable."""
        if self._is_repair:
            # One that was stopped harms nothing, so that the next one can end it.
            repairs(self.store)
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


def assert_all(checks: Iterable[tuple[object, Callable[[], None]]]) -> None:
    """Carry out all checks, and fail with all that they found."""
    count, found = 0, []
    for name, check in checks:
        count += 1
        try:
            check()
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
    assert not found, f"{len(found)} of {count}:\n" + "\n".join(found)
    assert count >= 6


def test_killed_at_every_kill_point(case: Case) -> None:
    """Before the first effect, after each, and within each write."""

    def check(point: KillPoint) -> None:
        case.kill(point)
        case.check()

    assert_all((p, partial(check, p)) for p in case.points)


# One error that passes, and one that stays: what would be cleaned up cannot be, either.
ERRORS = [(FULL, True), (BROKEN, False)] + [(FULL, False), (BROKEN, True)] * IS_FULL


@pytest.mark.parametrize(("number", "lasting"), ERRORS)
def test_an_error_at_every_effect(case: Case, number: int, lasting: bool) -> None:
    """It is told as what it is, nothing is lost, and the same process can go on afterwards."""
    expected = {FULL: errors.NoSpace, BROKEN: errors.StoreUnavailable}[number]
    # Of many effects each has one of the two; both at all of them: make crash.
    are_many = not IS_FULL and case.numbers.step == 1
    numbers = case.numbers[number == BROKEN :: 2] if are_many else case.numbers
    strikes = [Strike(at, error=number, lasting=lasting) for at in numbers]
    assert_all((strike, partial(case.strike, strike, expected)) for strike in strikes)


def test_effects_are_of_all_kinds(tmp_path: Path) -> None:
    """The tests above would pass if nothing were counted."""
    real = os.open

    def work() -> None:
        save(tmp_path / "store", 1)
        save(tmp_path / "store", 2)
        holdfast.Store(tmp_path / "store").prune(RUN, keep.last(1))

    effects = killing.observe(work, tmp_path / "store").effects
    assert {"open", "mkdir", "writev", "fsync", "rename", "link", "unlink"} <= set(effects)
    assert os.open is real

"""The operations of the matrix, on a store of a few checkpoints, and what must hold after each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from crash_running import debris

import holdfast
from faults.outcomes import Ended, Found, How
from faults.threads import one_thread
from holdfast import keep
from holdfast.errors import DataError, HoldfastError

RUN = "run"
BEFORE = frozenset({1, 2, 3})
NEW, NEXT = 4, 9
# The records of a commit, as the keys in errors name them.
COMMITS = "/commits/"


# Elements of the large leaves.
LARGE = 24 << 10


def tree(step: int) -> dict[str, Any]:
    """A state of 20 leaves that are arrays: large and small, changing and staying."""
    return {
        "changes": [np.full(LARGE, 100 * step + i, np.float32) for i in range(6)],
        "stays": [np.arange(LARGE, dtype=np.float32) + i for i in range(4)],
        "small": [np.full(7 + i, step + i) for i in range(10)],
        "step": step,
    }


def save(store: Path, step: int, **more: Any) -> None:
    holdfast.save(store, tree(step), run=RUN, step=step, rng=False, **more)


@contextmanager
def small_packs() -> Iterator[None]:
    """Let a small state have many packs, published in several batches."""
    with (
        mock.patch("holdfast.plan.packs.PACK_BYTES", 200 << 10),
        mock.patch("holdfast.chunks.packing.PUBLISH_EVERY", 1),
    ):
        yield


@contextmanager
def small_state() -> Iterator[None]:
    """Make the state small, for what is done very often."""
    with (
        mock.patch("faults.scenario.LARGE", 600),
        mock.patch("holdfast.plan.packs.PACK_BYTES", 6 << 10),
    ):
        yield


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that is done to a store.

    Attributes:
        name: As the column of the table is called.
        before: Steps that the store has before.
        do: Does it, on a store; the other path is a store that has everything.
        done: Says what is wrong after it has returned, or nothing.
        adds: Steps that it may add, and has added when it has returned.
        removes: Steps that it may remove.
        is_damaged: One chunk of the newest checkpoint is damaged before.
    """

    name: str
    do: Callable[[Path, Path], object]
    done: Callable[[Path], str] = lambda store: ""
    before: frozenset[int] = BEFORE
    adds: frozenset[int] = frozenset()
    removes: frozenset[int] = frozenset()
    is_damaged: bool = False

    def must(self, ended: Ended) -> frozenset[int]:
        """Return the steps that have to be there afterwards."""
        added = self.adds if ended.how is How.RETURNED else frozenset()
        return self.before - self.removes | added

    @property
    def may(self) -> frozenset[int]:
        """The steps that may be there afterwards."""
        return self.before | self.adds


def _restore(store: Path, _: Path) -> str:
    into = tree(0)
    restored = holdfast.load(store, f"{RUN}@latest", into=into, verify="full")
    return difference(into, restored.step)


def _tag(store: Path, _: Path) -> None:
    holdfast.Store(store).tag(f"{RUN}@2", "named")


def _is_tagged(store: Path) -> str:
    found = holdfast.Store(store).info(f"{RUN}@named").step
    return "" if found == 2 else f"the tag names step {found}"


def _repair(store: Path, source: Path) -> str:
    report = holdfast.Store(store).repair([source])
    if not report.ok:
        # The command line says so too, and ends with status 1.
        raise DataError("; ".join([*report.lost, *report.busy]))
    return "" if holdfast.Store(store).verify().ok else "repaired, but it does not verify"


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("save", lambda store, _: save(store, NEW, tag="new"), adds=frozenset({NEW})),
        Operation(
            "prune",
            lambda store, _: holdfast.Store(store).prune(RUN, keep.last(1)),
            removes=frozenset({2}),
        ),
        Operation("restore", _restore),
        Operation("repair", _repair, is_damaged=True),
        Operation("tag", _tag, done=_is_tagged),
        Operation(
            "copy",
            lambda store, source: holdfast.Store(source).copy(f"{RUN}@3", store),
            before=frozenset({1, 2}),
            adds=frozenset({3}),
        ),
    )
}
# A commit is what a save does last; faults that strike there have a column of their own.
NAMES = ("save", "commit", "prune", "restore", "repair", "tag", "copy")


class Stage:
    """Stores as they are before an operation, made once and copied for each trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        for step in sorted(BEFORE):
            save(self.source, step)
        holdfast.Store(self.source).tag(f"{RUN}@1", "first")
        self._pristine: dict[tuple[frozenset[int], bool], Path] = {}
        for name, operation in OPERATIONS.items():
            # Whatever is imported late is imported now, and so no part of what is struck.
            self.set_up(operation, folder / "warm")
            assert carry_out(operation, folder / "warm", self.source) == "", name

    def _made(self, operation: Operation) -> Path:
        made = self.folder / f"before-{len(self._pristine)}"
        shutil.copytree(self.source, made)
        for step in BEFORE - operation.before:
            holdfast.Store(made).remove(f"{RUN}@{step}")
        if operation.is_damaged:
            _damage(made)
        return made

    def set_up(self, operation: Operation, store: Path) -> None:
        """Put a store into the state in which the operation finds it."""
        shutil.rmtree(store, ignore_errors=True)
        key = operation.before, operation.is_damaged
        if key not in self._pristine:
            self._pristine[key] = self._made(operation)
        shutil.copytree(self._pristine[key], store)


def _damage(store: Path) -> None:
    """Flip a bit in a pack that only the newest checkpoint needs."""
    newest = holdfast.Store(store).info(f"{RUN}@{max(BEFORE)}").id
    pack = store / "runs" / RUN / "packs" / f"{newest}-00000"
    data = bytearray(pack.read_bytes())
    data[0] ^= 4
    pack.write_bytes(data)
    assert not holdfast.Store(store).verify().ok


def carry_out(operation: Operation, store: Path, source: Path) -> str:
    """Do an operation; return what is different from what it should be, or nothing."""
    told = operation.do(store, source)
    return told if isinstance(told, str) and told else operation.done(store)


def difference(found: Any, step: int) -> str:
    """Say where a state is not that of a step, or nothing."""
    try:
        # Much faster than to ask NumPy where it differs, which is asked only if it does.
        if not _is_same(found, tree(step)):
            np.testing.assert_equal(found, tree(step))
            return f"step {step}: other types"
    except AssertionError as error:
        return f"step {step}: {' '.join(str(error).split())[:200]}"
    return ""


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            _is_same(found[key], expected[key]) for key in expected
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return type(found) is type(expected) and bool(found == expected)


def look(operation: Operation, ended: Ended, store: Path, source: Path) -> Found:
    """Look at a store after a trial, and use it: load everything, mend, save, verify."""
    with one_thread():
        return _look(operation, operation.must(ended), store, source)


def _look(operation: Operation, must: frozenset[int], store: Path, source: Path) -> Found:
    unusable: list[str] = []
    if operation.is_damaged:
        unusable += tried("repair", lambda: holdfast.Store(store).repair([source]))
    first = look_at_contents(store, must, operation.may)
    unusable += tried("save", lambda: save(store, NEXT))
    unusable += tried("verify", lambda: _verified(store))
    # The others are verified: what was equal to what was saved still is.
    only = frozenset({NEXT})
    again = look_at_contents(store, must | only, operation.may | only, load=only)
    return Found(
        tuple(dict.fromkeys(first.lost + again.lost)),
        tuple(dict.fromkeys(first.differing + again.differing)),
        tuple(unusable),
    )


def look_at_contents(
    store: Path, must: frozenset[int], may: frozenset[int], load: frozenset[int] | None = None
) -> Found:
    """Load every checkpoint that is there, and the newest by that name, and compare it.

    Args:
        store: Where.
        must: Steps that have to be there.
        may: Steps that may be there.
        load: Steps to load, if not all.
    """
    try:
        steps = [info.step for info in holdfast.Store(store).log(RUN)]
    except HoldfastError as error:
        return Found(lost=(f"all of {sorted(must)}: {error}",)) if must else Found()
    lost = [f"step {step} is not there" for step in sorted(must - set(steps))]
    differing = [f"step {step} was never committed" for step in sorted(set(steps) - may)]
    refs = [(step, f"{RUN}@{step}") for step in steps if load is None or step in load]
    for step, ref in [*refs, *((newest, f"{RUN}@latest") for newest in steps[-1:])]:
        try:
            wrong = difference(holdfast.load(store, ref), step)
        except HoldfastError as error:
            lost.append(f"{ref}: {error}")
        else:
            differing += [wrong] if wrong else []
    return Found(tuple(lost), tuple(differing))


def _verified(store: Path) -> None:
    report = holdfast.Store(store).verify()
    assert report.ok, (report.problems, [c for c in report.checkpoints if not c.ok])
    left = debris(store, RUN)
    assert not left, f"left behind: {left}"


def tried(what: str, call: Callable[[], object]) -> list[str]:
    """Return what goes wrong with a call, in a list of one line, or nothing."""
    try:
        call()
    except Exception as error:
        return [f"{what} afterwards: {type(error).__name__}: {error}"]
    return []

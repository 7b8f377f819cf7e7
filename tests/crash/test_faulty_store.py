"""Every operation under every fault of a store: done, or as before and told; never silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from crash_running import IS_FULL
from faulty_operations import (
    OPERATIONS,
    RUN,
    Bench,
    Operation,
    assert_usable,
    load_exactly,
    repairs,
    save,
    steps_of,
)

import holdfast
from holdfast import keep
from holdfast.errors import HoldfastError, ManifestDamaged
from holdfast.testing import Fault, FaultyStore, MemoryStore, plan_of
from holdfast.testing.fault_plan import APPLIES, FaultKind

# Faults that a store may have and still keep its contract, and those that break it.
HONEST: tuple[FaultKind, ...] = ("no-space", "unavailable", "io-error", "lost-ack", "delay")
LYING: tuple[FaultKind, ...] = ("torn", "short")
# `make crash` tries every cell of the matrix, CI some of them.
STRIDE = 1 if IS_FULL else 4


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def faults(calls: Counter[str], kinds: tuple[FaultKind, ...]) -> Iterator[Fault]:
    """Every kind at the first and last of every call, at those between in the full matrix."""
    for kind in kinds:
        for call in sorted(call for call in APPLIES[kind] if calls[call]):
            count = calls[call]
            for at in range(count) if IS_FULL else sorted({0, count - 1}):
                yield Fault(kind, on=call, at=at)
            if kind in ("no-space", "unavailable"):
                yield Fault(kind, on=call, at=count // 2, times=None)


def cells(bench: Bench, operation: Operation, *kinds: FaultKind) -> list[Fault]:
    untouched, error = bench.strike(operation, plan_of())
    assert error is None
    assert operation.is_done(untouched.inner)
    found = list(faults(untouched.calls, kinds))
    return found[::STRIDE]


def check_all(bench: Bench, operation: Operation, chosen: list[Fault], check: Any) -> None:
    """Try every fault, and fail with all that was found."""
    struck, bad = 0, []
    for fault in chosen:
        store, error = bench.strike(operation, plan_of(fault))
        struck += bool(store.struck)
        try:
            check(store, operation, error)
        except Exception as trouble:
            bad.append(f"{fault!r}: {type(trouble).__name__}: {trouble} [{error!r}]"[:900])
    assert not bad, f"{len(bad)} of {len(chosen)}:\n" + "\n".join(bad)
    assert struck >= len(chosen) * 0.8 > 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_error_of_the_store(bench: Bench, name: str) -> None:
    """All that was committed is there, and good; what is told to be done is done."""

    def check(store: FaultyStore, operation: Operation, error: HoldfastError | None) -> None:
        assert error is not None or operation.is_done(store.inner)
        if name == "repair" and error is not None:
            repairs(store.inner, bench.other)
        assert_nothing_is_lost(operation, store.inner)

    operation = OPERATIONS[name]
    check_all(bench, operation, cells(bench, operation, *HONEST), check)


@pytest.mark.parametrize("name", OPERATIONS)
def test_effects_that_are_seen_late(bench: Bench, name: str) -> None:
    """Nothing is lost by them; whoever looks too early finds the old or is told."""

    def check(store: FaultyStore, operation: Operation, error: HoldfastError | None) -> None:
        assert_no_wrong_content(store)
        store.settle()
        assert error is not None or operation.is_done(store.inner)
        if name == "repair" and error is not None:
            repairs(store.inner, bench.other)
        assert_nothing_is_lost(operation, store.inner)

    operation = OPERATIONS[name]
    chosen = cells(bench, operation, "late")
    # Reading has no effects.
    assert chosen or name in ("load", "load into", "verify", "doctor", "copy from")
    if chosen:
        check_all(bench, operation, chosen, check)


@pytest.mark.parametrize("calls", [5, 80])
@pytest.mark.parametrize("on", ["put_new", "publish", "delete*", "*"])
def test_one_operation_after_the_other_where_effects_are_seen_late(on: str, calls: int) -> None:
    """What was reported is there: a sweep does not take what it cannot see for debris."""
    inner = MemoryStore()
    late = Fault("late", on=on, keys="runs/*", times=None, calls=calls)
    store = FaultyStore(inner, plan_of(late))
    for step in range(1, 6):
        save(store, step)
        if step == 3:
            holdfast.Store(store).prune(RUN, keep.last(2))
    assert store.struck
    store.settle()
    # When retention looks, the packs of 2 and 3 are published, but not to be seen for some more
    # calls: 1 is all that it can see to be whole, and stays.
    is_unseen = on == "publish" and calls == 80
    assert steps_of(inner) == ([1, 2, 3, 4, 5] if is_unseen else [2, 3, 4, 5])
    for step in (2, 3, 4, 5):
        load_exactly(inner, step)
    assert_usable(inner)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_store_that_tears_objects(bench: Bench, name: str) -> None:
    """That breaks the contract. No content is ever wrong all the same, and verify tells."""

    def check(store: FaultyStore, operation: Operation, error: HoldfastError | None) -> None:
        inner = store.inner
        is_whole = assert_no_wrong_content(inner)
        if name == "first save" and "holdfast.json" in str(error):
            # No runs, and a marker that may be anybody's: told with what to do.
            with pytest.raises(ManifestDamaged, match="delete it and save again"):
                save(inner, 9)
            inner.delete(["holdfast.json"])
        is_good = not steps_of(inner) or holdfast.Store(inner).verify().ok
        assert is_good <= is_whole
        if error is None and not operation.is_done(inner):
            # It was read wrongly, and spared; or what was written tells that it is damaged.
            assert not is_good or set(steps_of(inner)) == set(operation.before)
        # Only repair writes over what was good.
        if name != "repair":
            for step in set(operation.before) - operation.removes:
                load_exactly(inner, step)
        save(inner, 9)
        load_exactly(inner, 9)

    operation = OPERATIONS[name]
    check_all(bench, operation, cells(bench, operation, *LYING), check)


def assert_nothing_is_lost(operation: Operation, store: MemoryStore) -> None:
    steps = set(steps_of(store))
    assert set(operation.before) - operation.removes <= steps, steps
    assert steps <= set(operation.before) | operation.adds, steps
    for step in steps:
        load_exactly(store, step)
    assert_usable(store)
    report = holdfast.Store(store).verify()
    assert report.ok, report


def assert_no_wrong_content(store: Any) -> bool:
    """Every checkpoint is what was saved, or refused; say whether all are good."""
    is_whole = True
    for step in steps_of(store):
        try:
            load_exactly(store, step)
        except HoldfastError:
            is_whole = False
    return is_whole

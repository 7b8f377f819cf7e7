"""Retention on real stores: budgets by what is stored, and never a deletion in doubt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import UsageError
from holdfast.format.names import RunKeys
from holdfast.history import pack_names
from holdfast.history.retention import apply_retention
from holdfast.policy.keep import keep
from holdfast.records import commits, journal
from holdfast.store.local import LocalStore

FROZEN = np.random.default_rng(0).integers(0, 256, 1_000_000, np.uint8)


def state(step: int) -> dict[str, Any]:
    own = np.random.default_rng(step).integers(0, 256, 200_000, np.uint8)
    return {"frozen": FROZEN, "own": own}


def saved(path: Path, *steps: int, **metrics: list[float | None]) -> holdfast.Store:
    for number, step in enumerate(steps):
        found = {name: of[number] for name, of in metrics.items()}
        given = {name: value for name, value in found.items() if value is not None}
        holdfast.save(path, state(step), run="r", step=step, metrics=given, rng=False)
    return holdfast.Store(path)


def left(store: holdfast.Store) -> list[int]:
    for info in store.log("r"):
        assert_same(holdfast.load(store, info.ref, verify="full"), state(info.step))
    return [info.step for info in store.log("r")]


def packs_bytes(store: holdfast.Store) -> int:
    keys = RunKeys("r")
    local = LocalStore(store.path)
    return sum(i.size for prefix in (keys.packs, keys.parts) for i in local.list(prefix))


# --- budgets ---


def test_a_budget_counts_what_is_stored_and_what_is_shared_once(store_path: Path) -> None:
    store = saved(store_path, 1, 2, 3, 4, 5)
    policy = keep.budget("1.7MB")
    dry = store.prune("r", policy, dry_run=True)
    before = packs_bytes(store)
    report = store.prune("r", policy)
    # All need the first one's pack, which has the frozen megabyte, so that it takes no more.
    assert left(store) == [1, 4, 5]
    assert packs_bytes(store) <= 1_700_000
    assert report.freed_bytes == dry.freed_bytes == before - packs_bytes(store) > 390_000
    assert [(i.step, why) for i, why in report.removed] == [(i.step, why) for i, why in dry.removed]
    assert all("over the budget of 1.7 MB: takes 20" in why for _, why in report.removed)
    assert not store.prune("r", policy).removed


def test_a_budget_below_one_checkpoint_keeps_one_and_says_so(store_path: Path) -> None:
    store = saved(store_path, 1, 2)
    report = store.prune("r", keep.budget(1000))
    assert left(store) == [2]
    assert 1_400_000 < report.over_budget_bytes < 1_450_000


def test_what_cannot_be_measured_stays(store_path: Path) -> None:
    store = saved(store_path, 1, 2, 3)
    local = LocalStore(store.path)
    local.delete([commits.read_commit(local, "r", 1).parts[0].key])
    pack_names.forget()
    report = store.prune("r", keep.budget(1000), dry_run=True)
    assert [i.step for i, _ in report.kept] == [1, 3]
    assert "in doubt: what it takes cannot be told" in report.kept[0][1]


# --- in doubt ---


@pytest.mark.parametrize("values", [[None] * 3, [float("nan"), float("inf"), None]])
def test_where_no_value_ranks_a_run_keeps_all(store_path: Path, values: list[float | None]) -> None:
    """In the background; by hand a metric that is nowhere is refused."""
    store = saved(store_path, 1, 2, 3, loss=values)
    local = LocalStore(store.path)
    report = apply_retention(local, "r", keep.best("loss"), dry_run=False, strict=False)
    assert not report.removed and left(store) == [1, 2, 3]


def test_epochs_that_nobody_counted_are_refused(store_path: Path) -> None:
    store = saved(store_path, 1, 2)
    with pytest.raises(UsageError, match="knows its epoch"):
        store.prune("r", keep.every(epochs=1))
    with pytest.raises(UsageError, match="knows its epoch"):
        store.prune("r", keep.last(1) | keep.every(epochs=1).within(days=1))
    assert left(store) == [1, 2]


def test_a_clock_that_goes_back_removes_nothing_by_age(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns
    saved(store_path, 1, 2)
    monkeypatch.setattr(time, "time_ns", lambda: real() - 400 * 86400 * 10**9)
    store = saved(store_path, 3)
    report = store.prune("r", keep.within(hours=1) | keep.every(days=1).within(days=30))
    assert not report.removed and left(store) == [1, 2, 3]
    assert any("clock was set back" in why for why in report.kept[0][1])


def test_a_clock_that_ran_ahead_for_one_save_removes_nothing_later(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time_ns
    saved(store_path, 1)
    monkeypatch.setattr(time, "time_ns", lambda: real() + 400 * 86400 * 10**9)
    store = saved(store_path, 2)
    local = LocalStore(store.path)
    # As the process sees it whose clock was set meanwhile.
    ahead_s = 400 * 86400.0
    report = apply_retention(local, "r", keep.within(hours=1), dry_run=False, ahead_s=ahead_s)
    assert not report.removed
    monkeypatch.setattr(time, "time_ns", real)
    saved(store_path, 3)
    assert not store.prune("r", keep.within(hours=1)).removed and left(store) == [1, 2, 3]


@pytest.mark.parametrize("damage", ["pack gone", "pack cut", "part damaged"])
def test_the_last_one_that_is_whole_stays(
    store_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = saved(store_path, 1, 2, 3)
    local = LocalStore(store.path)
    part = commits.read_commit(local, "r", 3).parts[0]
    if damage == "part damaged":
        local.put(part.key, local.get(part.key)[:-3] + b"abc")
    else:
        own = next(
            i.key for i in local.list(RunKeys("r").packs) if part.key.split("/")[3][:32] in i.key
        )
        local.delete([own]) if damage == "pack gone" else local.put(own, local.get(own)[:100_000])
    pack_names.forget()
    for dry_run in (True, False):
        report = store.prune("r", keep.last(1), dry_run=dry_run)
        assert [i.step for i, _ in report.removed] == [1]
        because = {i.step: why for i, why in report.kept}
        assert because[2] == ["in doubt: nothing that the policy keeps is whole"]
    assert "nothing is whole" in caplog.text
    assert_same(holdfast.load(store, "r@2", verify="full"), state(2))


# --- told ---


def test_what_was_removed_is_written_down(store_path: Path) -> None:
    store = saved(store_path, 1, 2, 3, 4)
    assert store.given_back("r") == journal.GivenBack(0, 0)
    store.prune("r", keep.last(3), dry_run=True)
    assert store.given_back("r") == journal.GivenBack(0, 0)
    first = store.prune("r", keep.last(3))
    second = store.remove("r@3")
    total = first.freed_bytes + second.freed_bytes
    assert store.given_back("r") == journal.GivenBack(2, total)
    events = journal.events(LocalStore(store.path), "r")
    assert [(e["event"], e["by"]) for e in events] == [
        ("pruned", "prune"),
        ("freed", "prune"),
        ("pruned", "rm"),
        ("freed", "rm"),
    ]
    assert events[0]["reason"] == "not of the last 3"

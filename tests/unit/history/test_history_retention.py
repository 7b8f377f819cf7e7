"""Removing: what a policy does not keep goes, and nothing that anybody shares goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast.errors import NotFound, UsageError
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.history import pack_names, retention, sweep
from holdfast.policy.keep import keep
from holdfast.records import commits, pins
from holdfast.store.local import TEMPORARY, LocalStore

FROZEN = np.random.default_rng(0).random(200_000)


def state(step: int) -> dict[str, Any]:
    return {"frozen": FROZEN, "w": np.full(100_000, step, "f8"), "step": step}


def save(path: Path, step: int, **options: Any) -> holdfast.CheckpointInfo:
    info: holdfast.CheckpointInfo = holdfast.save(
        path, state(step), run="r", step=step, rng=False, **options
    )
    return info


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    for step in range(1, 7):
        save(store_path, step, metrics={"loss": abs(step - 3)})
    return holdfast.Store(store_path)


def disk_bytes(store: holdfast.Store) -> int:
    return sum(p.stat().st_size for p in Path(store.path).rglob("*") if p.is_file())


def assert_intact(store: holdfast.Store, steps: list[int]) -> None:
    assert [i.step for i in store.log("r")] == steps
    for step in steps:
        assert_same(holdfast.load(store, f"r@{step}", verify="full"), state(step))
    assert store.verify().ok


def test_what_is_shared_stays_when_its_writer_goes(store: holdfast.Store) -> None:
    # The frozen array lies in the pack of step 1.
    report = store.remove("r@1")
    assert_intact(store, [2, 3, 4, 5, 6])
    assert [(i.step, why) for i, why in report.removed] == [(1, "asked for")]
    assert [i.step for i, _ in report.kept] == [2, 3, 4, 5, 6]
    for step in (2, 4, 3, 6):
        store.remove(f"r@{step}")
    assert_intact(store, [5])


def test_removing_frees_what_nobody_else_needs(store: holdfast.Store) -> None:
    before = disk_bytes(store)
    report = store.remove("r@4")
    assert 800_000 <= report.freed_bytes < 820_000
    assert before - disk_bytes(store) >= report.freed_bytes
    assert_intact(store, [1, 2, 3, 5, 6])


def test_removing_the_last_one_leaves_nothing_of_it(store: holdfast.Store) -> None:
    for step in range(1, 7):
        store.remove(f"r@{step}")
    keys = RunKeys("r")
    local = LocalStore(store.path)
    assert [i.key for prefix in (keys.packs, keys.parts) for i in local.list(prefix)] == []
    assert store.log("r") == []
    save(Path(store.path), 9)
    assert_intact(store, [9])


def test_tags_go_with_their_checkpoint(store: holdfast.Store) -> None:
    store.tag("r@2", "a")
    store.tag("r@2", "b")
    store.tag("r@3", "c")
    store.remove("r@a")
    with pytest.raises(NotFound):
        store.info("r@b")
    assert store.info("r@c").step == 3
    assert store.verify().ok


def test_what_is_not_there_cannot_be_removed(store: holdfast.Store) -> None:
    with pytest.raises(NotFound):
        store.remove("r@99")
    assert_intact(store, [1, 2, 3, 4, 5, 6])


def test_a_policy_is_carried_out(store: holdfast.Store) -> None:
    store.tag("r@1", "first")
    report = store.prune("r", keep.last(2) | keep.best("loss"))
    assert [i.step for i, _ in report.kept] == [1, 3, 5, 6]
    assert [i.step for i, _ in report.removed] == [2, 4]
    assert report.freed_bytes > 1_600_000 and not report.dry_run
    assert_intact(store, [1, 3, 5, 6])
    assert store.info("r@first").step == 1


def test_a_dry_run_tells_the_same_and_does_nothing(store: holdfast.Store) -> None:
    before = disk_bytes(store)
    dry = store.prune("r", keep.last(2), dry_run=True)
    assert disk_bytes(store) == before
    assert_intact(store, [1, 2, 3, 4, 5, 6])
    real = store.prune("r", keep.last(2))
    assert (dry.kept, dry.removed, dry.freed_bytes) == (real.kept, real.removed, real.freed_bytes)
    assert dry.dry_run and not real.dry_run


def test_nothing_to_remove(store: holdfast.Store) -> None:
    report = store.prune("r", keep.all())
    assert (report.removed, report.freed_bytes) == ([], 0)
    assert_intact(store, [1, 2, 3, 4, 5, 6])


def test_pruning_what_is_not_there(store: holdfast.Store) -> None:
    with pytest.raises(NotFound):
        store.prune("other", keep.last(1))


def test_policies_as_text_are_united() -> None:
    policy = retention.united(["last:2", "best:loss"])
    assert policy == keep.last(2) | keep.best("loss")
    for texts in ([], ["last:0"], ["nothing"]):
        with pytest.raises(UsageError, match=r"[Nn]othing was removed"):
            retention.united(texts)


# --- the sweep: in doubt everything stays ---


def objects(store: LocalStore) -> set[str]:
    keys = RunKeys("r")
    return {i.key for prefix in (keys.packs, keys.parts) for i in store.list(prefix)}


def test_what_nobody_names_is_swept(store: holdfast.Store) -> None:
    local, keys = LocalStore(store.path), RunKeys("r")
    before = objects(local)
    local.put(keys.pack("f" * 32, 0), bytes(5000))
    local.put(keys.part("f" * 32, 0), bytes(50))
    assert sweep.without_commit(local, "r") == ["f" * 32]
    assert {i.key for i in sweep.find_garbage(local, "r")} == objects(local) - before
    assert sweep.sweep(local, "r") == 5050
    assert objects(local) == before
    assert_intact(store, [1, 2, 3, 4, 5, 6])


def test_what_is_pinned_is_not_swept(store: holdfast.Store) -> None:
    local, keys = LocalStore(store.path), RunKeys("r")
    local.put(keys.pack("f" * 32, 0), bytes(5000))
    pins.put_pin(local, "r", pins.Pin("f" * 32, ()))
    assert sweep.find_garbage(local, "r") == []
    pins.delete_pin(local, "r", "f" * 32)
    assert len(sweep.find_garbage(local, "r")) == 1


def test_what_a_pinned_save_builds_on_is_not_swept(store: holdfast.Store) -> None:
    local = LocalStore(store.path)
    base = commits.read_commit(local, "r", 6)
    part_key = base.parts[0].key
    pins.put_pin(local, "r", pins.Pin("f" * 32, (part_key,)))
    for step in range(1, 7):
        store.remove(f"r@{step}")
    left = objects(local)
    assert part_key in left
    # The packs of step 6, and that of step 1, which it shares.
    owners = {checkpoint_of(key) for key in left}
    assert len(owners) == 2 and base.id in owners
    pins.delete_pin(local, "r", "f" * 32)
    sweep.sweep(local, "r")
    assert objects(local) == set()


@pytest.mark.parametrize("what", ["commit", "part", "missing part"])
def test_where_something_cannot_be_read_nothing_is_swept(
    store: holdfast.Store, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_names.forget()
    monkeypatch.setattr(sweep, "_spared", {})
    local, keys = LocalStore(store.path), RunKeys("r")
    part = commits.read_commit(local, "r", 3).parts[0].key
    local.put(keys.pack("f" * 32, 0), bytes(5000))
    if what == "commit":
        local.put(keys.commit(3), b"damaged")
    elif what == "part":
        local.put(part, local.get(part)[:-10])
    else:
        local.delete([part])
    before = objects(local)
    assert sweep.find_garbage(local, "r") == []
    assert sweep.sweep(local, "r") == 0
    report = store.prune("r", keep.last(4))
    assert next(i.step for i, _ in report.removed) == 1
    assert report.freed_bytes == 0
    assert objects(local) == before
    assert_same(holdfast.load(store, "r@6"), state(6))
    # What came after the damage was found cannot be needed by what is damaged.
    later = keys.pack("e" * 32, 0)
    local.put(later, bytes(5000))
    assert [info.key for info in sweep.find_garbage(local, "r")] == [later]


def test_runs_do_not_sweep_one_another(store: holdfast.Store) -> None:
    holdfast.save(store, state(1), run="other", step=1, rng=False)
    for step in range(1, 7):
        store.remove(f"r@{step}")
    assert_same(holdfast.load(store, "other@1"), state(1))


def test_the_next_writer_clears_away_what_a_dead_one_left(store: holdfast.Store) -> None:
    local, keys = LocalStore(store.path), RunKeys("r")
    local.put(keys.pack("f" * 32, 0), bytes(5000))
    pins.put_pin(local, "r", pins.Pin("f" * 32, ()))
    left = local.stage(keys.pack("f" * 32, 1), [bytes(10)])
    save(Path(store.path), 7)
    assert not any(checkpoint_of(key) == "f" * 32 for key in objects(local))
    assert pins.all_pins(local, "r") == []
    assert not list(Path(store.path).rglob(f"{TEMPORARY}*"))
    local.discard([left])
    assert_intact(store, [1, 2, 3, 4, 5, 6, 7])


def test_a_metric_that_no_checkpoint_has_is_refused(store_path: Path) -> None:
    for step in range(3):
        holdfast.save(store_path, {"n": step}, run="r", step=step, metrics={"val_loss": 1.0})
    store = holdfast.Store(store_path)
    with pytest.raises(UsageError, match="Metrics there: val_loss"):
        store.prune("r", keep.last(1) | keep.best("val_los"))
    assert len(store.log("r")) == 3


@pytest.mark.parametrize("policy", ["last:1", None, 3])
def test_what_is_no_policy_is_refused(store_path: Path, policy: object) -> None:
    holdfast.save(store_path, {"n": 1}, run="r", step=1)
    with pytest.raises(UsageError, match="keep takes a policy"):
        holdfast.Store(store_path).prune("r", policy)


def test_while_a_tag_cannot_be_read_nothing_that_it_may_name_goes(
    store: holdfast.Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.tag("r@2", "precious")
    path = Path(store.path) / RunKeys("r").tag("precious")
    path.write_bytes(path.read_bytes()[:-9])
    for dry_run in (True, False):
        report = store.prune("r", keep.last(1), dry_run=dry_run)
        assert not report.removed and report.freed_bytes == 0
        because = {info.step: reasons for info, reasons in report.kept}
        assert because[2] == ["may have the tag 'precious', which is damaged"]
    assert "'precious' cannot be read" in caplog.text
    assert [info.step for info in store.log("r")] == [1, 2, 3, 4, 5, 6]
    # What is asked for by name goes all the same, and a tag that is given anew is good again.
    store.remove("r@1")
    store.tag("r@2", "precious")
    store.prune("r", keep.last(1))
    assert_intact(store, [2, 6])

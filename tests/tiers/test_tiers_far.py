"""Far tiers: what is copied there, what retention spares for them, and trouble with them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiered import Places, assert_is_of, damage, new_state, steps, train, until

import holdfast
from faults.scenario import small_packs
from holdfast import Checkpointer, every, keep, tier
from holdfast.engine.tiers.draining import Draining, FarGiven
from holdfast.engine.tiers.mirror import Mirror
from holdfast.engine.tiers.throttle import Throttle
from holdfast.errors import ChunkDamaged, StoreUnavailable, UsageError
from holdfast.history.retention import apply_retention
from holdfast.records import commits, drains
from holdfast.records.drains import Drain
from holdfast.records.opening import open_store
from holdfast.security.authenticity import NOBODY
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.testing import Fault, FaultPlan, FaultyStore

FREE = Throttle(None)


def saved(path: Path, step: int, tag: str | None = None) -> None:
    """Save a checkpoint of several packs; most of it changes from step to step."""
    state = {
        **{f"w{i}": np.full(40_000, 100.0 * step + i) for i in range(6)},
        "frozen": np.arange(40_000.0),
    }
    with small_packs():
        holdfast.save(path, state, run="r", step=step, tag=tag, metrics={"loss": 1 / (step + 1)})


def record_of(store: ObjectStore, step: int) -> Any:
    (found,) = [record for record in commits.good_commits(store, "r") if record.step == step]
    return found


def mirror(places: Places, target: ObjectStore | None = None) -> Mirror:
    far = target if target is not None else open_store(places.far, create=True)
    return Mirror(LocalStore(places.home), far, "r", NOBODY, FREE)


# --- end to end ---


def test_far_gets_what_it_asks_for_and_what_is_saved_by_hand(places: Places) -> None:
    state = new_state()
    far = tier.far(places.far, save=every(steps=4), keep=keep.last(2))
    with Checkpointer(
        places.home, state, run="r", save=every(steps=3), keep=keep.last(1), tiers=[far]
    ) as ckpt:
        for step in range(9):
            train(state, step)
            if ckpt.step(step) is not None:
                ckpt.wait()
                until(lambda: not drains.noted(LocalStore(places.home), "r"), "the copy")
        train(state, 9)
        ckpt.save(9, tag="final")
    # It was waited for at the end: nothing is under way.
    assert steps(places.home) == [9]
    assert steps(places.far) == [8, 9]
    assert holdfast.Store(places.far).verify().ok
    (final,) = [i for i in holdfast.Store(places.far).log("r") if i.step == 9]
    assert final.tags == ("final",)
    assert final.id == holdfast.Store(places.home).info("r@final").id
    told = places.events("drained")
    assert [event["step"] for event in told] == [4, 8, 9]
    assert all(event["bytes"] > 0 and event["took_s"] > 0 for event in told)
    assert not places.events("drain-failed")

    # The disk is lost: the run goes on from far, and the next save's parent is what it was.
    shutil.rmtree(places.home)
    state = new_state()
    with Checkpointer(places.home, state, run="r", tiers=[far]) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (9, "far")
        assert_is_of(state, 9)
        train(state, 10)
        assert ckpt.save(10).wait().parent == final.id
    assert steps(places.far) == [9, 10]


def test_a_step_whose_commit_record_home_has_lost_is_taken_from_far(places: Places) -> None:
    state, far = new_state(), tier.far(places.far)
    with Checkpointer(places.home, state, run="r", tiers=[far]) as ckpt:
        for step in range(3):
            train(state, step)
            ckpt.save(step).wait()
            # Of several that wait to be copied, only the newest is.
            until(lambda: not drains.noted(LocalStore(places.home), "r"), "the copy")
    (places.home / "runs/r/commits/000000000002").unlink()
    state = new_state()
    with Checkpointer(places.home, state, run="r", tiers=[far]) as ckpt:
        restored = ckpt.restore(1)
        assert restored is not None and (restored.step, restored.tier) == (1, "far")
        assert_is_of(state, 1)


def test_a_far_store_that_is_down_stops_nothing_and_is_caught_up_with(
    places: Places, capfd: pytest.CaptureFixture[str]
) -> None:
    block = places.folder / "not-mounted"
    block.write_text("a file where a folder should be")
    there = block / "far"
    state = new_state()
    far = tier.far(there, save=every(steps=2))
    with Checkpointer(
        places.home, state, run="r", save=every(steps=1), keep=keep.last(1), tiers=[far]
    ) as ckpt:
        for step in range(6):
            train(state, step)
            handle = ckpt.step(step)
            assert handle is not None
            handle.wait()
        until(lambda: places.events("drain-failed"), "the failure to be told")
        ckpt.wait()
        # The newest that far asked for is spared by retention, and no other.
        until(lambda: steps(places.home) == [4, 5], "retention")
        block.unlink()
        until(lambda: steps(there) == [4], "the copy")
    assert len(places.events("drain-failed")) == 1
    told = capfd.readouterr().err
    assert told.count("do not come to the tier 'far'") == 1
    assert "can be written again" in told


def test_who_finds_nothing_near_and_cannot_ask_far_does_not_begin_anew(places: Places) -> None:
    block = places.folder / "not-mounted"
    block.write_text("a file where a folder should be")
    far = tier.far(block / "far", wait_s=0)
    with Checkpointer(places.home, {"w": 1}, run="r", tiers=[far]) as ckpt:
        with pytest.raises(StoreUnavailable, match="did not silently begin anew"):
            ckpt.restore()
        block.unlink()
        assert ckpt.restore() is None


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda p: [tier.far(p.home)], "is the store itself"),
        (lambda p: [tier.far(p.far), tier.far(p.base)], "need names"),
        (lambda p: [tier.far(p.far, name="home")], "another tier"),
        (lambda p: [tier.far(p.far, bandwidth="fast")], "bandwidth="),
        (lambda p: [tier.far(p.far, wait_s=float("inf"))], "finite"),
        (
            lambda p: [tier.far(holdfast.Store(p.far, keys=holdfast.keys.passphrase("a b c d")))],
            "belongs to an encrypted store",
        ),
    ],
)
def test_what_cannot_be_is_refused(places: Places, make: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Checkpointer(places.home, {"w": 1}, run="r", tiers=make(places))


# --- one copy ---


def test_what_is_there_is_not_sent_again(places: Places) -> None:
    saved(places.home, 1, tag="first")
    home = LocalStore(places.home)
    first = mirror(places).copy(record_of(home, 1))
    assert first.nbytes > 7 * 320_000
    assert mirror(places).copy(record_of(home, 1)).nbytes == 0
    saved(places.home, 2)
    second = mirror(places).copy(record_of(home, 2))
    # What is frozen lies in a pack of the first.
    assert 6 * 320_000 < second.nbytes < first.nbytes - 300_000
    assert steps(places.far) == [1, 2]
    assert holdfast.Store(places.far).info("r@first").step == 1
    assert holdfast.Store(places.far).verify().ok
    assert second.record.previous == first.record.link


def test_an_interrupted_copy_is_gone_on_with(places: Places) -> None:
    saved(places.home, 1)
    record = record_of(LocalStore(places.home), 1)
    far = open_store(places.far, create=True)
    # Each try sends one pack more.
    plan = FaultPlan((Fault("unavailable", "publish", at=1),))
    tries, sent = 0, None
    while sent is None:
        try:
            sent = mirror(places, FaultyStore(far, plan)).copy(record)
        except StoreUnavailable:
            tries += 1
            assert steps(places.far) == []
    n_packs = len(list((places.home / "runs" / "r" / "packs").iterdir()))
    assert tries == n_packs - 1 > 2
    assert sent.nbytes < record.stored_bytes / 2
    assert steps(places.far) == [1]
    assert holdfast.Store(places.far).verify().ok


@pytest.mark.parametrize("call", ["put", "put_new", "put_hint", "stage", "delete_hint", "list"])
def test_a_copy_that_fails_anywhere_leaves_nothing_half_done(places: Places, call: str) -> None:
    saved(places.home, 1)
    record = record_of(LocalStore(places.home), 1)
    far = open_store(places.far, create=True)
    for at in range(40):
        plan = FaultPlan((Fault("unavailable", call, at=at), Fault("lost-ack", "put_new")))
        try:
            mirror(places, FaultyStore(far, plan)).copy(record)
            break
        except StoreUnavailable:
            # What is not whole is never seen.
            assert steps(places.far) in ([], [1])
            assert holdfast.Store(places.far).verify().ok
    else:
        raise AssertionError("it never succeeded")
    assert steps(places.far) == [1]
    apply_retention(far, "r", keep.last(1), dry_run=False)
    assert holdfast.Store(places.far).verify().ok
    assert holdfast.Store(places.far).doctor().facts["unfinished"] == 0


def test_damage_is_not_copied(places: Places) -> None:
    saved(places.home, 1)
    damage(places.home, 1)
    with pytest.raises(ChunkDamaged, match="not copied to the other store"):
        mirror(places).copy(record_of(LocalStore(places.home), 1))
    assert steps(places.far) == []


# --- what waits ---


def draining(places: Places, told: list[tuple[str, dict[str, Any]]]) -> Draining:
    far = FarGiven("far", LocalStore(places.far), (), None, NOBODY)
    return Draining(
        LocalStore(places.home), "r", far, lambda event, **facts: told.append((event, facts))
    )


def test_the_newest_goes_and_what_is_damaged_is_given_up(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    home = LocalStore(places.home)
    told: list[tuple[str, dict[str, Any]]] = []
    for step in (1, 2, 3):
        saved(places.home, step)
        drains.note(home, "r", Drain("far", record_of(home, step).id))
    drains.note(home, "r", Drain("another", record_of(home, 1).id))
    # One that was noted, and never committed: its save may be under way.
    drains.note(home, "r", Drain("far", "0" * 32))
    report = apply_retention(home, "r", keep.last(1), dry_run=True)
    assert not report.removed
    assert ["still to be copied to another tier"] in [list(why) for _, why in report.kept]

    worker = draining(places, told)
    worker.begin()
    worker.end_when_idle()
    assert worker.wait(30)
    assert steps(places.far) == [3]
    assert [event for event, _ in told] == ["drained"]
    assert {d.tier for d in drains.noted(home, "r")} == {"another", "far"}
    assert [i.step for i, _ in apply_retention(home, "r", keep.last(1), dry_run=False).removed] == [
        2
    ]

    saved(places.home, 4)
    damage(places.home, 4)
    drains.note(home, "r", Drain("far", record_of(home, 4).id))
    worker = draining(places, told)
    with caplog.at_level(logging.WARNING):
        worker.begin()
        worker.end_when_idle()
        assert worker.wait(30)
    assert steps(places.far) == [3]
    assert "r@4 was not copied to the tier 'far', since it is damaged here" in caplog.text
    assert [event for event, _ in told] == ["drained", "drain-failed"]

"""The memory tier: what is saved there, what is restored from it, and what is refused."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiered import Places, assert_is_of, damage, new_state, steps, train

import holdfast
from absent import mounted
from holdfast import Checkpointer, every, keep, on, tier
from holdfast.errors import NoSpace, RunBusy, StoreUnavailable, UsageError
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.store.local import LocalStore
from holdfast.testing import Fault, FaultPlan, FaultyStore


def opened(places: Places, state: dict[str, Any], retain: KeepPolicy | None = None) -> Checkpointer:
    near = tier.memory(save=every(steps=2), keep=retain, folder=places.base)
    return Checkpointer(places.home, state, run="r", save=every(steps=5), tiers=[near])


def run_steps(ckpt: Checkpointer, state: dict[str, Any], last: int) -> None:
    for step in range(ckpt.next_step, last + 1):
        train(state, step)
        handle = ckpt.step(step)
        if handle is not None:
            handle.wait()


def test_steps_go_where_they_are_asked_for_and_the_newest_is_restored(places: Places) -> None:
    state = new_state()
    old = os.umask(0)
    try:
        with opened(places, state) as ckpt:
            assert ckpt.restore() is None
            run_steps(ckpt, state, 8)
    finally:
        os.umask(old)
    # A checkpoint that is asked for at home is in memory first, and memory keeps the newest.
    assert steps(places.home) == [5]
    assert steps(places.memory) == [8]
    for folder, _, names in os.walk(places.memory.parent):
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert all(os.stat(Path(folder, name)).st_mode & 0o777 == 0o600 for name in names)

    state = new_state()
    with opened(places, state) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (8, "memory")
        assert_is_of(state, 8)
        run_steps(ckpt, state, 9)
        train(state, 10)
        handle = ckpt.step(10)
        assert handle is not None
        # Durable at home when it is waited for, whatever becomes of memory.
        info = handle.wait()
        assert handle.tiers == ("home",)
        assert steps(places.home) == [5, 10]
    (near,) = holdfast.Store(places.memory).log("r")
    home = holdfast.Store(places.home).log("r")[-1]
    # The same checkpoint in both.
    assert near.id == home.id == info.id
    assert near.created == home.created
    # Its parent is the one that training went on from, though that is in no store any more.
    assert home.parent == restored.info.id
    assert home.resumed_from is not None
    assert home.resumed_from.step == 8
    assert holdfast.Store(places.home).verify().ok
    assert [event["tier"] for event in places.events("restored")] == ["memory"]
    told = [event["step"] for event in places.events("saved") if event.get("tier") == "memory"]
    assert told == [2, 4, 6, 8]


def test_a_damaged_copy_in_memory_is_stepped_over_for_the_next_nearest(
    places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        run_steps(ckpt, state, 5)
    damage(places.memory, 5)
    state = new_state()
    with caplog.at_level(logging.WARNING), opened(places, state) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        # The same checkpoint, at home.
        assert (restored.step, restored.tier) == (5, "home")
        assert_is_of(state, 5)
        assert len(restored.stepped_over) == 1
        assert "r@5 in the tier 'memory' is damaged" in restored.stepped_over[0]
        assert restored.stepped_over[0] in caplog.text
        run_steps(ckpt, state, 8)
        ckpt.wait()
        damage(places.memory, 8)
        older = ckpt.restore()
        assert older is not None
        assert (older.step, older.tier) == (5, "home")
        assert_is_of(state, 5)


def test_what_was_gone_back_to_counts_and_not_the_higher_step(places: Places) -> None:
    state = new_state()
    with opened(places, state, keep.last(2)) as ckpt:
        run_steps(ckpt, state, 10)
        assert ckpt.rollback(5).tier == "home"
        run_steps(ckpt, state, 6)
        assert steps(places.home) == [5, 10]
        assert steps(places.memory) == [10, 6]
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (6, "memory")
        # A ref is looked up at home first, and then in the others.
        for step, where in ((6, "memory"), (10, "home")):
            named = ckpt.restore(step)
            assert named is not None
            assert named.tier == where
        with pytest.raises(RunBusy):
            tier.forget(places.home, places.base)
    # Who begins a run anew in its store does not go on from what memory had of it.
    shutil.rmtree(places.home / "runs" / "r")
    with opened(places, new_state()) as ckpt:
        assert ckpt.restore() is None
        run_steps(ckpt, new_state(), 2)
    assert tier.forget(places.home, places.base) > 400_000
    assert not list(places.base.glob("holdfast-*/*"))
    assert tier.forget(places.home, places.base) == 0


def test_what_is_in_memory_comes_home_though_who_writes_is_killed_on_the_way(
    places: Places,
) -> None:
    # The first process that writes dies at its second commit at home; the next one begins anew.
    fault = Fault("kill-before", "put_new", keys="*/commits/*", at=1)
    home = FaultyStore(LocalStore(places.home), FaultPlan((fault,)))
    state = new_state()
    near = tier.memory(save=every(steps=2), folder=places.base)
    with Checkpointer(home, state, run="r", save=every(steps=5), tiers=[near]) as ckpt:
        run_steps(ckpt, state, 10)
    assert steps(places.home) == [5, 10]
    assert [i.step for i in holdfast.Store(places.home).log("r")] == [5, 10]
    assert holdfast.Store(places.home).verify().ok
    assert places.events("persister-restarted")


def test_memory_is_not_put_where_others_may_enter(places: Places) -> None:
    root = places.base / f"holdfast-{os.geteuid()}"
    root.mkdir()
    root.chmod(0o750)
    with pytest.raises(StoreUnavailable, match="not a folder of yours alone"):
        opened(places, new_state())
    root.chmod(0o700)
    moved = places.folder / "elsewhere"
    root.rename(moved)
    root.symlink_to(moved)
    with pytest.raises(StoreUnavailable, match="not a folder of yours alone"):
        opened(places, new_state())


def test_a_memory_that_is_too_small_is_told_and_home_is_saved_all_the_same(
    places: Places, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(places.folder / "small", "-t", "tmpfs", "-o", "size=1m", "none") as mount:
        near = tier.memory(save=every(steps=2), folder=mount)
        state = new_state(300_000)
        with (
            caplog.at_level(logging.ERROR),
            Checkpointer(places.home, state, run="r", save=every(steps=5), tiers=[near]) as ckpt,
        ):
            for step in range(6):
                train(state, step)
                handle = ckpt.step(step)
                ckpt.wait()
            assert handle is not None
            assert handle.wait().step == 5
            # Told once, and training goes on.
            assert caplog.text.count("--shm-size") == 1
            handle = ckpt.step(6)
            assert handle is not None
            with pytest.raises(NoSpace):
                handle.wait()
        assert steps(places.home) == [5]
        assert "saved there at once" in capfd.readouterr().err


def test_an_encrypted_store_has_an_encrypted_memory(places: Places) -> None:
    key = holdfast.keys.passphrase("a passphrase of several words")
    state = new_state()
    state["secret"] = "what nobody else shall read"

    def with_keys() -> Checkpointer:
        return Checkpointer(
            holdfast.Store(places.home, keys=key),
            state,
            run="r",
            tiers=[tier.memory(save=every(steps=2), folder=places.base), tier.far(places.far)],
        )

    with with_keys() as ckpt:
        run_steps(ckpt, state, 4)
        ckpt.save(5).wait()
    for root in (places.memory, places.far):
        assert root.exists()
        for path in root.rglob("*"):
            if path.is_file():
                assert b"what nobody" not in path.read_bytes()
        assert [i.step for i in holdfast.Store(root, keys=key).log("r")] == [5]
        assert holdfast.Store(root, keys=key).verify().ok
    with with_keys() as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (5, "memory")


@pytest.mark.parametrize(
    ("tiers", "what"),
    [
        ("memory", "takes a list"),
        ([1], "takes tier.memory"),
        ([tier.memory(), tier.memory()], "one tier.memory"),
        ([tier.memory(save=on.signal())], "goes by steps"),
        ([tier.memory(save=holdfast.adaptive())], "goes by steps"),
    ],
)
def test_what_cannot_be_is_refused(places: Places, tiers: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Checkpointer(places.home, {"w": 1}, run="r", tiers=tiers)

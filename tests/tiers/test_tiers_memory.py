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
from holdfast import Checkpointer, every, keep, on, tier
from holdfast.errors import NoSpace, StoreUnavailable, UsageError


def opened(places: Places, state: dict[str, Any], **more: Any) -> Checkpointer:
    near = tier.memory(save=every(steps=2), folder=places.base)
    return Checkpointer(places.home, state, run="r", save=every(steps=5), tiers=[near], **more)


def run_steps(ckpt: Checkpointer, state: dict[str, Any], last: int) -> None:
    for step in range(ckpt.next_step, last + 1):
        train(state, step)
        handle = ckpt.step(step)
        if handle is not None:
            handle.wait()


def test_steps_go_where_they_are_asked_for_and_the_newest_is_restored(places: Places) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        assert ckpt.restore() is None
        run_steps(ckpt, state, 8)
    # A checkpoint that is asked for at home is in memory first, and memory keeps the newest.
    assert steps(places.home) == [5]
    assert steps(places.memory) == [8]

    state = new_state()
    with opened(places, state) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (8, "memory")
        assert_is_of(state, 8)
        run_steps(ckpt, state, 10)
    home = holdfast.Store(places.home).log("r")
    assert [info.step for info in home] == [5, 10]
    # The parent is the one that training went on from, though it is in memory only.
    assert home[-1].parent == restored.info.id
    assert home[-1].resumed_from is not None
    assert home[-1].resumed_from.step == 8
    assert holdfast.Store(places.home).verify().ok
    assert [event["tier"] for event in places.events("restored")] == ["memory"]
    near = [event["step"] for event in places.events("saved") if event.get("tier") == "memory"]
    assert near == [2, 4, 6, 8]


def test_the_same_checkpoint_is_the_same_in_both(places: Places) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        run_steps(ckpt, state, 4)
        train(state, 5)
        handle = ckpt.step(5)
        assert handle is not None
        info = handle.wait()
        assert handle.tiers == ("home",)
        # Durable at home by now, whatever becomes of memory.
        assert steps(places.home) == [5]
    (near,) = holdfast.Store(places.memory).log("r")
    (home,) = holdfast.Store(places.home).log("r")
    assert near.id == home.id == info.id
    assert near.created == home.created


def test_a_damaged_copy_in_memory_is_stepped_over_for_the_one_at_home(
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
    assert (restored.step, restored.tier) == (5, "home")
    assert_is_of(state, 5)
    assert len(restored.stepped_over) == 1
    assert "r@5 in the tier 'memory' is damaged" in restored.stepped_over[0]
    assert restored.stepped_over[0] in caplog.text


def test_a_damaged_newest_one_in_memory_gives_way_to_an_older_one_at_home(
    places: Places,
) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        run_steps(ckpt, state, 8)
    damage(places.memory, 8)
    with opened(places, new_state()) as ckpt:
        restored = ckpt.restore()
    assert restored is not None
    assert (restored.step, restored.tier) == (5, "home")


def test_what_was_gone_back_to_counts_and_not_the_higher_step(places: Places) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        run_steps(ckpt, state, 10)
        assert ckpt.rollback(5).tier == "home"
        run_steps(ckpt, state, 6)
    assert steps(places.home) == [5, 10]
    with opened(places, state) as ckpt:
        restored = ckpt.restore()
        assert restored is not None
        assert (restored.step, restored.tier) == (6, "memory")
        # A ref is looked up at home first, and then in the others.
        named = ckpt.restore(6)
        assert named is not None
        assert named.tier == "memory"
        named = ckpt.restore(10)
        assert named is not None
        assert named.tier == "home"


def test_a_run_that_is_new_at_home_does_not_go_on_from_what_memory_had(places: Places) -> None:
    state = new_state()
    with opened(places, state) as ckpt:
        run_steps(ckpt, state, 3)
    shutil.rmtree(places.home / "runs" / "r")
    with opened(places, new_state()) as ckpt:
        assert ckpt.restore() is None
    shutil.rmtree(places.home)
    with opened(places, new_state()) as ckpt:
        assert ckpt.restore() is None


def test_memory_is_private_and_not_put_where_others_may_enter(places: Places) -> None:
    state = new_state()
    old = os.umask(0)
    try:
        with opened(places, state) as ckpt:
            run_steps(ckpt, state, 2)
    finally:
        os.umask(old)
    root = places.memory.parent
    for folder, below, names in os.walk(root):
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert all(os.stat(Path(folder, name)).st_mode & 0o777 == 0o600 for name in names), below
    root.chmod(0o750)
    with pytest.raises(StoreUnavailable, match="not a folder of yours alone"):
        opened(places, state)
    root.chmod(0o700)
    moved = places.folder / "elsewhere"
    root.rename(moved)
    root.symlink_to(moved)
    with pytest.raises(StoreUnavailable, match="not a folder of yours alone"):
        opened(places, state)


def test_a_memory_that_is_too_small_is_told_and_home_is_saved_all_the_same(
    places: Places, capfd: pytest.CaptureFixture[str]
) -> None:
    from faults.disks import memory_disk

    try:
        disk = memory_disk(places.folder / "small", 1 << 20)
        mount = disk.__enter__()
    except Exception as error:
        pytest.skip(f"no file system may be mounted here: {error}")
    try:
        near = tier.memory(save=every(steps=2), folder=mount)
        state = new_state(300_000)
        with Checkpointer(
            places.home, state, run="r", save=every(steps=5), tiers=[near], on_error="warn"
        ) as ckpt:
            for step in range(6):
                train(state, step)
                handle = ckpt.step(step)
                if step in (2, 4):
                    assert handle is not None
                    with pytest.raises(NoSpace, match="--shm-size"):
                        handle.wait()
            assert handle is not None
            assert handle.wait().step == 5
        assert steps(places.home) == [5]
        assert "saved there at once" in capfd.readouterr().err
    finally:
        disk.__exit__(None, None, None)


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


def test_memory_keeps_more_if_it_is_asked_to(places: Places) -> None:
    state = new_state()
    near = tier.memory(save=every(steps=1), keep=keep.last(3), folder=places.base)
    with Checkpointer(places.home, state, run="r", tiers=[near]) as ckpt:
        run_steps(ckpt, state, 6)
    assert steps(places.memory) == [4, 5, 6]
    assert steps(places.home) == []

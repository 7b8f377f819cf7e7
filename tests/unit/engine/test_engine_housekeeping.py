"""Retention in the background: nobody waits for it, it is told of, and it makes room."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast import Checkpointer, every, keep
from holdfast.engine import housekeeping
from holdfast.engine.chronicle import Chronicle
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.housekeeping import Housekeeping
from holdfast.engine.wall_clock import WallClock
from holdfast.records import commits, journal, pins
from holdfast.store.local import LocalStore


def events(path: Path, *kinds: str) -> list[dict[str, Any]]:
    return [e for e in journal.events(LocalStore(str(path)), "r") if e["event"] in kinds]


def steps(path: Path) -> list[int]:
    return [info.step for info in holdfast.Store(path).log("r")]


def test_a_run_is_kept_tidy_and_says_what_it_freed(store_path: Path) -> None:
    state = {"w": np.zeros(50_000)}
    policy = keep.last(2) | keep.every(epochs=1)
    with Checkpointer(store_path, state, run="r", save=every(steps=1), keep=policy) as ckpt:
        for step in range(9):
            state["w"] += 1
            handle = ckpt.step(step, {"loss": float(step)}, epoch=step / 4)
            assert handle is not None
            handle.wait()
    assert steps(store_path) == [0, 4, 7, 8]
    assert [info.epoch for info in holdfast.Store(store_path).log("r")] == [0, 1, 1.75, 2]
    assert sorted(e["step"] for e in events(store_path, "pruned")) == [1, 2, 3, 5, 6]
    freed = events(store_path, "freed")
    assert sum(e["checkpoints"] for e in freed) == 5
    assert sum(e["bytes"] for e in freed) > 5 * 400_000
    given_back = holdfast.Store(store_path).given_back("r")
    assert given_back.n_checkpoints == 5
    assert given_back.nbytes == sum(e["bytes"] for e in freed)
    assert holdfast.Store(store_path).verify().ok


def test_a_metric_that_is_never_logged_keeps_all_and_is_told(store_path: Path) -> None:
    with Checkpointer(
        store_path, {"w": 1}, run="r", save=every(steps=1), keep=keep.best("val_los")
    ) as ckpt:
        for step in range(4):
            ckpt.step(step, {"val_loss": 1.0})
    assert steps(store_path) == [0, 1, 2, 3]


class Held:
    """A store whose deletions wait until they are let go, and that tells how full it is."""

    def __init__(self, path: Path, free_bytes: int | None) -> None:
        self._inner = LocalStore(str(path))
        self._free_bytes = free_bytes
        self.is_deleting, self.may_delete = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def free_bytes(self) -> int | None:
        return self._free_bytes

    def delete(self, keys: Any) -> None:
        self.is_deleting.set()
        assert self.may_delete.wait(60)
        self._inner.delete(keys)


def tidying(path: Path, free_bytes: int | None = None) -> tuple[Held, Housekeeping]:
    for step in range(3):
        holdfast.save(path, {"w": np.full(1000, step)}, run="r", step=step, rng=False)
    store: Any = Held(path, free_bytes)
    chronicle = Chronicle(store, "r", "a" * 32, Heartbeat.create())
    return store, Housekeeping(store, "r", ["last:1"], chronicle)


def held_up(house: Housekeeping) -> threading.Thread:
    """A save that waits for room, as it has to."""
    waiting = threading.Thread(target=house.make_room, args=(10**6,))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    return waiting


def test_a_save_does_not_wait_for_a_removal(store_path: Path) -> None:
    store, house = tidying(store_path, free_bytes=10**12)
    house.tidy(None)
    assert store.is_deleting.wait(60)
    house.make_room(10**6)  # Returns though the removal is held.
    # That save, too, wants to be tidied up after; the next one waits until the first is.
    house.tidy(None)
    waiting = held_up(house)
    store.may_delete.set()
    waiting.join(60)
    assert not waiting.is_alive()
    house.close()
    assert steps(store_path) == [2]


def test_a_save_waits_until_the_removal_after_the_one_before_it_has_begun(store_path: Path) -> None:
    store, house = tidying(store_path, free_bytes=10**12)
    store.may_delete.set()
    # Held, so that the thread cannot take up what it is asked for; waiting lets it go.
    with house._changed:
        house.tidy(None)
        house.make_room(10**6)
        assert house._wanted is None
    house.close()
    assert steps(store_path) == [2]


def test_a_save_waits_for_a_removal_whose_room_it_may_need(store_path: Path) -> None:
    store, house = tidying(store_path, free_bytes=10**6)
    house.tidy(None)
    assert store.is_deleting.wait(60)
    waiting = held_up(house)
    store.may_delete.set()
    waiting.join(60)
    assert not waiting.is_alive() and steps(store_path) == [2]
    house.close()


def test_the_end_waits_for_what_is_under_way_and_for_what_is_due(store_path: Path) -> None:
    store, house = tidying(store_path)
    house.tidy(None)
    assert store.is_deleting.wait(60)
    holdfast.save(store_path, {"w": np.full(1000, 3)}, run="r", step=3, rng=False)
    house.tidy(None)
    closing = threading.Thread(target=house.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    store.may_delete.set()
    closing.join(60)
    assert not closing.is_alive() and steps(store_path) == [3]


def test_what_a_save_under_way_had_pinned_goes_the_next_time(store_path: Path) -> None:
    store, house = tidying(store_path)
    store.may_delete.set()
    pinned = commits.good_commits(store, "r")[1]
    pin = pins.Pin("f" * 32, tuple(ref.key for ref in pinned.parts))
    pins.put_pin(store, "r", pin)
    house.tidy(None)
    house.wait()
    assert steps(store_path) == [2]
    assert len(list(store.list("runs/r/packs/"))) == 2
    pins.delete_pin(store, "r", pin.checkpoint_id)
    # Nothing is to be removed any more, but that is left.
    house.tidy(None)
    house.close()
    assert len(list(store.list("runs/r/packs/"))) == len(list(store.list("runs/r/parts/"))) == 1
    freed = events(store_path, "freed")
    assert [e["checkpoints"] for e in freed] == [2, 0]
    assert all(e["bytes"] > 8000 for e in freed)


def test_what_fails_is_told_and_the_next_time_it_works(
    store_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, house = tidying(store_path)
    store.may_delete.set()

    def fails(*args: Any, **options: Any) -> Any:
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(housekeeping, "apply_retention", fails)
        house.tidy(None)
        house.wait()
    assert "were not removed" in caplog.text and steps(store_path) == [0, 1, 2]
    house.tidy("b" * 32)
    house.wait()
    assert steps(store_path) == [0, 1, 2], "another process's stay"
    house.tidy(None)
    house.close()
    assert steps(store_path) == [2]


def test_doubts_are_told_once(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holdfast.save(store_path, {"w": 1}, run="r", step=1)
    store = LocalStore(str(store_path))
    chronicle = Chronicle(store, "r", "a" * 32, Heartbeat.create())
    house = Housekeeping(store, "r", ["best:val_los:1:min", "budget:1"], chronicle)
    for _ in range(3):
        house.tidy(None)
        house.wait()
    house.close()
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(told) == 2
    assert any("no checkpoint has a finite val_los" in text for text in told)
    assert any("over its budget" in text for text in told)


def test_a_clock_that_is_set_forward_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    clock, real = WallClock(), time.time
    assert clock.ahead_s() == 0
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert 3590 < clock.ahead_s() < 3610
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert clock.ahead_s() == 0

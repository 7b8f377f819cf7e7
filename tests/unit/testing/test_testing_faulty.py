"""The faulty store: each kind of fault does what it says, no more, and can be repeated."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import ChunkDamaged, ChunkMissing, NoSpace, StoreUnavailable
from holdfast.store import recipe as recipes
from holdfast.store.local import LocalStore
from holdfast.testing import Fault, FaultyStore, MemoryStore, plan_of
from holdfast.testing.children import in_child

KEY = "runs/r/x"


def faulty(*faults: Fault) -> FaultyStore:
    return FaultyStore(MemoryStore(), plan_of(*faults))


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("no-space", NoSpace, errno.ENOSPC),
        ("unavailable", StoreUnavailable, errno.ENETDOWN),
        ("io-error", StoreUnavailable, errno.EIO),
    ],
)
def test_an_error_has_no_effect(kind: str, error: type[Exception], code: int) -> None:
    store = faulty(Fault(kind, on="put", at=1))  # type: ignore[arg-type]
    store.put(KEY, b"one")
    with pytest.raises(error, match=f"Fault\\('{kind}', on='put', at=1\\)") as caught:
        store.put(KEY, b"two")
    assert caught.value.errno == code  # type: ignore[attr-defined]
    assert store.get(KEY) == b"one"
    store.put(KEY, b"three")
    assert store.get(KEY) == b"three"
    assert store.calls["put"] == 3
    assert store.struck == [f"Fault('{kind}', on='put', at=1) at call 1 of put {KEY}"]


def test_a_lost_acknowledgement_has_its_effect() -> None:
    store = faulty(Fault("lost-ack", on="put_new"))
    with pytest.raises(StoreUnavailable):
        store.put_new(KEY, b"one")
    assert store.inner.get(KEY) == b"one"
    assert store.put_new(KEY, b"two") is False


def test_half_of_what_is_torn_is_visible() -> None:
    store = faulty(*(Fault("torn", on=call) for call in ("put", "publish", "delete")))
    with pytest.raises(StoreUnavailable):
        store.put(KEY, b"12345678")
    assert store.get(KEY) == b"1234"
    with pytest.raises(StoreUnavailable):
        store.publish([store.stage(f"runs/{i}", [b"12345678"]) for i in range(4)])
    found = {i: store.inner.get(f"runs/{i}") for i in range(4) if store.exists(f"runs/{i}")}
    assert found == {0: b"12345678", 1: b"12345678", 2: b"1234"}
    with pytest.raises(StoreUnavailable):
        store.delete(["runs/0", "runs/1"])
    assert [info.key for info in store.list("runs/")] == ["runs/1", "runs/2", KEY]


def test_what_is_short_says_nothing() -> None:
    store = faulty(*(Fault("short", on=call) for call in ("put", "stage", "get", "open")))
    store.put(KEY, b"12345678")
    assert store.inner.get(KEY) == b"1234"
    assert store.get(KEY) == b"12"
    assert store.stage(KEY, [b"1234", b"5678"]).size == 4
    reader = store.open(KEY)
    assert reader.size == 2
    with pytest.raises(ChunkDamaged):
        reader.read(memoryview(bytearray(4)), 0)


def test_what_is_late_is_seen_after_some_calls() -> None:
    store = faulty(
        Fault("late", on="put", times=None, calls=4), Fault("late", on="delete", calls=3)
    )
    store.put(KEY, b"one")
    assert not store.exists(KEY)
    assert list(store.list("runs/")) == []
    assert store.folders("runs/") == []
    assert store.get(KEY) == b"one"
    store.put(KEY, b"other")
    assert store.get(KEY) == b"one"
    assert [info.size for info in store.list("runs/")] == [3]
    store.settle()
    assert store.get(KEY) == b"other"
    store.delete([KEY])
    assert store.get(KEY) == b"other"
    assert store.folders("runs/") == ["r"]
    with pytest.raises(ChunkMissing):
        store.get(KEY)


def test_what_is_late_shows_in_whatever_order() -> None:
    store = faulty(
        Fault("late", on="put", keys="*a", calls=5), Fault("late", on="put", keys="*b", calls=1)
    )
    store.put("runs/a", b"first")
    store.put("runs/b", b"second")
    assert [info.key for info in store.list("runs/")] == ["runs/b"]
    for _ in range(3):
        store.exists("runs/a")
    assert [info.key for info in store.list("runs/")] == ["runs/a", "runs/b"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_is_killed_at_an_effect(tmp_path: Path, when: str) -> None:
    plan = plan_of(Fault(f"kill-{when}", on="put", at=1))  # type: ignore[arg-type]

    def work() -> None:
        store = FaultyStore(LocalStore(tmp_path / "store"), plan)
        for i in range(3):
            store.put(f"runs/{i}", b"x")

    status, told = in_child(work, tmp_path / "told")
    assert status == -9, told
    there = [info.key for info in LocalStore(tmp_path / "store").list("runs/")]
    assert there == ["runs/0", "runs/1"][: 1 if when == "before" else 2]


def test_another_process_opens_it_with_its_plan(tmp_path: Path) -> None:
    plan = plan_of(Fault("no-space", on="put", at=1))
    store = FaultyStore(LocalStore(tmp_path), plan)
    message = json.loads(json.dumps(recipes.to_message(store.recipe())))
    again = recipes.reopen(message)
    assert isinstance(again, FaultyStore)
    assert (again.plan, again.location) == (plan, os.fspath(tmp_path))


def test_a_persister_meets_the_faults_of_the_plan(tmp_path: Path) -> None:
    import numpy as np

    plan = plan_of(Fault("no-space", on="publish", at=1))
    state = {"w": np.arange(1000.0)}
    store = FaultyStore(LocalStore(tmp_path), plan)
    with holdfast.Checkpointer(store, state, run="r", on_error="warn") as ckpt:
        assert ckpt.restore() is None
        ckpt.save(1).wait()
        with pytest.raises(NoSpace, match="Injected"):
            ckpt.save(2).wait()
        ckpt.save(3).wait()
    assert [info.step for info in holdfast.Store(tmp_path).log("r")] == [1, 3]
    assert holdfast.Store(tmp_path).verify().ok

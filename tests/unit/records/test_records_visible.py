"""What has to be visible is waited for, and told where it never is."""

from __future__ import annotations

import pytest

from holdfast.errors import StoreUnavailable
from holdfast.records import visible
from holdfast.testing import Fault, FaultyStore, MemoryStore, plan_of

KEY = "runs/r/x"


def written(*faults: Fault) -> FaultyStore:
    store = FaultyStore(MemoryStore(), plan_of(*faults))
    store.put(KEY, b"x")
    return store


def test_it_is_waited_for_what_is_seen_late() -> None:
    store = written(Fault("late", on="put", calls=7))
    visible.wait_until_seen(store, KEY)
    assert store.calls["exists"] == 7
    assert store.exists(KEY)


def test_what_is_never_seen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "PATIENCE_S", 0.02)
    store = written(Fault("late", on="put", calls=10**9))
    with pytest.raises(StoreUnavailable, match="does not show it"):
        visible.wait_until_seen(store, KEY)


def test_a_store_that_cannot_be_asked_is_believed() -> None:
    store = written(Fault("unavailable", on="exists", times=None))
    visible.wait_until_seen(store, KEY)
    assert store.calls["exists"] == 1

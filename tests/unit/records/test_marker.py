"""The marker of a store that several open at the same moment."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.records import marker
from holdfast.store.contract import ObjectStore
from holdfast.store.local import LocalStore
from holdfast.testing import Fault, FaultyStore, plan_of


def test_who_made_the_store_meanwhile_has_named_it(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_ever, ids = marker.check, list[str | None]()

    def check(store: ObjectStore) -> marker.Made:
        monkeypatch.setattr(marker, "check", as_ever)
        try:
            return as_ever(store)
        finally:
            holdfast.save(store_path, {"n": 1}, run="first", step=1)
            ids.append(marker.store_id(store))

    monkeypatch.setattr(marker, "check", check)
    holdfast.save(store_path, {"n": 2}, run="second", step=1)
    assert ids[0] is not None and marker.store_id(LocalStore(store_path)) == ids[0]
    assert holdfast.Store(store_path).runs() == ["first", "second"]


@pytest.mark.parametrize("fate", ["lost", "damaged"])
def test_a_marker_that_somebody_else_has_renewed_is_good(store_path: Path, fate: str) -> None:
    holdfast.save(store_path, {"n": 1}, run="r", step=1)
    if fate == "lost":
        (store_path / "holdfast.json").unlink()
    else:
        (store_path / "holdfast.json").write_bytes(b"{")
    # It is there when the error comes.
    plan = plan_of(Fault("lost-ack", on="put", keys="holdfast.json"))
    holdfast.save(FaultyStore(LocalStore(store_path), plan), {"n": 2}, run="r", step=2)
    assert marker.problems(LocalStore(store_path)) == []
    assert [info.step for info in holdfast.Store(store_path).log("r")] == [1, 2]


def test_a_marker_that_cannot_be_renewed_is_told(store_path: Path) -> None:
    holdfast.save(store_path, {"n": 1}, run="r", step=1)
    (store_path / "holdfast.json").unlink()
    plan = plan_of(Fault("unavailable", on="put", keys="holdfast.json"))
    with pytest.raises(holdfast.errors.StoreUnavailable):
        holdfast.save(FaultyStore(LocalStore(store_path), plan), {"n": 2}, run="r", step=2)
    assert [info.step for info in holdfast.Store(store_path).log("r")] == [1]

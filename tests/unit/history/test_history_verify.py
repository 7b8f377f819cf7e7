"""Verification, health and leaves: what a store can say of itself."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.errors import NotFound
from holdfast.format.names import MARKER_KEY, RunKeys
from holdfast.records import commits
from holdfast.store.local import LocalStore

FROZEN = np.random.default_rng(0).random(100_000)
KEYS = RunKeys("r")


class Colour(enum.Enum):
    RED = 1


def save(path: Path, step: int, run: str = "r", **options: Any) -> None:
    state = {"model": {"frozen": FROZEN, "w": np.full(100_000, float(step))}, "n": step}
    holdfast.save(path, state, run=run, step=step, rng=False, **options)


@pytest.fixture
def store(store_path: Path) -> holdfast.Store:
    for step in (1, 2, 3):
        save(store_path, step)
    save(store_path, 1, run="other")
    return holdfast.Store(store_path)


def local(store: holdfast.Store) -> LocalStore:
    return LocalStore(store.path)


def flip(store: holdfast.Store, key: str, at: int) -> None:
    data = bytearray(local(store).get(key))
    data[at] ^= 1
    local(store).put(key, data)


def packs(store: holdfast.Store, run: str, step: int) -> list[str]:
    record = next(c for c in commits.good_commits(local(store), run) if c.step == step)
    part = commits.read_part(local(store), record, record.parts[0])
    return [pack.key for pack in part.packs]


def test_a_good_store(store: holdfast.Store) -> None:
    seen: list[tuple[int, int]] = []
    report = store.verify(progress=lambda done, total: seen.append((done, total)))
    assert report.ok and report.problems == ()
    assert [c.ref for c in report.checkpoints] == ["other@1", "r@1", "r@2", "r@3"]
    # Every chunk is read once: the frozen ones once for each run.
    assert report.checked_bytes == 2 * FROZEN.nbytes + 4 * 800_000
    assert seen[-1] == (report.checked_bytes, report.checked_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_one_checkpoint_or_one_run(store: holdfast.Store) -> None:
    report = store.verify("r@2")
    assert [c.ref for c in report.checkpoints] == ["r@2"]
    assert report.checked_bytes == FROZEN.nbytes + 800_000
    assert [c.ref for c in store.verify("r").checkpoints] == ["r@1", "r@2", "r@3"]
    for ref in ("none", "r@9", "none@1"):
        with pytest.raises(NotFound):
            store.verify(ref)


def test_damage_to_what_one_checkpoint_has_alone(store: holdfast.Store) -> None:
    flip(store, packs(store, "r", 2)[-1], 100)
    report = store.verify()
    assert not report.ok
    assert [c.ref for c in report.checkpoints if not c.ok] == ["r@2"]
    [problem] = next(c for c in report.checkpoints if not c.ok).problems
    assert "model/w" in problem and "damaged" in problem


def test_damage_to_what_several_share_is_told_of_each(store: holdfast.Store) -> None:
    flip(store, packs(store, "r", 1)[0], 100)
    assert [c.ref for c in store.verify().checkpoints if not c.ok] == ["r@1", "r@2", "r@3"]


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_pack_that_is_cut_or_gone(store: holdfast.Store, how: str) -> None:
    [*_, key] = packs(store, "r", 3)
    if how == "cut":
        local(store).put(key, local(store).get(key)[:-5000])
    else:
        local(store).delete([key])
    report = store.verify()
    assert [c.ref for c in report.checkpoints if not c.ok] == ["r@3"]


def test_every_bit_of_a_small_store_matters_or_cannot(store_path: Path) -> None:
    """A flipped bit is found, or what is loaded is the same: never a silent difference."""
    state = {"a": np.arange(50, dtype="u1"), "b": "text", "n": 5, "t": (1, [2.5])}
    holdfast.save(store_path, state, run="r", step=1, rng=False, tag="v")
    store = holdfast.Store(store_path)
    harmless = found = 0
    files = [i for i in local(store).list("") if not i.key.endswith((".jsonl", ".lock"))]
    for info in files:
        good = local(store).get(info.key)
        step = max(1, len(good) // 60)
        for at in range(0, len(good), step):
            flip(store, info.key, at)
            try:
                loaded = holdfast.load(store, "r@1")
            except holdfast.errors.DataError:
                found += 1
            else:
                harmless += 1
                assert (loaded["a"] == state["a"]).all()
                assert {k: v for k, v in loaded.items() if k != "a"} == {
                    k: v for k, v in state.items() if k != "a"
                }
            local(store).put(info.key, good)
    assert found > 100 and harmless > 10
    assert store.verify().ok


def test_a_damaged_manifest_or_commit(store: holdfast.Store) -> None:
    part = commits.read_commit(local(store), "r", 1).parts[0].key
    flip(store, part, 50)
    flip(store, KEYS.commit(3), 50)
    bad = {c.ref: c.problems for c in store.verify().checkpoints if not c.ok}
    assert set(bad) == {"r@1", f"r, commit 3 ({KEYS.commit(3)})"}
    assert all(len(problems) == 1 for problems in bad.values())


def test_trouble_that_concerns_no_single_checkpoint(store: holdfast.Store) -> None:
    store.tag("r@1", "good")
    store.tag("r@2", "dangling")
    store.tag("r@3", "damaged")
    flip(store, KEYS.tag("damaged"), 30)
    local(store).delete([KEYS.commit(2)])
    report = store.verify()
    assert all(c.ok for c in report.checkpoints)
    assert not report.ok
    text = "\n".join(report.problems)
    assert "'dangling'" in text and "'damaged'" in text and "'good'" not in text


def test_a_damaged_marker_is_told_by_whatever_looks(store: holdfast.Store) -> None:
    flip(store, MARKER_KEY, 30)
    report = store.verify()
    assert not report.ok and "marker" in report.problems[0]
    assert all(check.ok for check in report.checkpoints)


# --- health ---


def test_the_health_of_a_good_store(store: holdfast.Store) -> None:
    report = store.doctor()
    assert report.problems == ()
    facts = report.facts
    assert (facts["runs"], facts["checkpoints"], facts["unfinished"]) == (2, 4, 0)
    assert facts["unneeded_bytes"] == 0
    assert facts["state_bytes"] == 4 * (FROZEN.nbytes + 800_000)
    assert 2 * FROZEN.nbytes + 4 * 800_000 <= facts["stored_bytes"] < 4_900_000  # type: ignore[operator]


def test_the_health_of_a_store_in_trouble(store: holdfast.Store) -> None:
    local(store).put(KEYS.pack("f" * 32, 0), bytes(5000))
    assert store.doctor().facts["unneeded_bytes"] == 5000
    assert store.doctor().facts["unfinished"] == 1
    local(store).delete([packs(store, "r", 2)[-1]])
    flip(store, KEYS.commit(3), 50)
    flip(store, commits.read_commit(local(store), "other", 1).parts[0].key, 9)
    store.tag("r@1", "t")
    flip(store, KEYS.tag("t"), 9)
    assert len(store.doctor().problems) == 4


# --- leaves ---


def test_leaves_are_told_without_reading_a_chunk(store_path: Path) -> None:
    shared = np.arange(6.0).reshape(2, 3)
    state = {
        "a": shared,
        "b": [shared, 5, 2**70, None, True, 0.5, "text", b"\x00"],
        "c": Colour.RED,
        "s": np.float32(2),
        "long": "x" * 5000,
        "e": np.zeros((0, 2), "f4"),
    }
    holdfast.save(store_path, state, run="r", step=1, rng=False)
    store = holdfast.Store(store_path)
    for key in packs(store, "r", 1):
        local(store).delete([key])
    found = {leaf.path: leaf for leaf in store.leaves("r@1")}
    assert list(found) == ["a", *(f"b/{i}" for i in range(8)), "c", "s", "long", "e"]
    a = found["a"]
    assert (a.kind, a.dtype, a.shape, a.nbytes, a.alias_of) == (
        "array",
        "float64",
        (2, 3),
        48,
        None,
    )
    assert (found["b/0"].alias_of, found["b/0"].nbytes, found["b/0"].shape) == ("a", 0, (2, 3))
    kinds = [found[f"b/{i}"].kind for i in range(1, 8)]
    assert kinds == ["int", "int", "none", "bool", "float", "str", "bytes"]
    values = [found[f"b/{i}"].value for i in range(1, 8)]
    assert values == state["b"][1:]  # type: ignore[index]
    assert found["c"].value == Colour.RED
    assert (found["e"].shape, found["e"].nbytes) == ((0, 2), 0)


def test_a_class_that_is_not_loaded_does_not_hide_the_leaves(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdfast.save(store_path, {"c": Colour.RED}, run="r", step=1, rng=False)
    monkeypatch.delitem(globals(), "Colour")
    [leaf] = holdfast.Store(store_path).leaves("r@1")
    assert leaf.kind == "enum" and str(leaf.value).endswith(":Colour.RED")


def test_an_integer_that_cannot_be_written_in_time_is_told_of(store_path: Path) -> None:
    large, other = 1 << 10_000_000, (1 << 10_000_000) + 1
    for step, value in enumerate((large, other, large)):
        holdfast.save(store_path, {"n": value, "m": 10**5000}, run="r", step=step, rng=False)
    store = holdfast.Store(store_path)
    told, small = store.leaves("r@0")
    assert told.kind == "int" and "an integer of 10,000,001 bits" in repr(told)
    assert small.value == 10**5000
    assert [change.path for change in store.diff("r@0", "r@1").values] == ["n"]
    assert store.diff("r@0", "r@2").is_same_state
    assert holdfast.load(store, "r@1")["n"] == other

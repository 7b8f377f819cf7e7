"""The writer of a run: what is written, what is referred to, and when it may not be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from holdfast import Checkpointer
from holdfast.engine import job as jobs
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.new_job import encode_plan
from holdfast.engine.run_writer import RunWriter
from holdfast.engine.stream import StreamSource
from holdfast.engine.unfinished import Saved
from holdfast.errors import NoSpace, RunBusy, StoreUnavailable
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.plan.layout import plan_layout
from holdfast.records import commits, pins
from holdfast.records.opening import open_store
from holdfast.state.flatten import flatten
from holdfast.store.local import TEMPORARY, LocalStore

FROZEN = np.random.default_rng(0).random(450_000)
KEYS = RunKeys("r")


def state(seed: int) -> dict[str, Any]:
    return {"frozen": FROZEN, "live": np.random.default_rng(seed).random(50_000), "n": seed}


class Writing:
    """A writer that stays open, as the persister's does."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(path, create=True)
        self.writer = RunWriter(self.store, "r")
        self.writer.open(os.getpid())

    def save(self, tree: dict[str, Any], step: int, tag: str | None = None) -> Saved:
        flat = flatten(tree)
        layout = plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)
        checkpoint_id = jobs.new_id()
        job = jobs.SaveJob(
            id=checkpoint_id,
            step=step,
            layout=layout,
            plan=encode_plan(flat, layout, "r", step, checkpoint_id),
            state_bytes=flat.nbytes,
            n_leaves=flat.n_leaves,
            tag=tag,
        )
        return self.writer.save(job, StreamSource(layout, leaf_filler(flat.leaves, layout)))


@pytest.fixture
def writing(store_path: Path) -> Iterator[Writing]:
    made = Writing(store_path)
    yield made
    made.writer.close()


def pack_bytes(store: LocalStore) -> int:
    return sum(info.size for info in store.list(KEYS.packs))


def check(path: Path, step: int, tree: dict[str, Any]) -> None:
    assert_same(holdfast.load(path, f"r@{step}", verify="full"), tree)


# --- what is written ---


def test_what_is_frozen_is_looked_at_now_and_then(writing: Writing, store_path: Path) -> None:
    """Damage of it on the disk does not spoil every checkpoint to come."""
    first = writing.save(state(1), 1)
    writing.save(state(2), 2)
    frozen = first.places[0]
    path = Path(writing.store.path(frozen.pack_key))
    data = bytearray(path.read_bytes())
    data[frozen.offset + 100] ^= 1
    path.write_bytes(data)
    n_packs = len({place.pack_key for place in first.places})
    for step in range(3, 4 + n_packs):
        writing.save(state(step), step)
    check(store_path, 3 + n_packs, state(3 + n_packs))
    report = holdfast.Store(store_path).verify()
    assert [c.ok for c in report.checkpoints][:2] == [False, False]
    assert report.checkpoints[-1].ok


@pytest.mark.parametrize("how", ["removed", "cut short"])
@pytest.mark.parametrize("n_saves", [1, 3])
def test_a_pack_that_somebody_took_away_is_written_again(
    store_path: Path, how: str, n_saves: int
) -> None:
    """However long a process has been writing: what it refers to is asked for with each save."""
    with Checkpointer(store_path, state(0), run="r", rng=False) as ckpt:
        for step in range(n_saves):
            ckpt.save(step).wait()
        for pack in (store_path / KEYS.packs).iterdir():
            os.truncate(pack, 4096) if how == "cut short" else pack.unlink()
        ckpt.save(n_saves).wait()
        newest = holdfast.load(store_path, f"r@{n_saves}")
    assert (newest["frozen"] == FROZEN).all() and (newest["live"] == state(0)["live"]).all()
    [*before, last] = holdfast.Store(store_path).verify().checkpoints
    assert last.ok and not any(check.ok for check in before)


def test_a_save_with_most_of_the_state_frozen_writes_about_what_has_changed(
    writing: Writing, store_path: Path
) -> None:
    first = writing.save(state(1), 1)
    before = pack_bytes(writing.store)
    second = writing.save(state(2), 2)
    changed = 50_000 * 8
    assert changed <= pack_bytes(writing.store) - before <= 1.1 * changed
    assert changed <= second.record.stored_bytes <= 1.1 * changed
    assert first.record.stored_bytes >= FROZEN.nbytes + changed
    check(store_path, 1, state(1))
    check(store_path, 2, state(2))


def test_it_is_the_same_for_the_next_process(store_path: Path) -> None:
    for step in (1, 2):
        holdfast.save(store_path, state(step), run="r", step=step, rng=False)
    sizes = [i.stored_bytes for i in holdfast.Store(store_path).log("r")]
    assert sizes[0] > 3_900_000 and sizes[1] <= 1.1 * 400_000
    check(store_path, 2, state(2))


def test_the_same_state_again_writes_no_pack(writing: Writing, store_path: Path) -> None:
    writing.save(state(1), 1)
    before = pack_bytes(writing.store)
    writing.save(state(1), 2)
    assert pack_bytes(writing.store) == before
    check(store_path, 2, state(1))


def test_an_array_that_moved_is_found_again(writing: Writing, store_path: Path) -> None:
    writing.save(state(1), 1)
    before = pack_bytes(writing.store)
    moved = {"new name": {"here": FROZEN}, "first": np.zeros(3), "n": 1}
    writing.save(moved, 2)
    assert pack_bytes(writing.store) - before <= 8192
    check(store_path, 2, moved)


def test_twins_in_one_state_are_stored_once(writing: Writing, store_path: Path) -> None:
    tree = {f"copy {i}": FROZEN.copy() for i in range(3)}
    saved = writing.save(tree, 1)
    assert saved.record.state_bytes == 3 * FROZEN.nbytes
    assert pack_bytes(writing.store) < 1.01 * FROZEN.nbytes
    check(store_path, 1, tree)


def test_a_state_that_went_back_is_written_again_or_found(
    writing: Writing, store_path: Path
) -> None:
    for step, seed in enumerate([1, 2, 1, 3, 1]):
        writing.save(state(seed), step)
    for step, seed in enumerate([1, 2, 1, 3, 1]):
        check(store_path, step, state(seed))


# --- never on trust ---


def damage(store: LocalStore, key: str, at: int) -> None:
    path = Path(store.path(key))
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_base_is_not_built_upon_by_the_next_process(store_path: Path, how: str) -> None:
    holdfast.save(store_path, state(1), run="r", step=1, rng=False)
    store = LocalStore(store_path)
    [info] = store.list(KEYS.packs)
    if how == "flipped":
        damage(store, info.key, 1000)
    elif how == "cut":
        os.truncate(store.path(info.key), 100_000)
    else:
        store.delete([info.key])
    holdfast.save(store_path, state(2), run="r", step=2, rng=False)
    check(store_path, 2, state(2))
    assert [c.ref for c in holdfast.Store(store_path).verify().checkpoints if c.ok] == ["r@2"]
    # And from then on everything is as good as new.
    third = holdfast.save(store_path, state(3), run="r", step=3, rng=False)
    assert third.stored_bytes <= 1.1 * 400_000
    check(store_path, 3, state(3))


def test_what_is_not_damaged_of_a_damaged_base_is_referred_to(store_path: Path) -> None:
    big = {"a": FROZEN, "b": FROZEN + 1, "n": 0}
    holdfast.save(store_path, big, run="r", step=1, rng=False)
    [info] = LocalStore(store_path).list(KEYS.packs)
    damage(LocalStore(store_path), info.key, 1000)
    second = holdfast.save(store_path, big, run="r", step=2, rng=False)
    assert FROZEN.nbytes <= second.stored_bytes <= 1.01 * FROZEN.nbytes
    check(store_path, 2, big)


def test_a_base_whose_commit_is_damaged_is_not_used(store_path: Path) -> None:
    for step in (1, 2):
        holdfast.save(store_path, state(step), run="r", step=step, rng=False)
    damage(LocalStore(store_path), KEYS.commit(2), 30)
    third = holdfast.save(store_path, state(3), run="r", step=3, rng=False)
    assert third.seq == 3
    check(store_path, 3, state(3))
    assert third.stored_bytes <= 1.1 * 400_000


def test_a_base_that_was_removed_meanwhile_is_not_built_upon(
    writing: Writing, store_path: Path
) -> None:
    writing.save(state(1), 1)
    holdfast.Store(store_path).remove("r@1")
    assert pack_bytes(writing.store) == 0
    writing.save(state(2), 2)
    check(store_path, 2, state(2))


def test_a_removal_in_the_middle_of_a_save_takes_nothing_from_it(
    writing: Writing, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing.save(state(1), 1)
    real = LocalStore.publish

    def publish(store: LocalStore, staged: Any) -> None:
        monkeypatch.setattr(LocalStore, "publish", real)
        holdfast.Store(store_path).remove("r@1")
        real(store, staged)

    monkeypatch.setattr(LocalStore, "publish", publish)
    writing.save(state(2), 2)
    check(store_path, 2, state(2))
    assert [i.step for i in holdfast.Store(store_path).log("r")] == [2]
    assert holdfast.Store(store_path).verify().ok


# --- order, numbers, failures ---


def test_commits_are_numbered_in_order(writing: Writing) -> None:
    records = [writing.save({"n": step}, step).record for step in (5, 3, 3, 9)]
    assert [r.seq for r in records] == [1, 2, 3, 4]
    assert [c.step for c in commits.good_commits(writing.store, "r")] == [5, 3, 3, 9]


def test_who_comes_second_to_a_number_is_told(writing: Writing, store_path: Path) -> None:
    writing.save(state(1), 1)
    # Somebody on another machine, where our lock is not seen.
    writing.store.put_new(KEYS.commit(2), b"theirs")
    before = {i.key for i in writing.store.list("runs/")}
    with pytest.raises(RunBusy, match="Another process committed"):
        writing.save(state(2), 2)
    assert writing.store.get(KEYS.commit(2)) == b"theirs"
    left = {i.key for i in writing.store.list(KEYS.parts)} - before
    assert left == set()


def test_a_tag_is_put_with_the_save(writing: Writing, store_path: Path) -> None:
    saved = writing.save(state(1), 1, tag="final")
    assert saved.tag_error is None
    assert holdfast.Store(store_path).info("r@final").id == saved.record.id


def test_a_tag_that_cannot_be_put_does_not_undo_the_save(
    writing: Writing, store_path: Path
) -> None:
    writing.store.put(KEYS.tags.removesuffix("/"), b"a file in the way")
    saved = writing.save(state(1), 1, tag="final")
    assert saved.tag_error is not None
    check(store_path, 1, state(1))


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_failing_save_leaves_the_run_as_it_was(
    writing: Writing, store_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    writing.save(state(1), 1)
    before = {i.key for i in writing.store.list("runs/")}
    count = iter(range(1, 1000))

    def failing(name: str) -> None:
        real = getattr(LocalStore, name)

        def call(self: LocalStore, *args: Any) -> Any:
            if next(count) == nth:
                raise NoSpace("full")
            return real(self, *args)

        monkeypatch.setattr(LocalStore, name, call)

    with monkeypatch.context() as monkeypatch:
        for name in ("stage", "publish", "put_new", "put_hint"):
            failing(name)
        try:
            writing.save(state(2), 2)
        except NoSpace:
            after = {i.key for i in writing.store.list("runs/")}
            assert after - before == set()
        else:
            assert next(count) <= nth
            return
    assert pins.all_pins(writing.store, "r") == []
    assert not list(Path(writing.store.location).rglob(f"{TEMPORARY}*"))
    check(store_path, 1, state(1))
    saved = writing.save(state(3), 3)
    assert saved.record.stored_bytes <= 1.1 * 400_000
    check(store_path, 3, state(3))


def test_a_save_that_fails_as_it_begins_leaves_no_pin(
    writing: Writing, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep a sweep from what this one builds on, for as long as training lasts."""
    writing.save(state(1), 1)
    real = LocalStore.exists

    def exists(self: LocalStore, key: str) -> bool:
        if key.startswith(KEYS.commits):
            raise StoreUnavailable("out of reach")
        return real(self, key)

    with monkeypatch.context() as patch, pytest.raises(StoreUnavailable):
        patch.setattr(LocalStore, "exists", exists)
        writing.save(state(2), 2)
    assert pins.all_pins(writing.store, "r") == []
    writing.save(state(3), 3)
    check(store_path, 3, state(3))


def test_a_second_writer_is_refused_while_the_first_is_open(
    writing: Writing, store_path: Path
) -> None:
    with pytest.raises(RunBusy, match="this very process"):
        holdfast.save(store_path, state(1), run="r", step=1)
    holdfast.save(store_path, state(1), run="other", step=1)
    writing.writer.close()
    holdfast.save(store_path, state(1), run="r", step=1)


def test_packs_are_named_after_the_save_that_wrote_them(writing: Writing) -> None:
    first, second = (writing.save(state(i), i).record for i in (1, 2))
    owners = [checkpoint_of(i.key) for i in writing.store.list(KEYS.packs)]
    assert sorted(owners) == sorted([first.id, second.id])


@pytest.mark.parametrize("is_first", [False, True])
def test_one_that_is_started_again_leaves_alone_what_other_ranks_are_writing(
    store_path: Path, is_first: bool
) -> None:
    """Where training begins nobody else writes: what is half written is a dead writer's."""
    store = open_store(store_path, create=True)
    staged = store.stage(f"{KEYS.packs}{jobs.new_id()}-100000", [b"of another rank"])
    writer = RunWriter(store, "r", incarnation=jobs.new_id())
    writer.open(os.getpid(), is_first=is_first)
    try:
        if is_first:
            assert not any(store_path.rglob(f"{TEMPORARY}*"))
        else:
            store.publish([staged])
            assert store.get(staged.key) == b"of another rank"
    finally:
        writer.close()

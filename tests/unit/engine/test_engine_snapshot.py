"""Snapshots: the same bytes by either way, and nothing of what was there before."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from holdfast.chunks.source import Abandoned
from holdfast.chunks.stored import Stored
from holdfast.engine import stream
from holdfast.engine.arena import Arena
from holdfast.engine.arena_source import ArenaSource
from holdfast.engine.leaf_filler import leaf_filler
from holdfast.engine.snapshot import Copier
from holdfast.engine.stream import StreamSource
from holdfast.errors import SaveFailed
from holdfast.plan.layout import CHUNK_ALIGNMENT, CHUNK_BYTES, Layout, align, plan_layout
from holdfast.plan.overlap import is_worth_overlapping
from holdfast.state import numpy_arrays  # noqa: F401 - registers NumPy's arrays
from holdfast.state.flatten import Flat, flatten

STORED = Stored(b"n" * 32, b"q" * 16, 4096, "pack", 4096, 0)
RNG = np.random.default_rng(0)


def state() -> dict[str, Any]:
    return {
        "a": {f"{i}": RNG.random(int(n)) for i, n in enumerate(RNG.integers(1, 2000, 40))},
        "large": RNG.random(50_000),
        "turned": RNG.random((300, 200)).T,
        "huge": RNG.integers(0, 255, (CHUNK_BYTES + 12_345), np.uint8),
        "b": [RNG.random(3).astype("f4")[::2], np.zeros((0, 3)), b"x" * 5001],
        "c": np.float32(RNG.random((7, 5))).T,
    }


def planned(tree: dict[str, Any]) -> tuple[Flat, Layout]:
    flat = flatten(tree)
    return flat, plan_layout((leaf.path, leaf.spec.nbytes) for leaf in flat.leaves)


def expected_chunks(flat: Flat, layout: Layout) -> list[bytes]:
    chunks = [bytearray(align(n, CHUNK_ALIGNMENT)) for n in layout.lengths]
    for leaf, (chunk, begin) in zip(flat.leaves, layout.places, strict=True):
        data = memoryview(bytearray(leaf.spec.nbytes))
        leaf.adapter.export(leaf.value, data)
        at = 0
        while at < data.nbytes:
            n = min(data.nbytes - at, layout.lengths[chunk] - begin)
            chunks[chunk][begin : begin + n] = data[at : at + n]
            at, chunk, begin = at + n, chunk + 1, 0
    return [bytes(chunk) for chunk in chunks]


@pytest.fixture
def copier() -> Iterator[Copier]:
    made = Copier(3)
    yield made
    made.close()


class Snapshots:
    """An arena, and snapshots taken into it."""

    def __init__(self, copier: Copier, nbytes: int) -> None:
        self.arena = Arena.create(nbytes)
        self._copier = copier

    def take(self, tree: dict[str, Any], *, compare: bool) -> tuple[list[bytes], list[int]]:
        """Return the chunks in the arena, and those that are said not to have changed."""
        flat, layout = planned(tree)
        self.arena.filling.begin()
        self._copier.copy(flat, layout, self.arena, compare=compare)
        chunks = [
            bytes(self.arena.view[o : o + align(length, CHUNK_ALIGNMENT)])
            for o, length in zip(layout.offsets, layout.lengths, strict=True)
        ]
        return chunks, list(self.arena.filling.unchanged())


def test_the_arena_holds_every_leaf_in_its_place(copier: Copier) -> None:
    tree = state()
    found, unchanged = Snapshots(copier, 48 << 20).take(tree, compare=False)
    assert found == expected_chunks(*planned(tree))
    assert unchanged == []


def test_only_what_has_not_changed_is_said_not_to_have(copier: Copier) -> None:
    tree = state()
    snapshots = Snapshots(copier, 48 << 20)
    snapshots.take(tree, compare=False)
    flat, layout = planned(tree)
    places = {leaf.path: layout.places[i][0] for i, leaf in enumerate(flat.leaves)}
    huge = places["huge"]
    tree["huge"][CHUNK_BYTES + 5] ^= 1
    found, unchanged = snapshots.take(tree, compare=True)
    assert found == expected_chunks(flat, layout)
    # Of the large leaf the first chunk only; groups, and what is brought from elsewhere, never.
    assert {huge, places["large"]} <= set(unchanged)
    assert not {huge + 1, places["turned"], places["a/0"]} & set(unchanged)
    assert list(snapshots.arena.filling.changed()) == [huge + 1]
    tree["large"][-1] += 1
    found, unchanged = snapshots.take(tree, compare=True)
    assert found == expected_chunks(flat, layout)
    assert {huge, huge + 1} <= set(unchanged)
    assert places["large"] not in unchanged


def test_another_layout_leaves_nothing_of_the_first(copier: Copier) -> None:
    snapshots = Snapshots(copier, 48 << 20)
    snapshots.take({"x": np.full(40 << 20, 0xFF, np.uint8)}, compare=False)
    tree = state()
    found, unchanged = snapshots.take(tree, compare=False)
    assert found == expected_chunks(*planned(tree))
    assert unchanged == []


def test_both_ways_give_the_same_bytes(copier: Copier) -> None:
    tree = state()
    flat, layout = planned(tree)
    fill = leaf_filler(flat.leaves, layout)
    for i, chunk in enumerate(expected_chunks(flat, layout)):
        view = memoryview(bytearray(b"\xff" * len(chunk)))
        fill(i, view)
        assert view[: layout.lengths[i]] == chunk[: layout.lengths[i]]


def test_an_empty_state_is_a_snapshot_too(copier: Copier) -> None:
    assert Snapshots(copier, 1).take({"a": 1}, compare=False) == ([], [])


@pytest.mark.parametrize("early", [True, False])
def test_chunks_are_told_of_at_once_or_when_the_loop_goes_on(copier: Copier, early: bool) -> None:
    tree = {"huge": np.zeros(8 << 20, np.uint8), "z": np.ones(3, np.uint8)}
    arena = Arena.create(48 << 20)
    flat, layout = planned(tree)
    copier.copy(flat, layout, arena, compare=False)
    seen: list[list[int]] = []

    class Adapter:
        """Looks, while the loop is held, until the chunk is there."""

        def export(self, value: object, into: memoryview) -> None:
            deadline = time.monotonic() + 30
            copy = np.frombuffer(arena.view, np.uint8)[layout.offsets[0] :][: 8 << 20]
            while not copy.all() or (early and not arena.filling.changed()):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            seen.append(list(arena.filling.changed()))

    tree["huge"][:] = 1
    last = flat.leaves[-1]._replace(address=None, adapter=Adapter())
    flat = dataclasses.replace(flat, leaves=[*flat.leaves[:-1], last])
    arena.filling.begin()
    copier.copy(flat, layout, arena, compare=True, early=early)
    assert seen == [[0] if early else []]
    assert list(arena.filling.changed()) == [0]


def test_what_is_told_of_only_at_the_end_is_written_before_it_is_digested_too() -> None:
    arena = Arena.create(5 << 20)
    arena.filling.begin()
    for chunk, changed in ((0, True), (1, False), (2, True)):
        arena.filling.mark(chunk, changed=changed)
    arena.filling.complete(0.1, 1.0)
    previous = dict.fromkeys((0, 1), STORED)
    source = ArenaSource(arena, layout_of(4096, 4096, 4096), previous, lambda: False)
    assert list(source.arriving()) == [0]
    assert list(source.unchanged()) == [1]
    arena.filling.abandon()
    with pytest.raises(SaveFailed, match="interrupted"):
        list(source.arriving())


@pytest.mark.parametrize(("durable_s", "is_worth_it"), [(0.5, True), (2.0, False)])
def test_saves_overlap_where_the_disk_is_fast(durable_s: float, is_worth_it: bool) -> None:
    assert is_worth_overlapping(0.1, durable_s) is is_worth_it


# --- streams ---


def layout_of(*lengths: int) -> Layout:
    return Layout((), lengths, [0] * len(lengths), 0)


def test_a_stream_gives_padded_chunks_and_uses_memory_again() -> None:
    filled = []

    def fill(chunk: int, view: memoryview) -> None:
        filled.append(chunk)
        view[:] = bytes([chunk + 1]) * view.nbytes

    source = StreamSource(layout_of(5, 5000, 4096), fill)
    assert source.acquire(0) == b"\1" * 5 + bytes(4091)
    assert source.acquire(1) == b"\2" * 5000 + bytes(3192)
    assert source.acquire(0) == b"\1" * 5 + bytes(4091)
    source.release(0)
    assert source.acquire(2) == b"\3" * 4096
    assert filled == [0, 1, 2]


def test_a_stream_waits_for_room_and_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BUDGET_BYTES", 3 * 4096)
    source = StreamSource(layout_of(*[4096] * 5), lambda chunk, view: None)
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: (source.acquire(i), got.append(i)), daemon=True)
        for i in (3, 2, 1, 0)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    deadline = time.monotonic() + 5
    while len(got) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert sorted(got) == [0, 1, 2]
    source.release(1)
    threads[0].join(5)
    assert sorted(got) == [0, 1, 2, 3]


def test_who_waits_for_an_abandoned_stream_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BUDGET_BYTES", 4096)
    source = StreamSource(layout_of(4096, 4096), lambda chunk, view: None)
    source.acquire(0)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            source.acquire(1)
        except Abandoned as error:
            errors.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(0.02)
    source.abandon()
    thread.join(5)
    assert len(errors) == 1


def test_the_persister_sees_how_far_it_has_come() -> None:
    ours = Arena.create(5 << 20)
    theirs = Arena(os.dup(ours.fd), ours.nbytes, writable=False)
    assert not theirs.filling.is_going_on and not theirs.filling.is_complete
    ours.filling.begin()
    assert theirs.filling.is_going_on
    ours.filling.mark(0, changed=True)
    # As many chunks as there could be in it.
    ours.filling.mark((5 << 20) // CHUNK_ALIGNMENT - 1, changed=False)
    assert list(theirs.filling.changed()) == [0]
    assert list(theirs.filling.unchanged()) == [1279]
    assert not theirs.filling.is_complete
    ours.filling.complete(0.25, 7.5)
    assert theirs.filling.is_complete and not theirs.filling.is_going_on
    assert (theirs.filling.held_s, theirs.filling.completed_s) == (0.25, 7.5)
    ours.filling.begin()
    assert list(theirs.filling.changed()) == list(theirs.filling.unchanged()) == []
    ours.filling.abandon()
    assert not theirs.filling.is_going_on and not theirs.filling.is_complete
    for arena in (ours, theirs):
        arena.close()


def test_nobody_writes_into_the_arena_after_a_copy_that_failed(copier: Copier) -> None:
    class Adapter:
        def export(self, value: object, into: memoryview) -> None:
            raise RuntimeError("the device is gone")

    tree = {"huge": np.ones(40 << 20, np.uint8), "z": np.ones(3, np.uint8)}
    flat, layout = planned(tree)
    last = flat.leaves[-1]._replace(address=None, adapter=Adapter())
    flat = dataclasses.replace(flat, leaves=[*flat.leaves[:-1], last])
    arena = Arena.create(48 << 20)
    with pytest.raises(RuntimeError, match="the device is gone"):
        copier.copy(flat, layout, arena, compare=False)
    before = bytes(arena.view)
    tree["huge"][:] = 2
    assert bytes(arena.view) == before
    arena.close()

"""A power cut after any effect: what was told to be durable is there, what is there is whole."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_running import IS_FULL, assert_verified, debris
from power import Disk, Recorder, materialise

import holdfast
from holdfast import keep

RUN = "run"


def tree(step: int) -> dict[str, Any]:
    return {
        "changes": [np.full(100 << 10, step + i, np.float32) for i in range(4)],
        "stays": np.arange(80 << 10, dtype=np.float32),
        "small": {"a": np.full(7, step), "step": step},
    }


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, set[int]]]:
    """Every effect of some saves and removals, each with the steps that must be there after it."""
    monkeypatch.setattr("holdfast.plan.packs.PACK_BYTES", 500 << 10)
    root = tmp_path / "recorded"
    root.mkdir()
    store = root / "store"
    recorder = Recorder(root)
    found: list[tuple[Any, set[int]]] = []
    durable: set[int] = set()

    def note(now_durable: set[int]) -> None:
        # While something is removed it is no longer promised; while it is saved, not yet.
        found.extend((apply, durable & now_durable) for apply in recorder.log[len(found) :])
        durable.clear()
        durable.update(now_durable)

    try:
        for step in (1, 2, 3):
            holdfast.save(store, tree(step), run=RUN, step=step, tag=f"t{step % 2}", rng=False)
            note(durable | {step})
        holdfast.Store(store).untag(RUN, "t0")
        holdfast.Store(store).prune(RUN, keep.last(1))
        note({3})
        holdfast.save(store, tree(4), run=RUN, step=4, rng=False)
        note({3, 4})
    finally:
        recorder.close()
    return found


def images(disk: Disk, source: random.Random, at: int) -> Iterator[dict[str, bytes]]:
    if IS_FULL or at % 2:
        yield disk.only_synced()
    if IS_FULL or not at % 2:
        yield disk.names_without_bytes()
    for _ in range(20 if IS_FULL else 1):
        yield disk.anything(source)


def test_power_may_fail_after_any_effect(
    history: list[tuple[Any, set[int]]], tmp_path: Path
) -> None:
    assert len(history) > 100
    disk, source = Disk(), random.Random(4)
    root = tmp_path / "after"
    for at, (apply, durable) in enumerate(history):
        apply(disk)
        for image in images(disk, source, at):
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            materialise(image, root)
            check(root / "store", durable, f"after effect {at} of {len(history)}")


def check(store: Path, durable: set[int], when: str) -> None:
    there: set[int] = set()
    if (store / "runs" / RUN).exists():
        assert_verified(store)
        there = {info.step for info in holdfast.Store(store).log(RUN)}
    assert durable <= there, when
    for step in there:
        np.testing.assert_equal(holdfast.load(store, f"{RUN}@{step}"), tree(step), when)
    holdfast.save(store, tree(9), run=RUN, step=9, rng=False)
    assert_verified(store)
    assert there <= {info.step for info in holdfast.Store(store).log(RUN)}, when
    assert debris(store, RUN) == set(), when

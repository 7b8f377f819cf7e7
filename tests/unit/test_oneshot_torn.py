"""A state that is changed while ``save`` writes it is not saved as if it were one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from absent import required
from holdfast.engine.stream import StreamSource
from holdfast.errors import SnapshotTorn


def changed_within(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Change something each time another chunk of a state has been read."""
    as_ever = StreamSource.acquire

    def acquire(self: StreamSource, chunk: int) -> memoryview:
        view = as_ever(self, chunk)
        change()
        return view

    monkeypatch.setattr(StreamSource, "acquire", acquire)


def a_large_array() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = np.zeros(8_000_000, np.float32)
    return {"model": {"w": weights, "b": np.zeros(3)}}, lambda: np.add(weights, 1, out=weights)


def a_small_array() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = np.zeros(3)
    return {"model": {"w": weights, "b": np.zeros(3)}}, lambda: np.add(weights, 1, out=weights)


def a_single_byte() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = np.zeros((), np.uint8)
    return {"model": {"w": weights, "b": np.zeros(0)}}, lambda: np.add(weights, 1, out=weights)


def a_tensor() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = required("torch").zeros(8_000_000)
    return {"model": {"w": weights}}, lambda: weights[123_456].add_(1)


def a_tensor_past_the_counter() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = required("torch").zeros(8_000_000)
    return {"model": {"w": weights}}, lambda: weights.data.add_(1)


def a_tensor_with_gaps() -> tuple[dict[str, Any], Callable[[], object]]:
    weights = required("torch").zeros(1000, 8)[:, ::2]
    return {"model": {"w": weights}}, lambda: weights.add_(1)


STATES = [
    a_large_array,
    a_small_array,
    a_single_byte,
    a_tensor,
    a_tensor_past_the_counter,
    a_tensor_with_gaps,
]


@pytest.mark.parametrize("make", STATES)
def test_it_is_not_saved(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]
) -> None:
    state, change = make()
    holdfast.save(store_path, state, run="r", step=0, rng=False)
    packs = {path.name for path in (store_path / "runs/r/packs").iterdir()}
    with monkeypatch.context() as patch:
        changed_within(patch, change)
        with pytest.raises(SnapshotTorn, match="'model/w'") as caught:
            holdfast.save(store_path, state, run="r", step=1, rng=False)
    assert caught.value.leaves == ("model/w",) and caught.value.step == 1
    assert {path.name for path in (store_path / "runs/r/packs").iterdir()} == packs
    assert [info.step for info in holdfast.Store(store_path).log("r")] == [0]
    holdfast.save(store_path, state, run="r", step=2, rng=False)
    found = np.asarray(holdfast.load(store_path, "r@2")["model"]["w"])
    assert (found == np.asarray(state["model"]["w"])).all() and found.any()
    assert holdfast.Store(store_path).verify().ok

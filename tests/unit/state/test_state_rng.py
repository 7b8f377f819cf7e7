"""The generators that libraries keep for themselves are in every checkpoint, unasked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.state import rng as rng_state


def draw() -> list[Any]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.normal()]


def test_the_global_generators_go_on_where_they_were(store_path: Path) -> None:
    random.seed(1)
    np.random.seed(2)
    draw()
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    expected = [draw() for _ in range(3)]
    holdfast.load(store_path, "r@1", rng=True)
    assert [draw() for _ in range(3)] == expected
    holdfast.load(store_path, "r@1", into={"a": 0}, rng=True)
    assert [draw() for _ in range(3)] == expected


@pytest.fixture
def over_pcg64() -> Iterator[None]:
    before: Any = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    yield
    np.random.set_bit_generator(before)


def test_the_global_generator_is_over_what_it_was_over(store_path: Path, over_pcg64: None) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    expected = np.random.rand()
    np.random.set_bit_generator(np.random.MT19937(2))
    holdfast.load(store_path, "r@1", into={"a": 0}, rng=True)
    assert np.random.rand() == expected


def test_loading_leaves_the_generators_alone_unless_asked(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    random.seed(5)
    np.random.seed(5)
    expected = draw()
    random.seed(5)
    np.random.seed(5)
    holdfast.load(store_path, "r@1")
    holdfast.load(store_path, "r@1", into={"a": 0})
    assert draw() == expected


def test_saving_draws_no_random_number(store_path: Path) -> None:
    random.seed(6)
    np.random.seed(6)
    expected = draw()
    random.seed(6)
    np.random.seed(6)
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    assert draw() == expected


def test_generators_are_no_part_of_the_tree(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    assert holdfast.load(store_path, "r@1") == {"a": 1}
    assert holdfast.load(store_path, "r@1", rng=True) == {"a": 1}
    assert any(leaf.path.startswith("@rng/") for leaf in holdfast.Store(store_path).leaves("r@1"))


def test_rng_false_saves_none(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1, rng=False)
    assert [leaf.path for leaf in holdfast.Store(store_path).leaves("r@1")] == ["a"]
    random.seed(7)
    expected = random.random()
    random.seed(7)
    holdfast.load(store_path, "r@1", rng=True)
    assert random.random() == expected


def test_patterns_may_leave_them_out(store_path: Path) -> None:
    holdfast.save(store_path, {"a": 1}, run="r", step=1, skip="@rng/**")
    assert [leaf.path for leaf in holdfast.Store(store_path).leaves("r@1")] == ["a"]


def test_a_library_that_is_not_here_is_told_of(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"value": 5}
    source = rng_state.RngSource("dice", lambda: True, lambda: dict(state), state.update)
    monkeypatch.setitem(rng_state._sources, "dice", source)
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    state["value"] = 6
    holdfast.load(store_path, "r@1", into={"a": 0}, rng=True)
    assert state == {"value": 5}
    monkeypatch.delitem(rng_state._sources, "dice")
    result = holdfast.load(store_path, "r@1", into={"a": 0}, rng=True)
    assert any("dice" in difference for difference in result.differences)


def test_a_library_that_is_not_in_play_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> object:
        raise AssertionError("asked")

    source = rng_state.RngSource("dice", lambda: False, fail, lambda tree: None)
    monkeypatch.setitem(rng_state._sources, "dice", source)
    assert "dice" not in rng_state.capture()
    assert rng_state.apply({"dice": 1}) == ["dice"]

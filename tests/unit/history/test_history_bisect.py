"""The search for the first bad checkpoint: pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.history.bisect import Bisection, begin
from holdfast.history.info import CheckpointInfo


def info(place: int, parent: str | None = None, step: int | None = None) -> CheckpointInfo:
    when = datetime(2025, 1, 1, tzinfo=UTC)
    at = place if step is None else step
    return CheckpointInfo("r", at, f"id{place}", place + 1, when, parent=parent)


def line(n: int) -> list[CheckpointInfo]:
    return [info(i, f"id{i - 1}" if i else None) for i in range(n)]


@given(n=st.integers(2, 200), data=st.data())
def test_it_finds_the_first_bad_one_in_few_tries(n: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(1, n - 1))
    search, tries = begin(line(n), "id0", f"id{n - 1}"), 0
    while (candidate := search.next) is not None:
        tries += 1
        search = search.told("bad" if candidate.step >= first_bad else "good")
    assert [c.step for c in search.suspects] == [first_bad]
    assert tries <= math.ceil(math.log2(n))


@given(n=st.integers(2, 60), skipped=st.sets(st.integers(1, 58)), data=st.data())
def test_with_some_that_cannot_be_told_the_bad_one_is_among_the_suspects(
    n: int, skipped: set[int], data: st.DataObject
) -> None:
    first_bad = data.draw(st.integers(1, n - 1))
    search = begin(line(n), "id0", f"id{n - 1}")
    for _ in range(n):
        if (candidate := search.next) is None:
            break
        left = search.n_left
        if candidate.step in skipped:
            search = search.told("skip")
        else:
            search = search.told("bad" if candidate.step >= first_bad else "good")
        assert search.n_left < left
    suspects = [c.step for c in search.suspects]
    assert search.next is None and search.n_left == 0
    assert first_bad in suspects and set(suspects[:-1]) <= skipped


def test_what_was_rolled_back_is_not_on_the_way() -> None:
    log = [*line(4), info(4, "id1", step=2), info(5, "id4", step=3)]
    search = begin(log, "id0", "id5")
    assert [c.id for c in search.line] == ["id0", "id1", "id4", "id5"]


def test_where_parents_were_pruned_it_goes_by_order() -> None:
    log = [info(0), info(1, "gone"), info(2, "id1")]
    assert len(begin(log, "id0", "id2").line) == 3


def test_a_cycle_of_parents_is_no_lineage() -> None:
    log = [info(0, "id2"), info(1, "id2"), info(2, "id1")]
    assert [c.id for c in begin(log, "id0", "id2").line] == ["id0", "id1", "id2"]
    assert len(begin([info(0), info(1, "id1")], "id0", "id1").line) == 2


def test_two_that_follow_each_other_need_no_try() -> None:
    search = begin(line(2), "id0", "id1")
    assert search.next is None and [c.step for c in search.suspects] == [1]
    assert isinstance(search, Bisection)


@pytest.mark.parametrize(("good", "bad"), [("id1", "id1"), ("id2", "id1")])
def test_a_bad_one_comes_after_a_good_one(good: str, bad: str) -> None:
    with pytest.raises(UsageError, match=r"same checkpoint|other order"):
        begin(line(3), good, bad)

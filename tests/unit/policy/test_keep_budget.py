"""A budget chooses among what the other policies keep, and counts what is shared once."""

from __future__ import annotations

import contextlib
import math
from datetime import timedelta

import pytest
from candidates import START, checkpoint_lists, losses, policies, run
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.policy.keep import keep
from holdfast.policy.keep_budget import parse_size
from holdfast.policy.retention import plan_retention


def alone(checkpoints, size=10):
    """Each needs so many bytes that no other one does."""
    return {c.id: {f"pack {c.seq}": size} for c in checkpoints}


def kept(checkpoints, policy, objects):
    plan = plan_retention(checkpoints, policy, objects=objects)
    return [c.step for c, _ in plan.kept]


def test_alone_it_keeps_the_newest_that_fit():
    checkpoints = run(1, 2, 3, 4, 5)
    assert kept(checkpoints, keep.budget(35), alone(checkpoints)) == [3, 4, 5]
    plan = plan_retention(checkpoints, keep.budget(35), objects=alone(checkpoints))
    assert [why for _, why in plan.removed] == [
        "over the budget of 35 B: takes 10 B, 5 B left",
    ] * 2
    assert plan.kept[0][1] == ("all", "in the budget of 35 B")
    assert plan.over_bytes == 0


def test_it_chooses_among_what_the_others_keep_best_before_old():
    checkpoints = run(1, 2, 3, 4, 5, 6, metrics=losses(0.1, 0.5, 0.2, 0.9, 0.8, 0.7))
    policy = keep.last(3) | keep.best("loss", n=2)
    objects = alone(checkpoints)
    assert kept(checkpoints, policy | keep.budget(1000), objects) == [1, 3, 4, 5, 6]
    assert kept(checkpoints, policy | keep.budget(40), objects) == [1, 3, 5, 6]
    assert kept(checkpoints, policy | keep.budget(20), objects) == [1, 6]
    young = keep.last(3) | keep.best("loss", n=2).within(steps=10)
    assert kept(checkpoints, keep.budget(30) | young, objects) == [1, 3, 6]


def test_never_below_one_and_never_a_tag():
    checkpoints = run(1, 2, 3, tags=[("v1",), (), ()])
    plan = plan_retention(checkpoints, keep.budget(1), objects=alone(checkpoints))
    assert [c.step for c, _ in plan.kept] == [1, 3]
    assert plan.over_bytes == 19


def test_what_is_shared_counts_once():
    checkpoints = run(1, 2, 3)
    frozen = {"frozen": 100}
    objects = {c.id: frozen | {f"own {c.seq}": 1} for c in checkpoints}
    assert kept(checkpoints, keep.budget(103), objects) == [1, 2, 3]
    assert kept(checkpoints, keep.budget(102), objects) == [2, 3]
    # What one needs beyond the others decides: the middle one does not fit, the oldest does.
    objects[checkpoints[1].id] = {"other": 50}
    assert kept(checkpoints, keep.budget(102), objects) == [1, 3]


def test_the_smallest_of_several_counts():
    checkpoints = run(1, 2, 3)
    assert kept(checkpoints, keep.budget(100) | keep.budget(20), alone(checkpoints)) == [2, 3]


def test_what_nobody_can_measure_stays():
    checkpoints = run(1, 2, 3)
    objects = alone(checkpoints)
    del objects[checkpoints[0].id]
    plan = plan_retention(checkpoints, keep.budget(10), objects=objects)
    assert [c.step for c, _ in plan.kept] == [1, 3]
    assert plan.kept[0][1] == ("all", "in doubt: what it takes cannot be told")


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("1kB", 1000), ("1 KiB", 1024), ("2m", 2_000_000), ("0.1GB", 100_000_000), ("7", 7), (7, 7)],
)
def test_sizes(text, nbytes):
    assert parse_size(text) == nbytes


@given(st.text(max_size=12))
def test_what_is_no_size_is_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_size(text) > 0


sizes = st.lists(st.dictionaries(st.integers(0, 5), st.integers(0, 9), max_size=4), max_size=12)


@given(checkpoint_lists, policies, sizes, st.integers(1, 60))
def test_a_budget_holds_and_a_second_look_finds_nothing(checkpoints, policy, needs, nbytes):
    shared = {number: size for need in needs for number, size in need.items()}
    objects = {
        c.id: {str(number): shared[number] for number in need}
        for c, need in zip(checkpoints, needs, strict=False)
    }
    plan = plan_retention(checkpoints, policy | keep.budget(nbytes), objects=objects)
    left = [c for c, _ in plan.kept]
    without = {c.id for c, _ in plan_retention(checkpoints, policy).kept}
    assert {c.id for c in left} <= without
    assert not checkpoints or max(checkpoints, key=lambda c: c.seq) in left
    assert all(c in left for c in checkpoints if c.tags)
    used = {key: size for c in left for key, size in objects.get(c.id, {}).items()}
    assert sum(used.values()) <= nbytes + plan.over_bytes
    again = plan_retention(left, policy | keep.budget(nbytes), objects=objects)
    assert not again.removed and not math.isnan(again.over_bytes)


def test_what_rests_on_one_that_the_budget_takes_goes_with_it():
    hours = (10, 5, 11)
    checkpoints = run(0, 1, 2, created=[START + timedelta(hours=h) for h in hours])
    objects = {c.id: {f"pack {c.seq}": size for size in [(50, 1, 1)[c.seq]]} for c in checkpoints}
    plan = plan_retention(checkpoints, keep.within(hours=3) | keep.budget(10), objects=objects)
    assert [c.step for c, _ in plan.kept] == [2]
    assert [c.step for c, _ in plan.removed] == [0, 1]

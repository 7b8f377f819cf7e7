"""What is kept by age and by the clock; a clock that was set costs nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from candidates import START, checkpoint_lists, kept_steps, policies, reasons, run
from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.keep import keep
from holdfast.policy.retention import plan_retention

HOUR = timedelta(hours=1)


def saved_at(*hours):
    """Checkpoints of steps 0, 1 and so on, saved at these hours, in that order."""
    return run(*range(len(hours)), created=[START + h * HOUR for h in hours])


def test_within_counts_back_from_the_newest():
    checkpoints = saved_at(0, 10, 20, 24, 30, 34)
    assert kept_steps(checkpoints, keep.within(hours=24)) == [1, 2, 3, 4, 5]
    assert kept_steps(checkpoints, keep.within(days=1)) == [1, 2, 3, 4, 5]
    assert kept_steps(checkpoints, keep.within(steps=1)) == [4, 5]
    gone = plan_retention(checkpoints, keep.within(hours=10)).removed
    assert [why for _, why in gone] == ["older than 10 hours"] * 3


def test_steps_that_were_gone_back_from_are_young():
    checkpoints = run(10, 20, 900, 30)
    assert kept_steps(checkpoints, keep.within(steps=10)) == [20, 900, 30]


def test_a_policy_for_young_ones_only():
    checkpoints = saved_at(*range(0, 100, 2))
    policy = keep.every(hours=10).within(days=1) | keep.every(days=1)
    # A day of tens of hours, and before that the first of each day.
    assert kept_steps(checkpoints, policy) == [0, 12, 24, 36, 37, 42, 47, 48, 49]
    best = run(1, 2, 3, created=[START, START + 50 * HOUR, START + 51 * HOUR])
    best = [
        type(c)(c.seq, c.step, c.created, {"loss": loss})
        for c, loss in zip(best, (0.1, 0.5, 0.9), strict=True)
    ]
    assert kept_steps(best, keep.best("loss").within(days=1)) == [2, 3]


def test_thinning_keeps_fewer_with_age():
    minutes = range(0, 60 * 24 * 100, 20)
    checkpoints = run(*minutes, created=[START + timedelta(minutes=m) for m in minutes])
    kept = kept_steps(checkpoints, keep.thinning())
    ages = [(minutes[-1] - m) / 60 for m in kept]
    assert sum(age <= 2 for age in ages) == 7, "all of two hours"
    assert 22 <= sum(2 < age <= 24 for age in ages) <= 24, "hourly"
    assert 28 <= sum(24 < age <= 30 * 24 for age in ages) <= 31, "daily"
    assert 9 <= sum(age > 30 * 24 for age in ages) <= 12, "weekly"


def test_thinning_as_time_goes_on_leaves_what_one_look_leaves_but_at_the_edges_of_ages():
    minutes = list(range(0, 60 * 24 * 40, 90))
    everything = run(*minutes, created=[START + timedelta(minutes=m) for m in minutes])
    left = []
    for checkpoint in everything:
        left = [c for c, _ in plan_retention([*left, checkpoint], keep.thinning()).kept]
    at_once = kept_steps(everything, keep.thinning())
    assert {c.step for c in left} <= set(at_once)
    assert len(at_once) - len(left) <= 2


# --- the clock ---


def test_a_clock_that_was_set_back_costs_nothing():
    checkpoints = saved_at(100, 101, 102, 5, 6, 7)
    assert kept_steps(checkpoints, keep.within(hours=1)) == [0, 1, 2, 4, 5]
    because = reasons(checkpoints, keep.within(hours=1))
    assert because[0] == ("in doubt: the clock was set back after it was saved",)
    # One that only was wrong for a while does not age the others.
    assert kept_steps(saved_at(0, 1, 5000, 2, 3), keep.within(hours=3)) == [0, 1, 2, 3, 4]


def test_windows_begin_anew_where_the_clock_went_back():
    back = saved_at(10.0, 10.5, 10.2, 10.3, 10.4)
    # How long after 10.5 the next one was, nobody knows: it may be a day.
    assert kept_steps(back, keep.every(hours=1)) == [0, 1, 2, 4]
    left = [c for c, _ in plan_retention(back, keep.every(hours=1)).kept]
    assert kept_steps(left, keep.every(hours=1)) == [0, 1, 2, 4]


def test_a_clock_that_was_behind_for_a_while_makes_nothing_old():
    # Steps 1 and 2 were saved after step 0, whatever the clock said then.
    checkpoints = saved_at(10_000, 5, 6, 10_001, 10_002)
    assert kept_steps(checkpoints, keep.within(hours=3)) == [0, 1, 2, 3, 4]
    because = reasons(checkpoints, keep.within(hours=3))
    assert because[1] == ("in doubt: the clock was behind when it was saved",)
    # That step 0 is old says nothing of them.
    assert kept_steps(checkpoints, keep.within(hours=1)) == [3, 4]


def test_what_tells_that_another_is_young_stays_as_long():
    checkpoints = saved_at(1, 10_000, 5, 10_001, 10_002)
    ranked = [replace(c, metrics={"loss": abs(c.step - 2)}) for c in checkpoints]
    policy = keep.best("loss").within(hours=3)
    assert kept_steps(ranked, policy) == [1, 2, 4]
    left = [c for c, _ in plan_retention(ranked, policy).kept]
    assert kept_steps(left, policy) == [1, 2, 4]


def test_a_clock_that_was_set_forward_while_training_makes_nothing_old():
    checkpoints = saved_at(0, 1, 2, 3, 50_000)
    assert kept_steps(checkpoints, keep.within(hours=24)) == [4]
    plan = plan_retention(checkpoints, keep.within(hours=24), ahead_s=49_996 * 3600.0)
    assert not plan.removed
    plan = plan_retention(checkpoints, keep.all().within(hours=24), ahead_s=49_996 * 3600.0)
    assert not plan.removed


@given(checkpoint_lists, policies, st.floats(0, 1e6))
def test_a_clock_in_doubt_never_removes_more_by_age(checkpoints, policy, ahead_s):
    for rule in (keep.within(hours=5), keep.all().within(hours=20) | keep.last(1)):
        sure = {c.id for c, _ in plan_retention(checkpoints, rule).kept}
        unsure = {c.id for c, _ in plan_retention(checkpoints, rule, ahead_s=ahead_s).kept}
        assert sure <= unsure
    plan = plan_retention(checkpoints, policy, ahead_s=ahead_s)
    assert len(plan.kept) + len(plan.removed) == len(checkpoints)

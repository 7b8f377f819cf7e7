from __future__ import annotations

import math
from datetime import timedelta, timezone

import pytest
from candidates import (
    START,
    Saved,
    checkpoint_lists,
    kept_seqs,
    kept_steps,
    losses,
    policies,
    reasons,
    run,
)
from hypothesis import example, given

from holdfast.errors import UsageError
from holdfast.policy.keep import keep
from holdfast.policy.retention import plan_retention
from holdfast.policy.text import format_keep, parse_keep


def test_nothing_to_keep():
    plan = plan_retention([], keep.last(3))
    assert plan.kept == plan.removed == ()


def test_last_goes_by_the_order_of_saving():
    # Training went back to step 100 and saved 200 anew: 300 is older than 200.
    assert kept_steps(run(100, 300, 150, 200), keep.last(2)) == [150, 200]


def test_order_of_the_input_does_not_matter():
    checkpoints = run(1, 2, 3, 4)
    assert plan_retention(checkpoints[::-1], keep.last(2)) == plan_retention(
        checkpoints, keep.last(2)
    )


def test_newest_is_kept_and_says_so():
    assert reasons(run(1, 2, 3), keep.tagged()) == {2: ("newest",)}


def test_tagged_are_kept_with_each_name():
    checkpoints = run(1, 2, 3, tags=[("final", "v1"), (), ()])
    assert reasons(checkpoints, keep.last(1)) == {
        0: ("tagged final", "tagged v1"),
        2: ("newest", "last 1"),
    }


def test_older_save_of_a_step_goes_even_if_it_is_better():
    plan = plan_retention(
        run(10, 20, 10, metrics=losses(0.1, 0.5, 0.4)), keep.best("loss") | keep.all()
    )
    assert [(c.seq, why) for c, why in plan.removed] == [
        (0, "superseded by a later save of step 10")
    ]
    assert [c.seq for c, _ in plan.kept] == [1, 2]


def test_older_save_of_a_step_stays_if_tagged():
    checkpoints = run(10, 10, tags=[("good",), ()])
    assert reasons(checkpoints, keep.all()) == {0: ("tagged good", "all"), 1: ("newest", "all")}


def test_best_ranks_only_finite_values():
    checkpoints = run(1, 2, 3, 4, 5, 6, metrics=losses(0.3, math.nan, -math.inf, 0.2, None, 0.9))
    assert kept_steps(checkpoints, keep.best("loss", 2)) == [1, 4, 6]
    assert reasons(checkpoints, keep.best("loss", 2))[3] == ("best loss 0.2, 1 of 2",)


def test_best_max():
    checkpoints = run(1, 2, 3, 4, metrics=losses(0.3, 0.7, 0.5, 0.1))
    assert kept_steps(checkpoints, keep.best("loss", 2, mode="max")) == [2, 3, 4]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_best_of_equals_is_the_earlier(mode):
    checkpoints = run(1, 2, 3, metrics=losses(0.3, 0.3, None))
    assert kept_steps(checkpoints, keep.best("loss", mode=mode)) == [1, 3]


def test_every_steps_keeps_the_first_of_each_window():
    checkpoints = run(50, 99, 100, 150, 260, 320, 330)
    assert kept_steps(checkpoints, keep.every(steps=100)) == [50, 100, 260, 320, 330]


def test_every_hours_counts_windows_in_utc():
    hours = [0, 5, 23, 24, 30, 50, 51]
    created = [START + timedelta(hours=h) for h in hours]
    # The same instants, told in another time zone.
    elsewhere = [c.astimezone(timezone(timedelta(hours=9))) for c in created]
    for times in (created, elsewhere):
        checkpoints = run(*hours, created=times)
        assert kept_steps(checkpoints, keep.every(hours=24)) == [0, 24, 50, 51]
        assert kept_steps(checkpoints, keep.every(days=1)) == [0, 24, 50, 51]


def test_union_gives_every_reason():
    checkpoints = run(1, 2, 3, metrics=losses(0.5, 0.1, 0.2))
    policy = keep.last(2) | keep.best("loss") | keep.last(2)
    assert reasons(checkpoints, policy) == {
        1: ("last 2", "best loss 0.1, 1 of 1"),
        2: ("newest", "last 2"),
    }


def test_removed_say_why():
    plan = plan_retention(
        run(100, 101, 102, 103, metrics=losses(0.5, 0.2, None, 0.3)),
        keep.last(1) | keep.best("loss") | keep.every(steps=100),
    )
    assert {c.step: why for c, why in plan.removed} == {
        102: "not of the last 1; loss missing; every 100 steps: after step 100",
    }
    plan = plan_retention(run(1, 2, metrics=losses(0.5, 0.2)), keep.best("loss") | keep.tagged())
    assert [why for _, why in plan.removed] == ["loss 0.5 is number 2, 1 stay; no tag"]


@pytest.mark.parametrize("values", [(None, None, None), (math.nan, math.inf, -math.inf)])
def test_where_nothing_can_be_ranked_nothing_goes(values):
    checkpoints = run(1, 2, 3, metrics=losses(*values))
    assert kept_steps(checkpoints, keep.best("loss")) == [1, 2, 3]
    assert reasons(checkpoints, keep.best("loss"))[0] == (
        "in doubt: no checkpoint has a finite loss",
    )
    # The first value that is one ends the doubt.
    assert kept_steps([*checkpoints, Saved(3, 4, metrics={"loss": 9.0})], keep.best("loss")) == [4]


def test_every_epochs_keeps_the_first_of_each_and_what_has_none():
    checkpoints = run(1, 2, 3, 4, 5, 6, epoch=[None, 0.5, 1.0, 1.5, 2 - 1e-12, 2.0])
    assert kept_steps(checkpoints, keep.every(epochs=1)) == [1, 2, 3, 5, 6]
    assert kept_steps(checkpoints, keep.every(epochs=2)) == [1, 2, 5, 6]
    assert reasons(checkpoints, keep.every(epochs=1))[0] == ("in doubt: its epoch is not known",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: keep.last(0),
        lambda: keep.last(2.0),
        lambda: keep.best("loss", 0),
        lambda: keep.best("", 1),
        lambda: keep.best("loss", mode="least"),
        lambda: keep.every(),
        lambda: keep.every(steps=1, hours=1),
        lambda: keep.every(hours=-1),
        lambda: keep.every(steps=0.5),
        lambda: keep.every(epochs=0),
        lambda: keep.every(epochs=math.nan),
        lambda: keep.within(),
        lambda: keep.within(hours=0),
        lambda: keep.within(hours=math.inf),
        lambda: keep.within(hours=10**400),
        lambda: keep.within(steps=1.5),
        lambda: keep.within(hours=1, days=1),
        lambda: keep.last(1).within(days=-1),
        lambda: keep.last(1).within(),
        lambda: (keep.last(1) | keep.budget(5)).within(days=1),
        lambda: keep.budget(0),
        lambda: keep.budget("0GB"),
        lambda: keep.budget("much"),
        lambda: keep.budget("-1GB"),
        lambda: keep.budget("5ib"),
        lambda: keep.budget(1.5),
        lambda: keep.budget("0.1"),
    ],
)
def test_impossible_policies_are_refused(make):
    with pytest.raises(UsageError):
        make()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("last:3", keep.last(3)),
        ("best:val_loss", keep.best("val_loss")),
        ("best:val_loss:2", keep.best("val_loss", 2)),
        ("best:acc:2:max", keep.best("acc", 2, "max")),
        ("best:acc:max", keep.best("acc", 1, "max")),
        ("best:val:loss:2", keep.best("val:loss", 2)),
        ("every:1000steps", keep.every(steps=1000)),
        ("every:1step", keep.every(steps=1)),
        ("every:24hours", keep.every(hours=24)),
        ("every:0.5hours", keep.every(hours=0.5)),
        ("every:2days", keep.every(days=2)),
        ("every:24h", keep.every(hours=24)),
        ("every:7d", keep.every(days=7)),
        ("every:2epochs", keep.every(epochs=2)),
        ("every:0.5epochs", keep.every(epochs=0.5)),
        ("within:24h", keep.within(hours=24)),
        ("within:2days", keep.within(days=2)),
        ("within:5000steps", keep.within(steps=5000)),
        ("every:1h:within:1d", keep.every(hours=1).within(days=1)),
        ("best:val:loss:2:within:7days", keep.best("val:loss", 2).within(days=7)),
        ("best:within:2", keep.best("within", 2)),
        ("thinning", keep.thinning()),
        ("thinning:within:90d", keep.thinning().within(days=90)),
        ("budget:200GB", keep.budget(200_000_000_000)),
        ("budget:1.5TiB", keep.budget(3 << 39)),
        ("budget:123", keep.budget(123)),
        ("tagged", keep.tagged()),
        ("all", keep.all()),
        (" last:3 ", keep.last(3)),
    ],
)
def test_text_forms(text, policy):
    assert parse_keep(text) == policy
    # As it goes to the process that carries it out.
    again = [parse_keep(part) for part in format_keep(policy)]
    assert format_keep(policy) == [text for part in again for text in format_keep(part)]


@pytest.mark.parametrize(
    "text",
    ["", "last", "last:", "last:0", "last:-1", "last:x", "best", "best:", "best:loss:0", "every:3",
     "every:0steps", "every:1.5steps", "every:3weeks", "tagged:x", "all:x", "newest", "last:²",
     "within", "within:", "within:0h", "within:3", "within:2epochs", "within:1.5steps",
     "thinning:2", "budget", "budget:", "budget:0", "budget:big", "budget:-1GB",
     "budget:1GB:within:1d",
     "last:2:within:", "last:x:within:1d", ":within:1d", "last:1:within:2epochs",
     # Numbers that are too long to be read, or too small to be counted with.
     *(f"{kind}:{'9' * 5000}" for kind in ("last", "best:loss", "budget")),
     "every:1e-320h", "every:1e-310days", "every:1e-320epochs", "within:1e-320h"],
)  # fmt: skip
def test_other_text_is_refused_with_the_forms(text):
    with pytest.raises(UsageError, match="every:Nsteps, every:Nhours"):
        parse_keep(text)


@given(checkpoint_lists, policies)
def test_every_checkpoint_is_either_kept_or_removed(checkpoints, policy):
    plan = plan_retention(checkpoints, policy)
    both = [c for c, _ in plan.kept] + [c for c, _ in plan.removed]
    assert sorted(c.seq for c in both) == [c.seq for c in checkpoints]
    assert all(why for _, why in plan.kept)
    assert all(why for _, why in plan.removed)


@given(checkpoint_lists, policies)
def test_newest_and_tagged_are_never_removed(checkpoints, policy):
    removed = [c for c, _ in plan_retention(checkpoints, policy).removed]
    assert not any(c.tags for c in removed)
    assert not checkpoints or checkpoints[-1] not in removed


@given(checkpoint_lists, policies, policies)
def test_union_keeps_what_either_keeps(checkpoints, one, other):
    kept = [set(kept_seqs(checkpoints, p)) for p in (one, other, one | other)]
    assert kept[0] | kept[1] == kept[2]


@given(checkpoint_lists, policies)
@example(
    [
        Saved(0, 2, START, {"loss": 0.0}, ("t",)),
        Saved(1, 0, START, {"loss": 0.0}, ()),
        Saved(2, 2, START, {}, ()),
        Saved(3, 1, START, {}, ()),
    ],
    keep.best("loss"),
)
def test_a_second_pruning_removes_nothing(checkpoints, policy):
    kept = [c for c, _ in plan_retention(checkpoints, policy).kept]
    assert plan_retention(kept, policy).removed == ()


@pytest.mark.parametrize("hours", [1e-5, 1.5, 2**60 + 0.0, 1e22, 1e300])
def test_any_amount_of_time_is_read_back_as_it_was_written(hours: float) -> None:
    for policy in (keep.every(hours=hours), keep.within(days=hours), keep.every(epochs=hours)):
        assert parse_keep(format_keep(policy)[0]) == policy


def test_what_holds_values_that_are_not_finite_is_never_the_best() -> None:
    checkpoints = run(1, 2, 3, metrics=losses(0.1, 0.2, 0.3), not_finite=[5, 0, None])
    assert kept_steps(checkpoints, keep.best("loss")) == [2, 3]
    [(_, why)] = plan_retention(checkpoints, keep.best("loss")).removed
    assert why == "its arrays have values that are not finite"

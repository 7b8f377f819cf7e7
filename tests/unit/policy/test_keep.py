from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.errors import UsageError
from holdfast.policy import format_keep, keep, parse_keep, plan_retention

START = datetime(2024, 5, 6, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Saved:
    seq: int
    step: int
    created: datetime = START
    metrics: dict[str, float] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    not_finite: int | None = None

    @property
    def id(self) -> str:
        return f"{self.seq:032x}"


def run(*steps, **values):
    """Checkpoints of these steps in the order of saving; values are lists, one item for each."""
    return [
        Saved(seq, step, **{name: items[seq] for name, items in values.items()})
        for seq, step in enumerate(steps)
    ]


def losses(*values):
    return [{} if v is None else {"loss": v} for v in values]


def kept_steps(checkpoints, policy):
    return [c.step for c, _ in plan_retention(checkpoints, policy).kept]


def reasons(checkpoints, policy):
    return {c.seq: why for c, why in plan_retention(checkpoints, policy).kept}


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
    plan = plan_retention(run(1, 2, 3), keep.last(1))
    assert [why for _, why in plan.removed] == ["no rule keeps it"] * 2


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
        ("tagged", keep.tagged()),
        ("all", keep.all()),
        (" last:3 ", keep.last(3)),
    ],
)
def test_text_forms(text, policy):
    assert parse_keep(text) == policy


@pytest.mark.parametrize(
    "text",
    ["", "last", "last:", "last:0", "last:-1", "last:x", "best", "best:", "best:loss:0", "every:3",
     "every:0steps", "every:1.5steps", "every:3weeks", "tagged:x", "all:x", "newest", "last:²"],
)  # fmt: skip
def test_other_text_is_refused_with_the_forms(text):
    with pytest.raises(UsageError, match="every:Nsteps, every:Nhours"):
        parse_keep(text)


metric = st.one_of(st.none(), st.floats())
checkpoint_lists = st.lists(
    st.builds(
        lambda step, hours, loss, tags: (step, hours, loss, tags),
        st.integers(0, 12),
        st.integers(0, 100),
        metric,
        st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple),
    ),
    max_size=12,
).map(
    lambda rows: [
        Saved(
            seq,
            step,
            START + timedelta(hours=hours),
            {} if loss is None else {"loss": loss},
            tags if seq % 3 == 0 else (),
        )
        for seq, (step, hours, loss, tags) in enumerate(rows)
    ]
)
single_policies = st.one_of(
    st.integers(1, 4).map(keep.last),
    st.builds(keep.best, st.just("loss"), st.integers(1, 3), st.sampled_from(["min", "max"])),
    st.integers(1, 6).map(lambda n: keep.every(steps=n)),
    st.integers(1, 50).map(lambda n: keep.every(hours=n)),
    st.just(keep.tagged()),
    st.just(keep.all()),
)
policies = st.lists(single_policies, min_size=1, max_size=3).map(
    lambda ps: ps[0] if len(ps) == 1 else ps[0] | ps[1] if len(ps) == 2 else ps[0] | ps[1] | ps[2]
)


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


def kept_seqs(checkpoints, policy):
    return [c.seq for c, _ in plan_retention(checkpoints, policy).kept]


@pytest.mark.parametrize("hours", [1e-5, 1.5, 2**60 + 0.0, 1e22, 1e300])
def test_any_amount_of_time_is_read_back_as_it_was_written(hours: float) -> None:
    policy = keep.every(hours=hours)
    assert parse_keep(format_keep(policy)[0]) == policy

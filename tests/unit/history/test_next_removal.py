"""What a retention removes at the save that is still to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast import keep
from holdfast.history.info import CheckpointInfo
from holdfast.history.next_removal import next_removed
from holdfast.policy.keep_policy import KeepPolicy

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def saved(n: int, **facts: object) -> CheckpointInfo:
    when = BEGAN + timedelta(hours=n)
    return CheckpointInfo("run", n * 100, f"{n:032x}", n, when, **facts)  # type: ignore[arg-type]


RUN = [saved(1, metrics={"loss": 0.1}), saved(2, tags=("mine",)), saved(3), saved(4)]


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        (keep.last(2), [100, 300]),
        (keep.last(3) | keep.best("loss"), []),
        (keep.last(4), [100]),
        (keep.last(5), []),
        (keep.within(hours=2), [100]),
        (keep.last(1) | keep.every(steps=300), [400]),
    ],
)
def test_the_next_save_counts_and_is_the_best_of_nothing(
    policy: KeepPolicy, steps: list[int]
) -> None:
    assert [info.step for info, _ in next_removed(RUN, policy)] == steps
    assert all(why for _, why in next_removed(RUN, policy))


def test_nothing_is_removed_of_nothing_or_of_one() -> None:
    assert next_removed([], keep.last(1)) == []
    assert [info.step for info, _ in next_removed([saved(1)], keep.last(1))] == [100]
